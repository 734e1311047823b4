//! The program itself, beside an API server that never answers.

use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getegid, geteuid, getrlimit, kill_process, setrlimit,
};

type Outcome = Result<(), Box<dyn Error>>;

/// Nor when it is ended by a signal for which the kernel writes one.
#[test]
fn t36_the_operator_leaves_no_core_with_keys_in_it() -> Outcome {
    let (server, user) = (TcpListener::bind("127.0.0.1:0")?, User::other_than_root());
    let folder = tempfile::tempdir()?;
    permit_cores()?;
    let program = user.furnish(folder.path(), server.local_addr()?.port())?;
    let before = fs::read_dir(folder.path())?.count();
    let mut operator = Running(user.begin(&program, folder.path())?);
    let child = &mut operator.0;
    started(child.stderr.take().ok_or("no log")?)?;
    assert_eq!(user.owner_of(child)?, ROOT, "it may be looked into");
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id()))?;
    let core = limits.lines().find(|l| l.starts_with("Max core file size"));
    let words: Vec<_> = core.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words[4..], ["0", "0", "bytes"], "{limits}");
    let pid = Pid::from_raw(i32::try_from(child.id())?).ok_or("no process")?;
    kill_process(pid, Signal::ABORT)?;
    let ended = child.wait()?;
    assert_eq!(ended.signal(), Some(Signal::ABORT.as_raw()), "{ended}");
    assert!(!ended.core_dumped(), "{ended}");
    let left: Vec<_> = fs::read_dir(folder.path())?.collect::<Result<_, _>>()?;
    assert_eq!(left.len(), before, "more than there was: {left:?}");
    Ok(())
}

/// What the kernel shows of a process that may be looked into: its files below `/proc` are its user's. This
/// is what the one above is told by, on a machine that writes no cores at all too.
#[test]
fn t36_another_program_of_the_same_user_may_be_looked_into() -> Outcome {
    let user = User::other_than_root();
    let mut cat = user.command(Path::new("cat"));
    let cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut cat = Running(cat);
    let child = &mut cat.0;
    // It has been executed once it answers.
    let (input, output) = (child.stdin.as_mut(), child.stdout.as_mut());
    input.ok_or("no input")?.write_all(b"\n")?;
    let mut line = String::new();
    BufReader::new(output.ok_or("no output")?).read_line(&mut line)?;
    assert_eq!(user.owner_of(child)?, user.uid);
    Ok(())
}

/// The user that a program runs as: the files of root's processes are root's, whatever they ask for.
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The one who runs this, or for root nobody.
    fn other_than_root() -> Self {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        match uid {
            ROOT => Self {
                uid: NOBODY,
                gid: NOBODY,
            },
            _ => Self { uid, gid },
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if geteuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whose the files of a process are.
    fn owner_of(&self, child: &Child) -> Result<u32, Box<dyn Error>> {
        let folder = format!("/proc/{}", child.id());
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let runs_as = format!("Uid:\t{0}\t{0}\t{0}\t{0}\n", self.uid);
        assert!(status.contains(&runs_as), "{status}");
        Ok(fs::metadata(format!("{folder}/limits"))?.uid())
    }

    /// The program and what it needs, where this user may read both; tells where the program is.
    fn furnish(&self, folder: &Path, port: u16) -> Result<PathBuf, Box<dyn Error>> {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: a, clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], \
             users: [{{name: a, user: {{}}}}], contexts: [{{name: a, context: {{cluster: a, user: a}}}}]}}"
        );
        fs::write(folder.join("kubeconfig"), text)?;
        chown(folder, Some(self.uid), Some(self.gid))?;
        let built = Path::new(env!("CARGO_BIN_EXE_hallpass-operator"));
        let program = folder.join("operator");
        // A link is enough on one and the same file system.
        if fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program)?;
        }
        Ok(program)
    }

    fn begin(&self, program: &Path, folder: &Path) -> Result<Child, Box<dyn Error>> {
        let mut command = self.command(program);
        let child = command
            .args(ARGUMENTS)
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Ok(child?)
    }
}

/// Ended with the test, whatever that finds.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// As large a core may be written from now on as the machine permits at all.
fn permit_cores() -> Outcome {
    let most = getrlimit(Resource::Core).maximum;
    let raise = |to| {
        let limit = Rlimit {
            current: to,
            maximum: to,
        };
        setrlimit(Resource::Core, limit)
    };
    Ok(raise(None).or_else(|_only_root_may| raise(most))?)
}

/// Reads the log until it says so.
fn started(log: ChildStderr) -> Outcome {
    let mut said = String::new();
    for line in BufReader::new(log).lines() {
        let line = line?;
        if line.contains("operator started") {
            return Ok(());
        }
        said.push_str(&line);
    }
    Err(format!("it ended: {said}").into())
}

const ROOT: u32 = 0;
/// Of Linux, where a user namespace has no other name for somebody.
const NOBODY: u32 = 65_534;

const ARGUMENTS: [&str; 10] = [
    "--name=hallpass",
    "--api-server-audience=https://a",
    "--issuer-url=https://id.example",
    "--pod-name=hallpass-0",
    "--pod-uid=uid-hallpass-0",
    "--pod-ip=127.0.0.1",
    "--pod-namespace=hallpass-system",
    "--api-addr=127.0.0.1:0",
    "--issuer-addr=127.0.0.1:0",
    "--metrics-addr=127.0.0.1:0",
];
