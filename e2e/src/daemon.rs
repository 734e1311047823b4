//! The programs of the cluster itself. Only those of a cluster of our own can be ended and started.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{cluster::checkout, command::run, process::Process, state};

/// A program of the cluster, by its name.
#[derive(Debug, Clone, Copy)]
pub struct Daemon(pub &'static str);

/// The API server.
pub const API_SERVER: Daemon = Daemon("kube-apiserver");
/// Where everything is stored.
pub const ETCD: Daemon = Daemon("etcd");
/// What runs on the node.
pub const NODE: [Daemon; 3] = [
    Daemon("kubelet"),
    Daemon("containerd"),
    Daemon("kube-proxy"),
];

impl Daemon {
    /// Its process.
    ///
    /// # Errors
    /// The cluster is not our own.
    pub fn process(self) -> Result<Process> {
        let state = state::folder(self.0).context("another's cluster")?;
        let pid = fs::read_to_string(state.join("run").join(format!("{}.pid", self.0)))?;
        Ok(Process(pid.trim().parse()?))
    }

    /// Starts it again after it was killed. Does not wait for it to do anything.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(self) -> Result<()> {
        script("start", &[self.0]).await
    }
}

/// Has the machine lose its power and start again, as far as the cluster sees it: every program and
/// container ends at once, what was in memory is gone, and the programs of the cluster are started.
///
/// # Errors
/// Something does not come back.
pub async fn reboot() -> Result<()> {
    script("reboot", &[]).await
}

/// Whether the API server says that it is ready.
///
/// # Errors
/// It does not.
pub async fn api_answers() -> Result<()> {
    let args = ["--request-timeout=1s", "get", "--raw", "/readyz"];
    run("kubectl", &args, None).await?.success()?;
    Ok(())
}

async fn script(name: &str, args: &[&str]) -> Result<()> {
    let script = checkout().join("e2e/cluster").join(name);
    let script = script.to_str().context("a path in UTF-8")?;
    run(script, args, None).await?.success()?;
    Ok(())
}
