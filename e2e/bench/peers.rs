//! Programs that do the same in another way, where they could be built.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// Where they are.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// A sidecar in Go.
    pub(crate) sidecar: Option<PathBuf>,
    /// A controller with controller-runtime.
    pub(crate) controller: Option<PathBuf>,
    /// The agent of SPIRE.
    pub(crate) spire: Option<PathBuf>,
}

/// One that runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    stdout: Option<std::process::ChildStdout>,
    _folder: Option<TempDir>,
}

impl Peers {
    /// Those in that folder.
    pub(crate) fn find(folder: Option<&Path>) -> Self {
        let of = |name: &str| {
            folder
                .map(|folder| folder.join(name))
                .filter(|file| file.exists())
        };
        Self {
            sidecar: of("sidecar"),
            controller: of("controller"),
            spire: of("spire-agent"),
        }
    }

    /// Starts the controller on that API server. It says a line when it has read everything.
    pub(crate) fn run_controller(&self, program: &Path, kubeconfig: &Path) -> Result<Peer> {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", kubeconfig).env("GOMAXPROCS", "1");
        Peer::start(&mut command, None)
    }

    /// Starts the agent, which finds no server and tries again and again.
    pub(crate) fn run_spire(&self, program: &Path) -> Result<Peer> {
        let folder = TempDir::new()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            r#"agent {{
                data_dir = "{}"
                socket_path = "{}"
                server_address = "127.0.0.1"
                server_port = "1"
                trust_domain = "bench.example"
                insecure_bootstrap = true
                join_token = "00000000-0000-4000-8000-000000000000"
            }}
            plugins {{
                NodeAttestor "join_token" {{ plugin_data {{}} }}
                KeyManager "memory" {{ plugin_data {{}} }}
                WorkloadAttestor "unix" {{ plugin_data {{}} }}
            }}"#,
            path("data"),
            path("agent.sock")
        );
        let file = folder.path().join("agent.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.args(["run", "-config"]).arg(file);
        Peer::start(&mut command, Some(folder))
    }
}

impl Peer {
    fn start(command: &mut Command, folder: Option<TempDir>) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start a peer")?;
        Ok(Self {
            stdout: child.stdout.take(),
            child,
            _folder: folder,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said a line.
    pub(crate) async fn first_line(&mut self) -> Result<()> {
        let stdout = self.stdout.take().context("it has spoken")?;
        let read = tokio::task::spawn_blocking(move || {
            let (mut reader, mut line) = (BufReader::new(stdout), String::new());
            reader.read_line(&mut line)?;
            Ok::<_, std::io::Error>((line, reader.into_inner()))
        });
        let (line, stdout) = read.await??;
        self.stdout = Some(stdout);
        ensure!(!line.is_empty(), "it ended without a word");
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // it has nothing to tidy up
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
