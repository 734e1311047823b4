//! For how long the leader may write.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::suspended;

/// Whether this replica leads, and until when unless it renews.
///
/// Who is told that it leads no more may be told late: after the process stood still, any task may run before the
/// one that tells. So whoever writes looks at the time as well, right before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tenure(Option<End>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    at: Instant,
    /// How long the machine was suspended before it began: the clock of `at` stands still meanwhile.
    suspended: Duration,
}

impl Tenure {
    /// One that ends then. `suspended` was read when it began.
    pub(super) const fn until(at: Instant, suspended: Duration) -> Self {
        Self(Some(End { at, suspended }))
    }

    /// Whether this replica was elected and has not been told otherwise: who leads begins to work.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.0.is_some()
    }

    /// Whether this replica may send a write now.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.lasts(Instant::now(), suspended())
    }

    fn lasts(self, now: Instant, suspended: Duration) -> bool {
        let end = self.0;
        end.is_some_and(|end| now + suspended.saturating_sub(end.suspended) < end.at)
    }
}

#[cfg(test)]
impl Tenure {
    /// That of a leader for as long as any test takes, or none.
    pub(crate) fn of(leads: bool) -> Self {
        let end = Instant::now() + Duration::from_secs(365 * 86_400);
        Self(leads.then_some(End {
            at: end,
            suspended: suspended(),
        }))
    }

    /// That of a leader who is not told yet that it is over.
    pub(crate) fn over() -> Self {
        Self::until(Instant::now(), suspended())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn f03_a_leader_may_write_until_its_tenure_is_over_and_a_suspended_machine_uses_it_up() {
        let start = Instant::now();
        let tenure = Tenure::until(start + 10 * SECOND, 7 * SECOND);
        let table = [
            ("at the start", 0, 7, true),
            ("right before the end", 9, 7, true),
            ("at the end", 10, 7, false),
            ("suspended for a while", 5, 11, true),
            ("suspended beyond the end", 5, 12, false),
        ];
        for (case, running, suspended, expected) in table {
            let lasts = tenure.lasts(start + running * SECOND, suspended * SECOND);
            assert_eq!(lasts, expected, "{case}");
        }
        assert!(tenure.leads(), "until it is told otherwise");
        assert!(!Tenure::default().lasts(start, Duration::ZERO));
    }
}
