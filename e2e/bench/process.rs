//! What the kernel says of a process.

use std::fs;

use anyhow::{Context as _, Result};

/// The processor time that a process has used, threads that ended included, in microseconds. The kernel
/// tells it in hundredths of a second.
pub(crate) fn cpu_micros(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // the name of the program, in brackets, may have spaces
    let (_, rest) = stat.rsplit_once(") ").context("no name in stat")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |place: usize| -> Result<f64> {
        Ok(fields.get(place).context("stat is short")?.parse::<f64>()?)
    };
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let hertz = rustix::param::clock_ticks_per_second() as f64;
    Ok((ticks(11)? + ticks(12)?) / hertz * 1e6)
}
