//! Sleep that a suspend of the machine does not prolong: a timer of the kernel on `CLOCK_BOOTTIME`.

use std::{io, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};
use tracing::warn;

use super::Boottime;

/// Resolves at that moment, or at once where it is past. Without a timer it resolves within
/// [`POLL`]: whoever sleeps looks at the clock and sleeps again.
pub(super) async fn sleep_until(at: Boottime) {
    if let Err(error) = wake(at).await {
        warn!(error = %error, "no timer: looking at the clock every second instead");
        tokio::time::sleep(POLL).await;
    }
}

#[expect(
    deprecated,
    reason = "sound for an OwnedFd, which is one descriptor for all of its life; its successor is unsafe"
)]
async fn wake(at: Boottime) -> io::Result<()> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
    // All zeroes would stop the timer.
    let at = at.since_start().max(Duration::from_nanos(1));
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at.subsec_nanos().into(),
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &once)?;
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    drop(timer.readable().await?);
    Ok(())
}

const POLL: Duration = Duration::from_secs(1);
