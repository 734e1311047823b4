//! Programs that a test runs, and what they said.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// What a program said and how it ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// Whether it ended with 0.
    pub ok: bool,
    /// What it wrote on stdout.
    pub stdout: String,
    /// What it wrote on stderr.
    pub stderr: String,
}

impl Said {
    /// Stdout of a program that had to succeed.
    ///
    /// # Errors
    /// It did not; with what it said.
    pub fn success(self) -> Result<String> {
        ensure!(
            self.ok,
            "the command failed\nstdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        Ok(self.stdout)
    }

    /// Stderr of a program that had to fail.
    ///
    /// # Errors
    /// It succeeded; with what it said.
    pub fn failure(self) -> Result<String> {
        ensure!(!self.ok, "the command had to fail\nstdout: {}", self.stdout);
        Ok(self.stderr)
    }
}

/// Runs a program to its end, with `input` on its stdin.
///
/// # Errors
/// It could not be started, or talked to.
pub async fn run(program: &str, args: &[&str], input: Option<&str>) -> Result<Said> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    if let Some(input) = input {
        let mut stdin = child.stdin.take().context("stdin was asked for")?;
        stdin
            .write_all(input.as_bytes())
            .await
            .with_context(|| format!("write to {program}"))?;
    }
    let output = child
        .wait_with_output()
        .await
        .with_context(|| format!("wait for {program}"))?;
    Ok(Said {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// `kubectl ARGS`.
///
/// # Errors
/// See [`run`].
pub async fn kubectl(args: &[&str]) -> Result<Said> {
    run("kubectl", args, None).await
}

/// `kubectl ARGS` with a manifest on stdin.
///
/// # Errors
/// See [`run`].
pub async fn kubectl_with(args: &[&str], manifest: &str) -> Result<Said> {
    run("kubectl", args, Some(manifest)).await
}
