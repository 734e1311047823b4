//! The one place that reads the clock. Whoever decides something takes `now` as an argument.

use jiff::Timestamp;

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the module that reads the clock"
)]
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}
