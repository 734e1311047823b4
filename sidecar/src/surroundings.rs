//! The clock and the dice: the one module that reads either. Everything else takes a [`Moment`] and
//! a jitter as arguments, or this module's values at the seam.

mod timer;

use std::{
    fmt,
    ops::Add,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// What the program is placed in.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// The randomness.
    pub jitter: Jitter,
}

impl Surroundings {
    /// The system's clock and a random generator.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Clock::system(),
            jitter: Jitter::new(rand::random),
        }
    }
}

/// Tells the time on two clocks, and wakes whoever sleeps.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Moment + Send + Sync>,
    sleep: Arc<dyn Fn(Boottime) -> Sleep + Send + Sync>,
    missed_millis: Arc<AtomicU64>,
}

/// Resolves at a moment that was given, or at once where that is past.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Clock {
    /// The system's. Whoever sleeps by it is woken as soon as a suspended machine resumes, where the
    /// moment came meanwhile: the runtime's own timers stand still with the machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one module")]
    pub fn system() -> Self {
        let now = || Moment {
            wall: Timestamp::now(),
            boot: boottime(),
        };
        Self::new(now, |at| Box::pin(timer::sleep_until(at)))
    }

    /// One that is read, and slept by, with the given functions. A sleep may end early.
    pub fn new(
        now: impl Fn() -> Moment + Send + Sync + 'static,
        sleep: impl Fn(Boottime) -> Sleep + Send + Sync + 'static,
    ) -> Self {
        Self {
            now: Arc::new(now),
            sleep: Arc::new(sleep),
            missed_millis: Arc::default(),
        }
    }

    /// Both clocks, now.
    #[must_use]
    pub fn now(&self) -> Moment {
        let Moment { wall, boot } = (self.now)();
        let boot = boot + self.missed();
        Moment { wall, boot }
    }

    /// Waits for a moment; may end early.
    pub fn sleep_until(&self, at: Boottime) -> Sleep {
        let machines = at.0.saturating_sub(self.missed());
        (self.sleep)(Boottime(machines))
    }

    /// From now on the boot time is that much later: the machine has not counted it.
    pub(crate) fn miss(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.missed_millis.fetch_add(millis, Relaxed);
    }

    /// Takes over what a predecessor has missed in the same boot of the machine.
    pub(crate) fn resume(&self, missed: Duration) {
        let known = self.missed();
        self.miss(missed.saturating_sub(known));
    }

    /// The time that was missed so far.
    pub(crate) fn missed(&self) -> Duration {
        Duration::from_millis(self.missed_millis.load(Relaxed))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What the wall clock said. It can be set, and may be wrong: nothing is decided by it but what two
    /// boots of the machine have to agree on.
    pub wall: Timestamp,
    /// What the clock said that all is decided by.
    pub boot: Boottime,
}

impl Moment {
    /// The time that has passed until `later`, a suspend of the machine included, whatever was done to
    /// its wall clock.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        self.boot.until(later.boot)
    }
}

/// The time since the machine started, suspends included (`CLOCK_BOOTTIME`). Nobody can set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boottime(Duration);

impl Boottime {
    /// So long after the start of the machine.
    #[must_use]
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The time since the start of the machine.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The reading so long before; the start of the machine where that was later.
    #[must_use]
    pub const fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }

    /// The time from this reading to a `later` one; nothing where it is not later.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

impl Add<Duration> for Boottime {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

fn boottime() -> Boottime {
    let read = clock_gettime(ClockId::Boottime);
    // The kernel tells neither a time before the start nor nanoseconds beyond a second.
    let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(read.tv_nsec).unwrap_or_default();
    Boottime(Duration::new(seconds, nanos))
}

/// Draws numbers, uniform in `0.0..1.0`.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Jitter {
    /// One that draws by the given function.
    pub fn new(draw: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(draw))
    }

    /// The next number.
    #[must_use]
    pub fn draw(&self) -> f64 {
        (self.0)()
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

/// A new name for a request that failed.
pub(crate) fn request_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: i64, boot: u64) -> Moment {
        Moment {
            wall: Timestamp::from_second(wall).unwrap(),
            boot: Boottime::new(Duration::from_secs(boot)),
        }
    }

    #[test]
    fn f06_an_age_does_not_depend_on_the_wall_clock() {
        let first = moment(1000, 100);
        for wall in [0, 400, 1005, 1600] {
            let later = moment(wall, 105);
            assert_eq!(first.until(later), Duration::from_secs(5), "{wall}");
            assert_eq!(later.until(first), Duration::ZERO, "{wall}");
        }
    }

    #[tokio::test]
    async fn the_system_wakes_at_a_moment_of_its_boot_time() {
        let clock = Clock::system();
        let start = clock.now();
        clock.sleep_until(start.boot).await;
        let at = start.boot + Duration::from_millis(20);
        clock.sleep_until(at).await;
        assert!(clock.now().boot >= at);
    }
}
