//! How much memory the kernel lets a container have. Only a cluster of our own shows it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::process::Process;

/// The memory cgroup of a container.
#[derive(Debug)]
pub struct Memory {
    limit: PathBuf,
    used: PathBuf,
}

impl Memory {
    /// Of the container of that process.
    ///
    /// # Errors
    /// It is gone, or has no such group.
    pub fn of(process: Process) -> Result<Self> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", process.0))?;
        let place = |mark: &str| {
            groups
                .lines()
                .find_map(|line| Some(line.split_once(mark)?.1))
        };
        let files = |folder: String, limit, used| {
            let folder = PathBuf::from(folder);
            (folder.join(limit), folder.join(used))
        };
        let (limit, used) = if let Some(place) = place(":memory:") {
            let folder = format!("/sys/fs/cgroup/memory{place}");
            files(folder, "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            let place = place("0::").context("no memory cgroup")?;
            let folder = format!("/sys/fs/cgroup{place}");
            files(folder, "memory.max", "memory.current")
        };
        Ok(Self { limit, used })
    }

    /// What it may have, in bytes.
    ///
    /// # Errors
    /// It is gone, or has no limit.
    pub fn limit(&self) -> Result<u64> {
        read(&self.limit)
    }

    /// Leaves it what it has now, and no more.
    ///
    /// # Errors
    /// It is gone.
    pub fn squeeze(&self) -> Result<()> {
        let used = read(&self.used)?;
        match fs::write(&self.limit, used.to_string()) {
            // it has more by now, and its limit is as it was
            Err(refused) if refused.kind() == ErrorKind::ResourceBusy => Ok(()),
            written => written.context("limit the memory of a container"),
        }
    }
}

fn read(file: &Path) -> Result<u64> {
    let said = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(said.trim().parse()?)
}
