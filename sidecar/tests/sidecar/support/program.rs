//! The program itself, as a process of its own whose wall clock a test sets while it runs.

use std::{
    fs::{self, File},
    net::{IpAddr, SocketAddr},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use jiff::SignedDuration;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use super::{
    IDENTITY,
    clock::TestClock,
    operator::{FakeOperator, NAME},
    read,
};

/// A library that gives the processes which load it a wall clock of the test's own.
pub(crate) struct Library(TempDir);

/// The wall clock of one process.
pub(crate) struct WallClock {
    file: File,
    path: PathBuf,
    truth: TestClock,
}

/// A pod with one container and a cache, whose sidecar is the program as a process.
pub(crate) struct Program {
    pub(crate) wall: WallClock,
    directory: TempDir,
    library: PathBuf,
    operator: String,
    replicas: Option<String>,
    suspended: Option<Duration>,
    process: Option<Child>,
}

impl Library {
    /// Compiled by whatever links Rust's programs.
    pub(crate) fn compile() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/sidecar/support/wall_clock.c"
        );
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        let compiled = cc.arg(folder.path().join(LIBRARY)).arg(source).output();
        let compiled = compiled.unwrap();
        assert!(compiled.status.success(), "{compiled:?}");
        Self(folder)
    }
}

impl WallClock {
    fn new(path: PathBuf, truth: TestClock) -> Self {
        let file = File::create_new(&path).unwrap();
        let wall = Self { file, path, truth };
        wall.set_off(0);
        wall
    }

    /// Sets it so many seconds ahead of the true time, or behind it; it runs from there.
    pub(crate) fn set_off(&self, seconds: i64) {
        let started = clock_gettime(ClockId::Monotonic);
        let started = SignedDuration::new(started.tv_sec, started.tv_nsec.try_into().unwrap());
        let wall = self.truth.now() + SignedDuration::from_secs(seconds);
        self.write(0, wall.as_duration() - started);
        self.write(8, SignedDuration::ZERO);
    }

    /// Stops it at the true time.
    pub(crate) fn stop(&self) {
        self.write(8, self.truth.now().as_duration());
    }

    fn write(&self, at: u64, value: SignedDuration) {
        let value = i64::try_from(value.as_nanos()).unwrap();
        self.file.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }
}

impl Program {
    /// A pod whose sidecar has not started yet.
    pub(crate) fn new(library: &Library, operator: &FakeOperator, truth: TestClock) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for folder in [
            "run/hallpass/app",
            "run/secrets/hallpass.dev",
            "cache/hallpass",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let secrets = root.join("run/secrets/hallpass.dev");
        fs::write(secrets.join("token"), IDENTITY).unwrap();
        fs::write(secrets.join("ca.pem"), operator.ca()).unwrap();
        Self {
            wall: WallClock::new(root.join("wall"), truth),
            directory,
            library: library.0.path().join(LIBRARY),
            operator: operator.address(),
            replicas: None,
            suspended: None,
            process: None,
        }
    }

    /// Has it ask at that address, and know the replicas, which listen on one port, by a name.
    pub(crate) fn ask(&mut self, service: SocketAddr, replicas: [SocketAddr; 2]) {
        let lines = replicas.map(|replica| format!("{} {REPLICAS}\n", replica.ip()));
        fs::write(self.directory.path().join("hosts"), lines.concat()).unwrap();
        self.operator = service.to_string();
        self.replicas = Some(format!("{REPLICAS}:{}", replicas[0].port()));
    }

    /// Has it know the operator, and every replica, by one name that has these addresses.
    pub(crate) fn ask_name(&mut self, addresses: [IpAddr; 2], port: u16) {
        let lines = addresses.map(|address| format!("{address} {NAME}\n"));
        fs::write(self.directory.path().join("hosts"), lines.concat()).unwrap();
        self.operator = format!("{NAME}:{port}");
        self.replicas = Some(self.operator.clone());
    }

    /// Has it start on a machine that was suspended for so long since it booted.
    pub(crate) const fn suspended(&mut self, time: Duration) {
        self.suspended = Some(time);
    }

    /// Starts it where its fixed paths lead into this pod.
    pub(crate) fn start(&mut self) {
        let root = self.directory.path();
        let mut log = File::options();
        let log = log.create(true).append(true).open(root.join("log"));
        let log = log.unwrap();
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        if let Some(time) = self.suspended {
            command.args(["--time", "--boottime", &time.as_secs().to_string()]);
        }
        let command = command
            .args(["--mount", "sh", "-ec", MOUNTED, "sh"])
            .arg(root)
            .arg("env")
            .arg(format!("LD_PRELOAD={}", self.library.display()))
            .arg(format!("WALL_CLOCK={}", self.wall.path.display()))
            .args([env!("CARGO_BIN_EXE_hallpass-sidecar"), "serve"])
            .env("HALLPASS_OPERATOR", &self.operator)
            .env_remove("HALLPASS_REPLICAS")
            .envs(self.replicas.iter().map(|name| ("HALLPASS_REPLICAS", name)))
            .env_remove("HALLPASS_CA")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    /// Ends it without a word, and removes its socket, so that whoever finds one finds the next one's.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        fs::remove_file(self.socket()).unwrap();
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.container().join("hallpass.sock")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.container().join("tokens").join(name)
    }

    /// The file that outlives it.
    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache/hallpass/tokens.json")
    }

    /// Whether what outlives it has that in it.
    pub(crate) fn keeps(&self, token: &str) -> bool {
        fs::read_to_string(self.cache()).is_ok_and(|cache| cache.contains(token))
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        read(&self.directory.path().join("log"))
    }

    fn container(&self) -> PathBuf {
        self.directory.path().join("run/hallpass/app")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended.
            drop(process.kill());
            drop(process.wait());
        }
    }
}

const LIBRARY: &str = "wall_clock.so";
const REPLICAS: &str = "replicas.hallpass.test";
/// `/var/run` leads to `/run` on most systems.
const MOUNTED: &str = r#"
mount --bind "$1/run" /run
[ -L /var/run ] || mount --bind "$1/run" /var/run
mount --bind "$1/cache" /var/cache
[ ! -e "$1/hosts" ] || mount --bind "$1/hosts" /etc/hosts
shift
exec "$@"
"#;
