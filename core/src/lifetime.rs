//! How long a token lives, when it is replaced, and when to try again.

use std::{fmt, time::Duration};

/// How long a token lives: 30 seconds to 1 hour, a service-account token at least 10 minutes.
///
/// The ceiling keeps clear of 3607 s, which the API server silently turns into a token of one year, and
/// it bounds for how long a revocation has to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u32);

/// Why a text is no lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// Not of the form `1h`, `90m`, `1h30m`, `1800s`.
    #[error("must be a duration such as 10m, 45m or 1h")]
    Malformed,
    /// Too short or too long.
    #[error("must be between {least} and 1h")]
    OutOfBounds {
        /// The shortest that is allowed there.
        least: Lifetime,
    },
}

impl Lifetime {
    /// The shortest.
    pub const MIN: Self = Self(30);
    /// The shortest of a service-account token: `TokenRequest` refuses less than 600 s.
    pub const SERVICE_ACCOUNT_MIN: Self = Self(600);
    /// The longest.
    pub const MAX: Self = Self(3600);

    /// So many minutes, or the nearest that is a lifetime.
    pub(crate) const fn minutes(minutes: u32) -> Self {
        match minutes {
            0 => Self::MIN,
            1..=59 => Self(minutes * 60),
            _ => Self::MAX,
        }
    }

    /// Reads `1h`, `90m`, `1h30m`, `1800s`: whole numbers with a unit each, added up.
    ///
    /// # Errors
    /// Another form, or a sum below `least` or above 1 h.
    pub fn parse(text: &str, least: Self) -> Result<Self, LifetimeError> {
        let seconds = seconds(text).ok_or(LifetimeError::Malformed)?;
        match u32::try_from(seconds) {
            Ok(s) if (least.max(Self::MIN).0..=Self::MAX.0).contains(&s) => Ok(Self(s)),
            Ok(_) | Err(_) => Err(LifetimeError::OutOfBounds { least }),
        }
    }

    /// The same, but shorter than [`Lifetime::MAX`] by that time and no shorter than [`Lifetime::MIN`].
    pub(crate) fn less_than_longest_by(self, time: Duration) -> Self {
        let left = u64::from(Self::MAX.0).saturating_sub(time.as_secs().saturating_add(1));
        let left = u32::try_from(left).unwrap_or(Self::MAX.0);
        self.min(Self(left)).max(Self::MIN)
    }

