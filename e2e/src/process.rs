//! A replica's process, which can stand still. Only a cluster of our own shows it.

use anyhow::{Context as _, Result};

use crate::{
    cluster::RELEASE,
    command::{kubectl, run},
    operator::Replica,
    remark::remark,
};

/// The process of a replica.
#[derive(Debug, Clone)]
pub struct Process(String);

/// A process that stands still, for as long as this lives.
#[derive(Debug)]
pub struct Stopped(Process);

impl Process {
    /// Finds it.
    ///
    /// # Errors
    /// It does not run, or containerd does not say.
    pub async fn of(replica: &Replica) -> Result<Self> {
        let path = "jsonpath={.status.containerStatuses[0].containerID}";
        let args = ["get", "pod", &replica.pod, "-n", RELEASE, "-o", path];
        let id = kubectl(&args).await?.success()?;
        let id = id.strip_prefix("containerd://").context("a container")?;
        let tasks = run("ctr", &["tasks", "ls"], None).await?.success()?;
        let mut lines = tasks.lines().map(str::split_whitespace);
        let pid = lines.find_map(|mut fields| (fields.next()? == id).then(|| fields.next())?);
        Ok(Self(pid.context("a process")?.to_owned()))
    }

    /// Has it stand still.
    ///
    /// # Errors
    /// It is gone.
    pub async fn stop(&self) -> Result<Stopped> {
        run("kill", &["-STOP", &self.0], None).await?.success()?;
        Ok(Stopped(self.clone()))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let continued = std::process::Command::new("kill")
            .args(["-CONT", &self.0.0])
            .status();
        if !continued.is_ok_and(|status| status.success()) {
            remark(&format!("process {} may stand still for ever", self.0.0));
        }
    }
}
