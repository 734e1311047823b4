//! The program itself, beside an API server that never answers.

use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

type Outcome = Result<(), Box<dyn Error>>;

/// Nor when it is ended by a signal for which the kernel writes one.
#[test]
fn t36_the_operator_leaves_no_core_with_keys_in_it() -> Outcome {
    let (server, folder) = (TcpListener::bind("127.0.0.1:0")?, tempfile::tempdir()?);
    let mut operator = Operator(begin(folder.path(), server.local_addr()?.port())?);
    let child = &mut operator.0;
    started(child.stderr.take().ok_or("no log")?)?;
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
    assert_eq!(left.len(), 1, "more than the kubeconfig: {left:?}");
    Ok(())
}

/// Ended with the test, whatever that finds.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Begins where as large a core may be written as the machine permits at all.
fn begin(folder: &Path, port: u16) -> Result<Child, Box<dyn Error>> {
    let kubeconfig = folder.join("kubeconfig");
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], \
         users: [{{name: a, user: {{}}}}], contexts: [{{name: a, context: {{cluster: a, user: a}}}}]}}"
    );
    fs::write(&kubeconfig, text)?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c $(ulimit -H -c) && exec \"$@\"", "sh"]);
    let child = shell
        .arg(env!("CARGO_BIN_EXE_hallpass-operator"))
        .args(ARGUMENTS)
        .env("KUBECONFIG", kubeconfig)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    Ok(child?)
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
