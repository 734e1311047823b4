//! Many sidecars at once: real processes, each in a root of its own that is like its container's.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    ops::Range,
    os::unix::fs::chroot,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::alone::{Alone, NAME, TOKENS, token_name};

mod ask;

/// The roots, one for each pod of the population.
#[derive(Debug)]
pub(crate) struct Roots {
    folder: TempDir,
    count: usize,
    /// Where the operator is, as a sidecar is told.
    operator: String,
}

/// The processes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    mother: Child,
    numbers: Range<usize>,
    pids: Vec<u32>,
    began: Instant,
}

/// When tokens were there, from the moment on at which the first process was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    /// The first token of any sidecar.
    pub(crate) first: Duration,
    /// The last token of the last one.
    pub(crate) last: Duration,
    /// How often a sidecar answered that it has none, before it had.
    pub(crate) refused: usize,
    /// How often it hung up on who asked.
    pub(crate) broken: usize,
}

impl Roots {
    /// Roots for `count` pods of which the operator knows, with that program.
    pub(crate) fn make(alone: &Alone, program: &Path, count: usize) -> Result<Self> {
        let roots = Self {
            folder: TempDir::new()?,
            count,
            operator: format!("{NAME}:{}", alone.port()?),
        };
        let one = roots.folder.path().join("sidecar");
        fs::copy(program, &one).with_context(|| format!("copy {}", program.display()))?;
        let authority = alone.authority()?;
        let boot = fs::read(BOOT)?;
        let devices = roots.folder.path().join("devices");
        fs::create_dir(&devices)?;
        for (name, minor) in DEVICES {
            let mut mknod = Command::new("mknod");
            let made = mknod
                .arg(devices.join(name))
                .args(["c", "1", minor])
                .status()?;
            ensure!(made.success(), "make the device {name}");
        }
        for number in 0..count {
            let root = roots.root(number);
            let secrets = root.join("var/run/secrets/hallpass.dev");
            let kernel = root.join(BOOT.trim_start_matches('/'));
            let above = kernel.parent().context("a file has a folder")?;
            let app = root.join("run/hallpass/app");
            for folder in [&secrets, above, &app, &root.join("etc"), &root.join("dev")] {
                fs::create_dir_all(folder)?;
            }
            fs::write(&kernel, &boot)?;
            for (name, _) in DEVICES {
                fs::hard_link(devices.join(name), root.join("dev").join(name))?;
            }
            // one program for all, as the image's layer is on a node: its pages are shared
            fs::hard_link(&one, root.join("hallpass-sidecar"))?;
            fs::write(secrets.join("token"), alone.identity(number)?)?;
            fs::write(secrets.join("ca.pem"), &authority)?;
            fs::write(root.join("etc/nsswitch.conf"), "hosts: files\n")?;
            let hosts = format!("127.0.0.1 {NAME} {REPLICAS}\n");
            fs::write(root.join("etc/hosts"), hosts)?;
        }
        roots.wipe()?;
        Ok(roots)
    }

    /// Empties what the sidecars keep from one process to the next.
    pub(crate) fn wipe(&self) -> Result<()> {
        for number in 0..self.count {
            let cache = self.root(number).join(CACHE);
            if cache.exists() {
                fs::remove_dir_all(&cache)?;
            }
            fs::create_dir_all(&cache)?;
        }
        Ok(())
    }

    /// Starts those of these numbers as fast as one can.
    pub(crate) fn start(&self, numbers: Range<usize>) -> Result<Crowd> {
        ensure!(numbers.end <= self.count, "there are {} roots", self.count);
        let count = numbers.len();
        let began = Instant::now();
        let mut mother = Command::new(std::env::current_exe()?)
            .arg("crowd")
            .arg(self.folder.path())
            .args([numbers.start, numbers.end].map(|number| number.to_string()))
            .arg(&self.operator)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start who starts them")?;
        let stdout = mother.stdout.take().context("stdout was asked for")?;
        let lines = BufReader::new(stdout).lines().take(count);
        let pids: Result<Vec<u32>> = lines.map(|line| Ok(line?.parse()?)).collect();
        let crowd = Crowd {
            mother,
            numbers,
            pids: pids?,
            began,
        };
        ensure!(crowd.pids.len() == count, "not all of them started");
        Ok(crowd)
    }

    /// Reads every token of the sidecars that were started, each as soon as it can be had.
    pub(crate) async fn served(&self, crowd: &Crowd) -> Result<Served> {
        let ask = |number| {
            let socket = self.root(number).join(SOCKET);
            // who asks many is not to take the time of those who are asked
            let pause = Duration::from_millis(1).max(EACH * u32::try_from(crowd.pids.len())?);
            Ok(tokio::spawn(ask::all(socket, crowd.began, pause)))
        };
        let asking: Vec<_> = crowd.numbers.clone().map(ask).collect::<Result<_>>()?;
        let mut served = Served {
            first: Duration::MAX,
            last: Duration::ZERO,
            refused: 0,
            broken: 0,
        };
        for asked in asking {
            let of = asked.await??;
            served.first = served.first.min(of.first);
            served.last = served.last.max(of.last);
            served.refused += of.refused;
            served.broken += of.broken;
        }
        Ok(served)
    }

    fn root(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }
}

impl Crowd {
    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }
}

impl Drop for Crowd {
    /// Kills them all at once.
    fn drop(&mut self) {
        // at the end of its stdin it kills them and ends
        drop(self.mother.stdin.take());
        drop(self.mother.wait());
    }
}

/// Starts the sidecars of these numbers, each in its root below the folder, prints their process ids, and kills them at the
/// end of stdin. It is a process of its own because it goes from one root into the next.
#[expect(clippy::print_stdout, reason = "whoever started it reads that")]
pub(crate) fn start(folder: &Path, numbers: Range<usize>, operator: &str) -> Result<()> {
    let (outside, nothing) = (File::open("/")?, File::create("/dev/null")?);
    let replicas = operator.replace(NAME, REPLICAS);
    let mut children = Vec::new();
    for number in numbers {
        chroot(folder.join(number.to_string())).context("enter a root")?;
        std::env::set_current_dir("/")?;
        let silent = || nothing.try_clone().map(Stdio::from);
        let child = Command::new("/hallpass-sidecar")
            .arg("serve")
            .env_clear()
            .envs([
                ("HALLPASS_OPERATOR", operator),
                ("HALLPASS_REPLICAS", &replicas),
            ])
            .stdin(silent()?)
            .stdout(silent()?)
            .stderr(silent()?)
            .spawn()
            .context("start a sidecar")?;
        println!("{}", child.id());
        children.push(child);
        rustix::process::fchdir(&outside)?;
        chroot(".").context("leave a root")?;
    }
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    for child in &mut children {
        child.kill()?;
    }
    for child in &mut children {
        child.wait()?;
    }
    Ok(())
}

/// How long it is waited for each until it is looked again whether they serve.
const EACH: Duration = Duration::from_micros(50);
/// Where each replica of the operator is found.
const REPLICAS: &str = "hallpass-replicas.hallpass-system.svc";
/// The devices of a container that a sidecar may open, and their numbers beside the 1 of memory devices.
const DEVICES: [(&str, &str); 3] = [("null", "3"), ("random", "8"), ("urandom", "9")];
/// What tells one boot of the machine from another.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// Where a sidecar keeps what outlives its process.
const CACHE: &str = "var/cache/hallpass";
const SOCKET: &str = "run/hallpass/app/hallpass.sock";
