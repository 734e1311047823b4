//! A pod as its node sees it: its files, the processes of its containers. Only a cluster of our own shows it.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{cluster::Cluster, process::Process, state};

/// A pod on this machine.
#[derive(Debug)]
pub struct LocalPod {
    uid: String,
    volumes: PathBuf,
    link: TempDir,
}

impl LocalPod {
    /// Finds its files.
    ///
    /// # Errors
    /// There is no such pod, or its node is another machine.
    pub async fn find(cluster: &Cluster, pod: &str) -> Result<Self> {
        let args = ["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"];
        let uid = cluster.kubectl(&args).await?.success()?;
        let state = state::folder("what a pod's node sees").context("another machine's pod")?;
        let volumes = state.join("kubelet/pods").join(&uid).join("volumes");
        // the path of a socket has at most 107 bytes: the link makes it short
        let link = TempDir::new()?;
        symlink(
            volumes.join("kubernetes.io~empty-dir/hallpass-c0"),
            link.path().join("s"),
        )?;
        Ok(Self { uid, volumes, link })
    }

    /// The directory of its first container.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.link.path().join("s")
    }

    /// The socket of its first container.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory().join("hallpass.sock")
    }

    /// The file of the pod's own API token, which the kubelet writes.
    ///
    /// # Errors
    /// It has none.
    pub fn kubelet_token(&self) -> Result<PathBuf> {
        for volume in fs::read_dir(self.volumes.join("kubernetes.io~projected"))? {
            let volume = volume?;
            if volume
                .file_name()
                .to_string_lossy()
                .starts_with("kube-api-access-")
            {
                return Ok(volume.path().join("token"));
            }
        }
        bail!("the pod has no API token of its own")
    }

    /// The process of its sidecar.
    ///
    /// # Errors
    /// It does not run.
    pub fn sidecar(&self) -> Result<Process> {
        let serves = |command: &[u8]| command == b"/hallpass-sidecar\0serve\0";
        let found = process(&self.uid, serves)?;
        found.context("the sidecar's process is not on this machine")
    }
}

/// The process of the pod of that uid whose command line is such a one.
///
/// # Errors
/// The processes cannot be listed.
pub fn process(uid: &str, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Process>> {
    let in_cgroup = uid.replace('-', "_");
    for process in fs::read_dir("/proc")? {
        let process = process?;
        let Ok(pid) = process.file_name().to_string_lossy().parse() else {
            continue;
        };
        // a process may end while it is looked at
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let cgroup = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        let ours = cgroup.contains(uid) || cgroup.contains(&in_cgroup);
        if wanted(&command) && ours {
            return Ok(Some(Process(pid)));
        }
    }
    Ok(None)
}
