//! What is known of the clocks: how far the wall clock is from the operator's, and whether it jumped.
//! Pure. No life and no schedule depends on the wall clock; this tells whoever runs the machine.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{
    surroundings::Moment,
    upstream::{Sighting, Skew},
};

/// The clocks, as they were seen.
#[derive(Debug)]
pub(crate) struct Clocks {
    last: Moment,
    ahead: Option<Duration>,
    seen: Option<Sighting>,
    skew: Option<Skew>,
}

/// What a sighting of the operator's clock tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The difference of the wall clocks, where it is another one than before and worth a word.
    pub news: Option<Skew>,
    /// The time that this machine's boot time did not count.
    pub missed: Duration,
}

impl Clocks {
    pub(crate) const fn new(now: Moment) -> Self {
        Self {
            last: now,
            ahead: None,
            seen: None,
            skew: None,
        }
    }

    /// Looks at both clocks, and tells by how much the wall clock has jumped since the last look.
    pub(crate) fn look(&mut self, now: Moment) -> Option<SignedDuration> {
        let last = std::mem::replace(&mut self.last, now);
        let passed = SignedDuration::try_from(last.until(now)).unwrap_or(SignedDuration::MAX);
        let jump = now.wall.duration_since(last.wall).saturating_sub(passed);
        if let Some(skew) = &mut self.skew {
            skew.ahead = skew.ahead.saturating_add(jump);
        }
        if jump.unsigned_abs() <= JUMP {
            return None;
        }
        if let Ok(jump) = Duration::try_from(jump) {
            self.ahead = Some(self.ahead.unwrap_or_default().saturating_add(jump));
        }
        Some(jump)
    }

    /// Takes in what the operator's clock said.
    ///
    /// # Guarantees
    /// Time counts as missed only where two witnesses say so: this machine's wall clock jumped ahead, and
    /// the operator's clock had gone as far. So it is with a virtual machine that was stopped from outside,
    /// or moved, whose clock is set afterwards. Neither a clock that is set wrong nor a replica whose clock
    /// is wrong makes a token older than it is.
    pub(crate) fn learn(&mut self, seen: Sighting) -> Learned {
        let skew = seen.skew();
        let known = self.skew.map_or(SignedDuration::ZERO, |skew| skew.ahead);
        let differs = known.saturating_sub(skew.ahead).unsigned_abs() > JUMP + skew.within;
        let ahead = self.ahead.take().unwrap_or_default();
        let missed = self.seen.map_or(Duration::ZERO, |before| {
            let uncounted = uncounted(&before, &seen);
            if uncounted > JUMP {
                uncounted
            } else {
                Duration::ZERO
            }
        });
        self.seen = Some(seen);
        self.skew = Some(skew);
        let missed = missed.min(ahead);
        // The boot time counts it from here on: that is no jump of the wall clock.
        self.last.boot = self.last.boot + missed;
        Learned {
            news: differs.then_some(skew),
            missed,
        }
    }

    /// The difference of the wall clocks, where the operator has told.
    pub(crate) const fn skew(&self) -> Option<Skew> {
        self.skew
    }
}

/// The time, at least, that the operator's clock counted between two sightings and this machine's boot
/// time did not.
fn uncounted(before: &Sighting, after: &Sighting) -> Duration {
    let there = after.date.duration_since(before.latest());
    let here = before.asked.until(after.answered);
    Duration::try_from(there).map_or(Duration::ZERO, |there| there.saturating_sub(here))
}

/// What no clock is put right by in small steps.
const JUMP: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::hold::fixture::{after, start};

    /// `now`, with the wall clock so far off.
    fn off(now: Moment, seconds: i64) -> Moment {
        Moment {
            wall: now.wall + SignedDuration::from_secs(seconds),
            ..now
        }
    }

    fn seen(date: i64, at: Moment) -> Sighting {
        Sighting {
            date: Timestamp::from_second(date).unwrap(),
            asked: at,
            answered: at,
        }
    }

    fn half_a_second_behind(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds) - SignedDuration::from_millis(500)
    }

    #[test]
    fn f06_a_jump_of_the_wall_clock_is_told_once_and_a_slew_never() {
        let now = start();
        let mut clocks = Clocks::new(now);
        assert_eq!(clocks.look(after(now, 3_600)), None, "a suspend is none");
        assert_eq!(clocks.look(off(after(now, 3_630), 5)), None);
        let jumped = off(after(now, 3_660), 605);
        assert_eq!(clocks.look(jumped), Some(SignedDuration::from_secs(600)));
        assert_eq!(clocks.look(off(after(now, 3_690), 605)), None);
        let back = after(now, 3_720);
        assert_eq!(clocks.look(back), Some(SignedDuration::from_secs(-605)));
    }

    #[test]
    fn f06_the_skew_is_news_once_and_follows_the_clock_that_is_set() {
        let now = start();
        let mut clocks = Clocks::new(now);
        assert_eq!(
            clocks.learn(seen(0, now)).news,
            None,
            "half a second is none"
        );
        let wrong = off(after(now, 30), 600);
        clocks.look(wrong);
        let ahead = |clocks: &Clocks| clocks.skew().unwrap().ahead;
        assert_eq!(ahead(&clocks), half_a_second_behind(600));
        assert_eq!(clocks.learn(seen(30, wrong)).news, None, "it was known");
        let mut anew = Clocks::new(wrong);
        let told = anew.learn(seen(30, wrong)).news;
        assert_eq!(told.unwrap().ahead, half_a_second_behind(600));
        assert_eq!(anew.learn(seen(31, wrong)).news, None);
    }

    #[test]
    fn f07_time_is_missed_only_where_both_clocks_say_so() {
        let now = start();
        let learned = |jump: i64, date: i64| {
            let mut clocks = Clocks::new(now);
            clocks.learn(seen(0, now));
            let later = off(after(now, 30), jump);
            clocks.look(later);
            clocks.learn(seen(date, later)).missed.as_secs()
        };
        assert_eq!(learned(0, 30), 0, "nothing happened");
        assert_eq!(learned(600, 30), 0, "the clock here was set wrong");
        assert_eq!(learned(0, 630), 0, "a replica's clock is wrong");
        assert_eq!(learned(-600, 630), 0, "both, and they differ");
        assert_eq!(
            learned(600, 630),
            599,
            "the machine was stopped from outside"
        );
        assert_eq!(learned(300, 630), 300, "what both say");
    }

    #[test]
    fn f07_time_that_was_missed_is_no_jump_back() {
        let now = start();
        let mut clocks = Clocks::new(now);
        clocks.learn(seen(0, now));
        let stopped = off(after(now, 30), 600);
        assert_eq!(clocks.look(stopped), Some(SignedDuration::from_secs(600)));
        let missed = clocks.learn(seen(630, stopped)).missed;
        let skew = clocks.skew();
        // From now on the boot time counts what it has missed.
        let mut later = after(stopped, 30);
        later.boot = later.boot + missed;
        assert_eq!(clocks.look(later), None);
        let drift = clocks.skew().unwrap().ahead - skew.unwrap().ahead;
        assert!(drift.unsigned_abs() < Duration::from_millis(1), "{drift:?}");
    }
}
