//! What the operator's clock says, by the `Date` of its answers.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

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

    /// The latest that the operator's clock can have shown when the question went out.
    pub(crate) fn latest(&self) -> Timestamp {
        self.date.saturating_add(GRAIN).unwrap_or(Timestamp::MAX)
    }
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
    fn f06_the_operators_clock_showed_at_most_the_second_after_its_date() {
        let at = moment(1_000, 0);
        let seen = sighting("Thu, 01 Jan 1970 00:16:40 GMT", at, at).unwrap();
        assert_eq!(seen.latest(), Timestamp::from_second(1_001).unwrap());
    }

    #[test]
    fn an_answer_without_a_date_that_can_be_read_says_nothing() {
        let at = moment(1_000, 0);
        assert_eq!(sighting("yesterday", at, at), None);
        assert_eq!(Sighting::of(&HeaderMap::new(), at, at), None);
    }
}
