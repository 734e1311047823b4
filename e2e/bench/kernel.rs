//! What the kernel says of the memory and the rest of processes.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

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

/// The most memory that a process has had since a moment.
#[derive(Debug)]
pub(crate) struct Peak(u32);

impl Peak {
    /// What it had before does not count.
    pub(crate) fn from_now_on(pid: u32) -> Result<Self> {
        // proc_pid_clear_refs(5): 5 takes the peak back to what is resident now
        fs::write(format!("/proc/{pid}/clear_refs"), "5").context("begin a peak anew")?;
        Ok(Self(pid))
    }

    /// In MiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        Ok(number(&status, "VmHWM:")? / 1024.0)
    }
}

/// What the threads of processes have done so far, each by its process and its own number.
#[derive(Debug, Clone)]
pub(crate) struct Activity(BTreeMap<(u32, OsString), Done>);

/// What a thread has done, or many together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    /// How often it went to sleep: each time something woke it before.
    pub(crate) sleeps: f64,
    /// Its processor time in microseconds: counted in nanoseconds, which the time of a whole process is not.
    pub(crate) busy_micros: f64,
}

impl Activity {
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        let mut all = BTreeMap::new();
        for pid in pids {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let thread = thread?;
                // one that ends at this moment is one that ended before
                if let Ok(done) = Done::of(&thread.path()) {
                    all.insert((*pid, thread.file_name()), done);
                }
            }
        }
        Ok(Self(all))
    }

    /// What was done since then, by all threads that have not ended meanwhile. One that did takes nothing away.
    pub(crate) fn since(&self, before: &Self) -> Done {
        let mut sum = Done::default();
        for (thread, now) in &self.0 {
            let then = before.0.get(thread).copied().unwrap_or_default();
            sum.sleeps += now.sleeps - then.sleeps;
            sum.busy_micros += now.busy_micros - then.busy_micros;
        }
        sum
    }
}

impl Done {
    fn of(thread: &Path) -> Result<Self> {
        let status = fs::read_to_string(thread.join("status"))?;
        let schedstat = fs::read_to_string(thread.join("schedstat"))?;
        let nanos = schedstat.split_whitespace().next();
        Ok(Self {
            sleeps: number(&status, "voluntary_ctxt_switches:")?,
            busy_micros: nanos.context("no schedstat")?.parse::<f64>()? / 1000.0,
        })
    }
}

fn number(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
