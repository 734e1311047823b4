//! What the kernel says of the memory and the rest of processes.

use std::fs;

use anyhow::{Context as _, Result};

/// The memory of a process, in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// Its share of what it has in common with others, and its own.
    pub(crate) proportional: f64,
    /// What is backed by no file.
    pub(crate) anonymous: f64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let of = |name: &str| number(&rollup, name).map(|kb| kb / 1024.0);
        Ok(Self {
            resident: of("Rss:")?,
            proportional: of("Pss:")?,
            anonymous: of("Anonymous:")?,
        })
    }

    /// The mean of several.
    pub(crate) fn mean(pids: &[u32]) -> Result<Self> {
        let all: Vec<Self> = pids
            .iter()
            .map(|pid| Self::of(*pid))
            .collect::<Result<_>>()?;
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        Ok(Self {
            resident: mean(|memory| memory.resident),
            proportional: mean(|memory| memory.proportional),
            anonymous: mean(|memory| memory.anonymous),
        })
    }
}

/// How often the threads of a process went to sleep: each time something woke them before.
pub(crate) fn sleeps(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        sum += number(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// The processor time of the threads of a process that live, in microseconds: counted in nanoseconds, which the
/// time of a whole process is not.
pub(crate) fn busy_micros(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanos = schedstat
            .split_whitespace()
            .next()
            .context("no schedstat")?;
        sum += nanos.parse::<f64>()? / 1000.0;
    }
    Ok(sum)
}

fn number(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
