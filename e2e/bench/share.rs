//! What a server gets of its core where others want it too, which are the machine's own programs: as much as
//! there is to give.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::place::{cgroup, first};

/// The greatest share of a core for a process, until this is dropped; a process outside every cluster keeps it.
#[derive(Debug)]
pub(crate) struct Share(Option<(PathBuf, String)>);

impl Share {
    /// The kernel shares out among cgroups first, so it is the cluster's whose share counts for what runs in one.
    pub(crate) fn greatest(pid: u32) -> Result<Self> {
        let Ok(cluster) = cgroup(pid) else {
            return first(pid).map(|()| Self(None));
        };
        let of = |(root, file, most)| (PathBuf::from(root).join(&cluster).join(file), most);
        let mut files = SHARES.into_iter().map(of);
        let found = files.find(|(file, _)| file.exists());
        let (file, most) = found.context("a cgroup without a share of the processor")?;
        let before = fs::read_to_string(&file)?;
        fs::write(&file, most)?;
        Ok(Self(Some((file, before))))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some((file, before)) = &self.0 {
            // a cluster that has ended shares nothing out
            drop(fs::write(file, before));
        }
    }
}

/// Where the hierarchy is, the file, and its greatest value (Linux, `cgroup-v1/cpu` and `cgroup-v2.rst`).
const SHARES: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup/cpu", "cpu.shares", "262144"),
    ("/sys/fs/cgroup", "cpu.weight", "10000"),
];
