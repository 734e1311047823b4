//! The clock and the dice: the one module that reads either. Everything else takes a [`Moment`] and
//! a jitter as arguments, or this module's values at the seam.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

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

/// Tells the time on two clocks: the wall's, which runs through a suspend but can be set, and the
/// runtime's, which cannot be set.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one module")]
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// One whose wall clock is the given function.
    pub fn new(wall: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(wall))
    }

    /// Both clocks, now.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment {
            wall: (self.0)(),
            instant: Instant::now(),
        }
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
    /// What the wall clock said.
    pub wall: Timestamp,
    /// What the runtime's clock said.
    pub instant: Instant,
}

impl Moment {
    /// The time that has passed until `later`, by the clock that counted more: the wall clock sees a
    /// suspend that the other one sleeps through, and the other one sees through a wall clock that was
    /// set back. So an age is never told too short.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        // Negative, where the clock was set back: then the other one counts.
        let wall = Duration::try_from(later.wall.duration_since(self.wall)).unwrap_or_default();
        wall.max(later.instant.saturating_duration_since(self.instant))
    }
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

    fn moment(wall: i64, instant: Instant) -> Moment {
        Moment {
            wall: Timestamp::from_second(wall).unwrap(),
            instant,
        }
    }

    #[test]
    fn an_age_is_told_by_the_clock_that_counted_more() {
        let start = Instant::now();
        let first = moment(1000, start);
        let suspended = moment(1600, start + Duration::from_secs(5));
        assert_eq!(first.until(suspended), Duration::from_secs(600));
        let set_back = moment(400, start + Duration::from_secs(5));
        assert_eq!(first.until(set_back), Duration::from_secs(5));
    }
}
