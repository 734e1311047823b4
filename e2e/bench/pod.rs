//! What the kernel says of a pod's processes.

use std::fs;

use anyhow::{Context as _, Result};

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
