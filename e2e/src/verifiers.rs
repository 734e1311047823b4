//! Programs of other people that verify tokens: each takes tokens, one a line, and gives a verdict on
//! each. What they are and what they check is in `e2e/verifiers/README.md`.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::cluster::checkout;

/// Their names, as `e2e/verifiers/run` knows them.
pub const ALL: [&str; 9] = [
    "pyjwt",
    "joserfc",
    "authlib",
    "jose",
    "oauth4webapi",
    "go-oidc",
    "go-jose",
    "golang-jwt",
    "envoy",
];

/// Whom a verifier trusts, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The issuer's URL, from which all else is discovered.
    pub issuer: &'a str,
    /// The audience that a token must have.
    pub audience: &'a str,
    /// The authority of the issuer's certificate, in PEM.
    pub ca: &'a Path,
    /// The one algorithm that is allowed, by its name in a header.
    pub algorithm: &'a str,
}

/// A snippet of `docs/verifying.md`, and what it is to verify.
#[derive(Debug, Clone, Copy)]
pub struct Documented<'a> {
    /// Its language, as `e2e/verifiers/documented` knows it.
    pub language: &'a str,
    /// Where its blocks are, each as a file. What is built of them stays there.
    pub folder: &'a Path,
    /// The issuer's URL.
    pub issuer: &'a str,
    /// The audience that a token must have.
    pub audience: &'a str,
    /// The authority of the issuer's certificate, in PEM.
    pub ca: &'a Path,
    /// The scope that a token must have.
    pub scope: &'a str,
}

/// What a verifier says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is good, and says that.
    Accepted(Value),
    /// It is not, for that reason in the library's words.
    Refused(String),
}

impl Verdict {
    /// Whether it was accepted.
    #[must_use]
    pub fn accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}

/// A running verifier. It keeps the issuer's keys as its library does, and ends with this.
#[derive(Debug)]
pub struct Verifier {
    name: String,
    child: Child,
    stdin: ChildStdin,
    verdicts: Lines<BufReader<ChildStdout>>,
    stderr: File,
}

impl Verifier {
    /// Starts the verifier of that name, one of [`ALL`].
    ///
    /// # Errors
    /// It could not be started. One that is not installed, or does not reach the issuer, says so with
    /// its first verdict.
    pub fn start(name: &str, trust: &Trust<'_>) -> Result<Self> {
        let mut command = Command::new(checkout().join("e2e/verifiers/run"));
        command
            .args([name, "--issuer", trust.issuer, "--audience", trust.audience])
            .args(["--algorithm", trust.algorithm])
            .arg("--ca")
            .arg(trust.ca);
        Self::spawn(name, command)
    }

    /// Builds that snippet and starts it.
    ///
    /// # Errors
    /// See [`Verifier::start`].
    pub fn documented(snippet: &Documented<'_>) -> Result<Self> {
        let mut command = Command::new(checkout().join("e2e/verifiers/documented"));
        command
            .arg(snippet.language)
            .arg(snippet.folder)
            .env("ISSUER", snippet.issuer)
            .env("AUDIENCE", snippet.audience)
            .env("CA_FILE", snippet.ca)
            .env("SCOPE", snippet.scope);
        Self::spawn(snippet.language, command)
    }

    fn spawn(name: &str, mut command: Command) -> Result<Self> {
        let stderr = tempfile::tempfile()?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone()?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start the verifier {name}"))?;
        let stdin = child.stdin.take().context("stdin was asked for")?;
        let stdout = child.stdout.take().context("stdout was asked for")?;
        Ok(Self {
            name: name.to_owned(),
            child,
            stdin,
            verdicts: BufReader::new(stdout).lines(),
            stderr,
        })
    }

    /// What it says of that token.
    ///
    /// # Errors
    /// It ended, or says nothing for 30 s; with what it wrote on stderr.
    pub async fn verdict(&mut self, token: &str) -> Result<Verdict> {
        ensure!(!token.contains('\n'), "a token is one line");
        let said = timeout(PATIENCE, self.ask(token)).await;
        let line = said
            .unwrap_or_else(|_| Err(anyhow!("it says nothing for {PATIENCE:?}")))
            .with_context(|| format!("the verifier {}: {}", self.name, self.complaints()))?;
        let said: Said = serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
        Ok(match said {
            Said {
                accepted: true,
                claims: Some(claims),
                ..
            } => Verdict::Accepted(claims),
            Said {
                accepted: false,
                error: Some(error),
                ..
            } => Verdict::Refused(error),
            said => return Err(anyhow!("no verdict: {said:?}")),
        })
    }

    /// Ends it, and waits for that.
    ///
    /// # Errors
    /// It failed, or goes on for 30 s.
    pub async fn end(self) -> Result<()> {
        let Self {
            name,
            mut child,
            stdin,
            ..
        } = self;
        drop(stdin);
        let status = timeout(PATIENCE, child.wait())
            .await
            .with_context(|| format!("the verifier {name} does not end"))??;
        ensure!(status.success(), "the verifier {name} ended with {status}");
        Ok(())
    }

    async fn ask(&mut self, token: &str) -> Result<String> {
        // one that has ended already says why on stderr, not in a broken pipe
        let written = self.stdin.write_all(format!("{token}\n").as_bytes()).await;
        let line = self.verdicts.next_line().await?;
        written.context("write a token")?;
        line.context("it ended")
    }

    fn complaints(&self) -> String {
        let mut text = String::new();
        let mut stderr = &self.stderr;
        let read = stderr
            .rewind()
            .and_then(|()| stderr.read_to_string(&mut text));
        match read {
            Ok(_) => text,
            Err(why) => why.to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Said {
    accepted: bool,
    claims: Option<Value>,
    error: Option<String>,
}

/// A start takes a second, and several on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
