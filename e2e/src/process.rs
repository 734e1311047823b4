//! Processes that are sent signals: replicas, sidecars, the cluster's own. Only a cluster of our own shows
//! them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    cluster::RELEASE,
    command::{kubectl, run},
    operator::Replica,
    remark::remark,
};

/// A process, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(pub u32);

/// A process that stands still, for as long as this lives.
#[derive(Debug)]
pub struct Stopped(Process);

impl Process {
    /// That of a replica.
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
        Ok(Self(pid.context("a process")?.parse()?))
    }

    /// Has it stand still.
    ///
    /// # Errors
    /// It is gone.
    pub async fn stop(&self) -> Result<Stopped> {
        self.signal("-STOP").await?;
        Ok(Stopped(*self))
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// It is gone.
    pub async fn end(&self) -> Result<()> {
        self.signal("-TERM").await
    }

    /// Ends it at once: it does nothing more.
    ///
    /// # Errors
    /// It is gone.
    pub async fn kill(&self) -> Result<()> {
        self.signal("-KILL").await
    }

    /// Whether it is there.
    #[must_use]
    pub fn runs(&self) -> bool {
        Path::new(&format!("/proc/{}", self.0)).exists()
    }

    /// The environment that it was started with.
    ///
    /// # Errors
    /// It is gone.
    pub fn environment(&self) -> Result<String> {
        let environment = fs::read(format!("/proc/{}/environ", self.0));
        let environment = environment.context("the environment of a process")?;
        Ok(String::from_utf8_lossy(&environment).into_owned())
    }

    /// The most memory that was resident of it so far, in bytes.
    ///
    /// # Errors
    /// It is gone.
    pub fn peak(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        let kib: u64 = peak.context("a process has memory")?.trim().parse()?;
        Ok(kib << 10)
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.0.to_string();
        run("kill", &[signal, &pid], None).await?.success()?;
        Ok(())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let Process(pid) = self.0;
        let continued = std::process::Command::new("kill")
            .args(["-CONT", &pid.to_string()])
            .stderr(std::process::Stdio::null())
            .status();
        // one that was killed meanwhile needs no more
        if !continued.is_ok_and(|status| status.success()) && self.0.runs() {
            remark(&format!("process {pid} may stand still for ever"));
        }
    }
}
