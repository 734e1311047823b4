//! The one place that reads the clock. Whoever decides something takes `now` as an argument.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the module that reads the clock"
)]
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// How long ago this machine booted. It runs while the machine is suspended, and nobody can set it.
#[must_use]
pub fn since_boot() -> Duration {
    told(clock_gettime(ClockId::Boottime))
}

/// How long this machine was suspended since it booted.
#[must_use]
pub fn suspended() -> Duration {
    let running = told(clock_gettime(ClockId::Monotonic));
    since_boot().saturating_sub(running)
}

/// The time of day so much after `at`, whatever was done to the clock meanwhile.
#[must_use]
pub fn after(at: Timestamp, passed: Duration) -> Timestamp {
    SignedDuration::try_from(passed)
        .ok()
        .and_then(|passed| at.saturating_add(passed).ok())
        .unwrap_or(at)
}

fn told(read: Timespec) -> Duration {
    // The kernel tells neither a time before the start nor nanoseconds beyond a second.
    let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(read.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
