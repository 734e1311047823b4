//! A pod as its node sees it: its files, its sidecar's process.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use hallpass_e2e::cluster::Cluster;
use tempfile::TempDir;

/// A pod on this machine.
#[derive(Debug)]
pub(crate) struct LocalPod {
    uid: String,
    volumes: PathBuf,
    link: TempDir,
}

impl LocalPod {
    pub(crate) async fn find(cluster: &Cluster, pod: &str) -> Result<Self> {
        let args = ["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"];
        let uid = cluster.kubectl(&args).await?.success()?;
        let state =
            std::env::var_os("HALLPASS_CLUSTER_STATE").context("the node is another machine")?;
        let volumes = PathBuf::from(state)
            .join("kubelet/pods")
            .join(&uid)
            .join("volumes");
        // the path of a socket has at most 107 bytes: the link makes it short
        let link = TempDir::new()?;
        symlink(
            volumes.join("kubernetes.io~empty-dir/hallpass-c0"),
            link.path().join("s"),
        )?;
        Ok(Self { uid, volumes, link })
    }

    /// The socket of its first container.
    pub(crate) fn socket(&self) -> PathBuf {
        self.link.path().join("s/hallpass.sock")
    }

    /// The file of the pod's own API token, which the kubelet writes.
    pub(crate) fn kubelet_token(&self) -> Result<PathBuf> {
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
    pub(crate) fn sidecar(&self) -> Result<u32> {
        let found = process(&self.uid, |command| {
            command == b"/hallpass-sidecar\0serve\0"
        })?;
        found.context("the sidecar's process is not on this machine")
    }
}

/// The process of the pod of that uid whose command line is such a one.
pub(crate) fn process(uid: &str, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<u32>> {
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
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// `VmRSS` of a process, in kB.
pub(crate) fn resident_kb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The processor time that a process has used, in microseconds. The kernel counts it in nanoseconds.
pub(crate) fn cpu_micros(pid: u32) -> Result<f64> {
    let mut micros = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanos: f64 = schedstat
            .split_whitespace()
            .next()
            .context("no schedstat")?
            .parse()?;
        micros += nanos / 1000.0;
    }
    Ok(micros)
}
