//! Who leads: the decision alone, over what was seen and when, by this replica's own clock.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

use super::tenure::Tenure;

/// What a Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it, if anybody does.
    pub(super) holder: Option<String>,
    /// How long after its last renewal it still belongs to its holder.
    pub(super) duration: Duration,
    /// How often it changed hands.
    pub(super) transitions: i32,
    /// The time of the last renewal by the holder's clock: only ever compared for a difference.
    pub(super) renewed: Option<Timestamp>,
}

/// What to do about a Lease that was just read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is held by another: leave it.
    Leave,
    /// Write this replica into it.
    Hold {
        /// How often it changed hands, with this one.
        transitions: i32,
    },
}

/// One replica that wants to lead.
///
/// # Guarantees
/// No two candidates lead at once, as long as no clock runs faster than another by half: a leader ends
/// [`TENURE`] after it *sent* its last successful write; nobody takes the Lease before [`DURATION`]
/// has passed since he *saw* that write. The clocks are monotonic and never compared with each other.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    seen: Option<(Record, Instant)>,
    /// When the last write was sent that made it hold the Lease, and how long the machine was suspended before.
    held: Option<(Instant, Duration)>,
}

impl From<&Lease> for Record {
    fn from(lease: &Lease) -> Self {
        let LeaseSpec {
            holder_identity,
            lease_duration_seconds,
            lease_transitions,
            renew_time,
            ..
        } = lease.spec.clone().unwrap_or_default();
        let seconds = lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        Self {
            holder: holder_identity.filter(|holder| !holder.is_empty()),
            duration: seconds.map_or(DURATION, Duration::from_secs),
            transitions: lease_transitions.unwrap_or_default(),
            renewed: renew_time.map(|time| time.0),
        }
    }
}

impl Candidate {
    pub(super) const fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
            held: None,
        }
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Takes note of what the Lease says, which was read at `now` at the latest.
    pub(super) fn see(&mut self, record: Record, now: Instant) {
        if record.holder.as_ref() != Some(&self.identity) {
            self.held = None;
        }
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != record) {
            self.seen = Some((record, now));
        }
    }

    /// What to do now.
    pub(super) fn step(&self, now: Instant) -> Step {
        let Some((record, since)) = &self.seen else {
            return Step::Leave;
        };
        let Record {
            holder,
            duration,
            transitions,
            ..
        } = record;
        match holder {
            Some(holder) if *holder == self.identity => Step::Hold {
                transitions: *transitions,
            },
            Some(_) if now < *since + *duration => Step::Leave,
            Some(_) | None => Step::Hold {
                transitions: transitions.saturating_add(1),
            },
        }
    }

    /// A write of this replica into the Lease succeeded. It was sent at `sent` at the earliest, when the machine had
    /// been `suspended` for so long.
    pub(super) const fn hold(&mut self, sent: Instant, suspended: Duration) {
        self.held = Some((sent, suspended));
    }

    /// Gives up leading.
    pub(super) const fn resign(&mut self) {
        self.held = None;
    }

    /// Until when this replica leads, unless it renews.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        self.held.map(|(sent, _)| sent + TENURE)
    }

    /// Whether this replica leads.
    pub(super) fn leads(&self, now: Instant) -> bool {
        self.leads_until().is_some_and(|end| now < end)
    }

    /// The tenure of this replica, if it leads.
    pub(super) fn tenure(&self, now: Instant) -> Tenure {
        match self.held {
            Some((sent, suspended)) if self.leads(now) => Tenure::until(sent + TENURE, suspended),
            Some(_) | None => Tenure::default(),
        }
    }
}

/// How long the Lease belongs to its holder after a renewal.
pub(super) const DURATION: Duration = Duration::from_secs(15);

/// How long a replica leads after it sent a renewal: less than [`DURATION`], so that it ends before
/// another one may begin.
pub(super) const TENURE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: Option<&str>) -> Record {
        Record {
            holder: holder.map(str::to_owned),
            duration: DURATION,
            transitions: 3,
            renewed: None,
        }
    }

    /// The step of `me` about a lease that was first seen so many milliseconds ago.
    fn step(holder: Option<&str>, age: u64) -> Step {
        let start = Instant::now();
        let mut candidate = Candidate::new("me".to_owned());
        candidate.see(record(holder), start);
        candidate.step(start + Duration::from_millis(age))
    }

    #[test]
    fn steps_follow_from_the_holder_and_the_age_of_what_was_seen() {
        let taken = Step::Hold { transitions: 4 };
        let kept = Step::Hold { transitions: 3 };
        let table = [
            ("free", None, 0, taken),
            ("held by another", Some("other"), 0, Step::Leave),
            ("held a moment ago", Some("other"), 14_999, Step::Leave),
            ("run out", Some("other"), 15_000, taken),
            ("held by this one", Some("me"), 0, kept),
            ("held by this one, run out", Some("me"), 60_000, kept),
        ];
        for (case, holder, age, expected) in table {
            assert_eq!(step(holder, age), expected, "{case}");
        }
    }

    #[test]
    fn does_nothing_about_a_lease_that_it_has_not_seen() {
        let candidate = Candidate::new("me".to_owned());
        assert_eq!(candidate.step(Instant::now()), Step::Leave);
    }

    #[test]
    fn a_renewal_by_the_other_starts_the_wait_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut candidate = Candidate::new("me".to_owned());
        candidate.see(record(Some("other")), start);
        candidate.see(record(Some("other")), at(14));
        assert_eq!(candidate.step(at(15)), Step::Hold { transitions: 4 });
        let renewed = Record {
            renewed: Some(Timestamp::UNIX_EPOCH),
            ..record(Some("other"))
        };
        candidate.see(renewed, at(14));
        assert_eq!(candidate.step(at(15)), Step::Leave);
        assert_eq!(candidate.step(at(29)), Step::Hold { transitions: 4 });
    }

    #[test]
    fn leads_for_ten_seconds_after_the_write_was_sent() {
        let start = Instant::now();
        let mut candidate = Candidate::new("me".to_owned());
        assert!(!candidate.leads(start));
        candidate.hold(start, Duration::ZERO);
        assert!(candidate.leads(start + Duration::from_millis(9_999)));
        assert!(!candidate.leads(start + TENURE));
    }

    #[test]
    fn ends_at_once_when_another_holds_the_lease() {
        let start = Instant::now();
        let mut candidate = Candidate::new("me".to_owned());
        candidate.hold(start, Duration::ZERO);
        candidate.see(record(Some("other")), start);
        assert!(!candidate.leads(start));
    }

    #[test]
    fn an_empty_lease_is_free_and_an_empty_holder_is_none() {
        let lease = Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        assert_eq!(Record::from(&lease).holder, None);
        assert_eq!(Record::from(&lease).duration, Duration::from_secs(1));
        assert_eq!(Record::from(&Lease::default()).holder, None);
    }
}