    /// The lifetime in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            hours if hours.is_multiple_of(3600) => write!(f, "{}h", hours / 3600),
            minutes if minutes.is_multiple_of(60) => write!(f, "{}m", minutes / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(digits + 1..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// How long after its start a token of the given life is replaced. `jitter` is uniform in `0.0..1.0`.
///
/// # Guarantees
/// At 50 to 80 % of the life. The first token of a pod goes at 20 to 80 %, so that pods that started
/// together have drifted apart after one life.
#[must_use]
pub fn refresh_after(life: Duration, first: bool, jitter: f64) -> Duration {
    let from = if first { 0.2 } else { 0.5 };
    life.mul_f64(from + (0.8 - from) * jitter.clamp(0.0, 1.0))
}

/// How long to wait after the `failures`th failed try in a row (1 is the first). `window` is the time
/// from the planned refresh to the expiry of the token in hand, [`None`] without one.
/// `jitter` is uniform in `0.0..1.0`.
///
/// # Guarantees
/// Doubles from 1 s up to 30 s, or 10 s where nothing valid is in hand; never more than a sixth of the
/// window, so that at least five tries fit into it; never less than half of what it says.
#[must_use]
pub fn retry_after(failures: u32, window: Option<Duration>, jitter: f64) -> Duration {
    let cap = match window {
        Some(window) => (window / 6).min(Duration::from_secs(30)),
        None => Duration::from_secs(10),
    };
    let doubled = Duration::from_secs(1 << failures.saturating_sub(1).min(5));
    doubled.min(cap).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OUT: LifetimeError = LifetimeError::OutOfBounds {
        least: Lifetime::SERVICE_ACCOUNT_MIN,
    };

    #[test]
    fn what_is_shorter_anyhow_is_not_made_shorter() {
        let left = |life: u32, seconds| {
            Lifetime(life)
                .less_than_longest_by(Duration::from_secs(seconds))
                .0
        };
        assert_eq!(left(600, 900), 600);
        assert_eq!(left(3600, 900), 2699, "a part of a second counts as one");
        assert_eq!(left(3600, 3600), 30);
    }

    #[test]
    fn a_lifetime_is_read_like_a_kubernetes_duration_and_bounded() {
        for (text, expected) in [
            ("10m", Ok(600)),
            ("1h", Ok(3600)),
            ("600s", Ok(600)),
            ("30m30s", Ok(1830)),
            ("0h10m", Ok(600)),
            ("9m59s", Err(OUT)),
            ("1h1s", Err(OUT)),
            ("3607s", Err(OUT)),
            ("24h", Err(OUT)),
            ("99999999999999999999h", Err(LifetimeError::Malformed)),
            ("", Err(LifetimeError::Malformed)),
            ("10", Err(LifetimeError::Malformed)),
            ("m", Err(LifetimeError::Malformed)),
            ("10 m", Err(LifetimeError::Malformed)),
            ("-10m", Err(LifetimeError::Malformed)),
            ("10ms", Err(LifetimeError::Malformed)),
            ("1.5h", Err(LifetimeError::Malformed)),
            ("10é", Err(LifetimeError::Malformed)),
        ] {
            assert_eq!(
                Lifetime::parse(text, Lifetime::SERVICE_ACCOUNT_MIN).map(Lifetime::seconds),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn pods_that_started_together_spread_over_more_than_half_a_life() {
        let life = Duration::from_secs(600);
        assert_eq!(refresh_after(life, true, 0.0), Duration::from_secs(120));
        assert_eq!(refresh_after(life, true, 1.0), Duration::from_secs(480));
        assert_eq!(refresh_after(life, false, 0.0), Duration::from_secs(300));
        assert_eq!(refresh_after(life, false, 1.0), Duration::from_secs(480));
    }

    #[test]
    fn waits_double_and_are_capped() {
        let hour = Some(Duration::from_secs(720));
        let waits: Vec<_> = (1..=8)
            .map(|n| retry_after(n, hour, 1.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        let waits: Vec<_> = (1..=6)
            .map(|n| retry_after(n, None, 1.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_lifetime_within_bounds_or_none(text in "[0-9smh.é -]{0,12}") {
            for least in [Lifetime::MIN, Lifetime::SERVICE_ACCOUNT_MIN] {
                if let Ok(lifetime) = Lifetime::parse(&text, least) {
                    prop_assert!((least.seconds()..=3600).contains(&lifetime.seconds()));
                    prop_assert_eq!(Lifetime::parse(&lifetime.to_string(), least), Ok(lifetime));
                }
            }
        }

        #[test]
        fn a_refresh_comes_before_the_last_fifth(life in 1u64..100_000, first: bool, jitter in 0.0..1.0) {
            let life = Duration::from_secs(life);
            let at = refresh_after(life, first, jitter);
            prop_assert!(at <= life.mul_f64(0.8) + Duration::from_micros(1));
            prop_assert!(at >= life.mul_f64(0.2) - Duration::from_micros(1));
        }

        #[test]
        fn at_least_five_tries_fit_before_expiry(life in 30u64..4000, first: bool, at in 0.0..1.0, jitter in 0.0..1.0) {
            let life = Duration::from_secs(life);
            let window = life - refresh_after(life, first, at);
            // the first try is at the refresh point itself, the others after a wait each
            let fifth: Duration = (1..=4).map(|n| retry_after(n, Some(window), jitter)).sum();
            prop_assert!(fifth < window, "the fifth try is at {fifth:?} of {window:?}");
        }

        #[test]
        fn no_wait_is_zero(failures in 1u32..u32::MAX, window in 1u64..4000, jitter in 0.0..1.0) {
            prop_assert!(retry_after(failures, Some(Duration::from_secs(window)), jitter) > Duration::from_millis(50));
            prop_assert!(retry_after(failures, None, jitter) >= Duration::from_millis(500));
        }
    }
}
