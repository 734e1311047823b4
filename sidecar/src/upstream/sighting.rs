//! What the operator's clock says, by the `Date` of its answers.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};

use crate::surroundings::Moment;

/// A date of the operator's clock, and the two moments between which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// What the answer says: the operator's time, cut to a whole second (RFC 9110 §6.6.1).
    pub date: Timestamp,
    /// When the question went out.
    pub asked: Moment,
    /// When the answer was there.
    pub answered: Moment,
}

impl Sighting {
    /// The sighting in an answer's headers, where they have a date that can be read.
    pub(super) fn of(headers: &HeaderMap, asked: Moment, answered: Moment) -> Option<Self> {
        let text = headers.get(header::DATE)?.to_str().ok()?;
        Some(Self {
            date: PARSER.parse_timestamp(text).ok()?,
            asked,
            answered,
        })
    }

    /// How far this machine's wall clock is ahead of the operator's.
    pub(crate) fn skew(&self) -> Skew {
        let way = self.asked.until(self.answered) / 2;
        // The date was cut to a second, and it was written somewhere on the way.
        let there = self.date + GRAIN / 2;
        let here = self.answered.wall.saturating_sub(way).unwrap_or(there);
        Skew {
            ahead: here.duration_since(there),
            within: way + GRAIN / 2,
        }
    }

    /// The latest that the operator's clock can have shown when the question went out.
    pub(crate) fn latest(&self) -> Timestamp {
        self.date.saturating_add(GRAIN).unwrap_or(Timestamp::MAX)
    }
}

/// The difference between the wall clocks of this machine and of the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skew {
    /// How far this machine's is ahead; negative where it is behind.
    pub ahead: SignedDuration,
    /// How far off that may be.
    pub within: Duration,
}

const PARSER: DateTimeParser = DateTimeParser::new();
/// A `Date` has whole seconds.
const GRAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::surroundings::Boottime;

    fn moment(wall: i64, boot_ms: u64) -> Moment {
        Moment {
            wall: Timestamp::from_second(wall).unwrap(),
            boot: Boottime::new(Duration::from_millis(boot_ms)),
        }
    }

    fn sighting(date: &'static str, asked: Moment, answered: Moment) -> Option<Sighting> {
        let headers = HeaderMap::from_iter([(header::DATE, HeaderValue::from_static(date))]);
        Sighting::of(&headers, asked, answered)
    }

    #[test]
    fn f06_the_skew_is_known_to_half_the_round_trip_and_the_half_of_a_second() {
        let seen = |wall| {
            let (asked, answered) = (moment(wall, 5_000), moment(wall, 5_200));
            let seen = sighting("Thu, 01 Jan 1970 00:16:40 GMT", asked, answered);
            seen.unwrap().skew()
        };
        for (wall, ahead_ms) in [(1_000, -600), (1_600, 599_400), (400, -600_600)] {
            let skew = seen(wall);
            assert_eq!(skew.ahead, SignedDuration::from_millis(ahead_ms), "{wall}");
            assert_eq!(skew.within, Duration::from_millis(600));
        }
    }

    #[test]
    fn an_answer_without_a_date_that_can_be_read_says_nothing() {
        let at = moment(1_000, 0);
        assert_eq!(sighting("yesterday", at, at), None);
        assert_eq!(Sighting::of(&HeaderMap::new(), at, at), None);
    }
}
