//! Notices that the state of the cluster went back: that etcd was restored from a backup.
//!
//! What the API server stores has a version that only grows, so an object that is read under a lower one
//! than before proves a restore. Then nothing that was learned from a watch may be built upon: a watch
//! hangs on a version that is still to come, and the API server does not say so. And what was deleted
//! since the backup is back, an issuer's old keys among it.
//!
//! Two Leases are compared. [The one that all share](crate::lease) is not enough: a replica that had not
//! read its last version can be the first to take it afterwards, and its write has a version above all
//! that the others know. [A replica's own](crate::replica::publish) is written by nobody else, so in a
//! backup that is older than its last write it stays older, however far the cluster goes on. A backup
//! that is older than its pod has none: then the version of the new one tells, which is lower too unless the
//! cluster has gone on beyond the last one. That it is gone tells nothing: it may have been deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::error;

use crate::telemetry::Metrics;

/// When the state of the cluster last went back, as far as any replica noticed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Restores(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    last: watch::Sender<Option<Timestamp>>,
    /// Counts how often this replica's own Lease was compared.
    looks: watch::Sender<u64>,
    /// Somebody waits for that.
    wanted: Notify,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Known {
    /// The version of each Lease, by its name, as this replica saw it last.
    versions: BTreeMap<Box<str>, u64>,
    noticed: BTreeSet<Timestamp>,
    /// What was told before its time had come: by a clock that was wrong.
    early: BTreeSet<Timestamp>,
}

/// A version that is lower than one before.
struct WentBack {
    from: u64,
    to: u64,
}

impl Restores {
    /// None yet. Those that this replica notices are counted in `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            metrics,
            ..Shared::default()
        }))
    }

    /// The time of the last one, now and whenever that changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Timestamp>> {
        self.0.last.subscribe()
    }

    /// The time of the last one.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        *self.0.last.borrow()
    }

    /// Waits until this replica's own Lease was compared, for [`LONGEST_LOOK`] at most. What was read before
    /// that is from before a restore, or the restore is noticed.
    pub(crate) async fn look(&self) {
        let mut looks = self.0.looks.subscribe();
        self.0.wanted.notify_one();
        // Without an answer nothing would be known for ever: what answers is listed all the same.
        drop(timeout(LONGEST_LOOK, looks.changed()).await);
    }

    /// Waits until somebody wants this replica's own Lease to be compared.
    pub(crate) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// This replica's own Lease was read, compared and written.
    pub(crate) fn looked(&self) {
        let looks = &self.0.looks;
        looks.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Somebody noticed one at `at`.
    ///
    /// # Guarantees
    /// Of times that follow each other within [`SAME`] the first counts, in whatever order they are heard: it
    /// is one restore, which one replica noticed after another. So all replicas come to the same time. One
    /// that has not come when it is told counts for nothing, then and later.
    pub(crate) fn note(&self, at: Timestamp, now: Timestamp) {
        let mut known = self.known();
        if at.duration_since(now) > CLOCKS_APART {
            remember(&mut known.early, at);
        } else if !known.early.contains(&at) {
            self.join(&mut known, at);
        }
    }

    /// Compares a Lease, read from etcd itself or written, with what the same one was before.
    ///
    /// # Assumptions
    /// The request for it was sent after all earlier answers about it had come.
    pub(crate) fn see(&self, lease: &Lease, now: Timestamp) {
        let (name, version) = (&lease.metadata.name, &lease.metadata.resource_version);
        let (Some(name), Some(version)) = (name.as_deref(), version.as_deref()) else {
            return;
        };
        let mut known = self.known();
        let Some(WentBack { from, to }) = known.see(name, version) else {
            return;
        };
        self.0.metrics.state_went_back();
        error!(
            lease.name = name,
            lease.version.before = from,
            lease.version.now = to,
            "the state of the cluster went back: was etcd restored from a backup? Everything is listed \
             anew, and every issuer gets new keys"
        );
        self.join(&mut known, now);
    }

    fn join(&self, known: &mut Known, at: Timestamp) {
        remember(&mut known.noticed, at);
        let first = first_of_last(&known.noticed);
        self.0.last.send_if_modified(|last| {
            let changed = *last != first;
            *last = first;
            changed
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one insertion or removal: there is no half-made state behind a panic.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes note of a version that was read after all those before of the same Lease, and tells if it is
    /// lower. One that is no number says nothing.
    fn see(&mut self, lease: &str, version: &str) -> Option<WentBack> {
        let to = version.parse().ok()?;
        let from = self.versions.insert(lease.into(), to)?;
        if to >= from {
            return None;
        }
        // Any other Lease went back with it: that is no second time.
        self.versions = [(lease.into(), to)].into();
        Some(WentBack { from, to })
    }
}

fn remember(times: &mut BTreeSet<Timestamp>, at: Timestamp) {
    times.insert(at);
    if times.len() > MOST {
        times.pop_first();
    }
}

/// The first of the times that lead up to the last one without a gap.
fn first_of_last(noticed: &BTreeSet<Timestamp>) -> Option<Timestamp> {
    let mut later = noticed.iter().rev().copied();
    let last = later.next()?;
    let first = later.try_fold(last, |first, before| {
        if first.duration_since(before) > SAME {
            return Err(first);
        }
        Ok(before)
    });
    Some(first.unwrap_or_else(|first| first))
}

/// How many times are remembered: those before them have long had their effect.
const MOST: usize = 64;

/// Replicas notice one restore within this time of each other: each looks every few seconds. The next
/// restore is not over so soon.
const SAME: SignedDuration = SignedDuration::from_secs(20);

/// How long somebody waits for a comparison: a replica whose Lease cannot be written tries each second.
const LONGEST_LOOK: Duration = Duration::from_secs(15);

/// How far the clock of whoever noticed may be ahead: one that is further ahead makes no tokens, and is not to
/// keep the others from making any until its time has come.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(6);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn last(noted: &[i64], now: i64) -> Option<i64> {
        let restores = Restores::default();
        for second in noted {
            restores.note(at(*second), at(now));
        }
        let last = *restores.watch().borrow();
        last.map(Timestamp::as_second)
    }

    #[test]
    fn who_notices_the_same_restore_later_changes_nothing() {
        assert_eq!(last(&[], 1000), None);
        assert_eq!(last(&[1000], 1000), Some(1000));
        assert_eq!(last(&[1000, 1004], 1004), Some(1000));
        assert_eq!(last(&[1004, 1000], 1004), Some(1000));
        assert_eq!(last(&[1000, 1030, 1015], 1030), Some(1000));
        assert_eq!(last(&[1015, 1000, 1030, 1000], 1030), Some(1000));
        assert_eq!(last(&[1000, 2000], 2000), Some(2000));
        assert_eq!(last(&[2000, 1000], 2000), Some(2000));
    }

    #[test]
    fn a_time_that_has_not_come_counts_for_nothing() {
        assert_eq!(last(&[1007], 1000), None);
        assert_eq!(last(&[1006], 1000), Some(1006));
    }

    #[test]
    fn a_time_that_had_not_come_when_it_was_told_never_counts() {
        let restores = Restores::default();
        for now in [1000, 2000, 4300, 4301, 9000] {
            restores.note(at(4300), at(now));
            assert_eq!(*restores.watch().borrow(), None, "{now}");
        }
        restores.note(at(9000), at(9000));
        assert_eq!(*restores.watch().borrow(), Some(at(9000)));
    }

    #[test]
    fn another_restore_half_a_minute_later_is_another_one() {
        assert_eq!(last(&[1000, 1030], 1030), Some(1030));
        assert_eq!(last(&[1000, 1004, 1030, 1033], 1033), Some(1030));
    }

    fn lease(name: &str, version: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some(name.to_owned());
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[test]
    fn only_a_lower_version_of_the_same_lease_is_a_step_back_and_it_is_told_once() {
        let restores = Restores::default();
        let table = [
            ("a", "9", false),
            ("a", "10", false),
            ("b", "8", false),
            ("b", "8", false),
            ("a", "not a number", false),
            ("a", "", false),
            ("b", "7", true),
            ("b", "7", false),
            ("a", "9", false),
            ("a", "10", false),
            ("a", "9", true),
        ];
        for (second, (name, version, expected)) in (1000..).step_by(100).zip(table) {
            let before = *restores.watch().borrow();
            restores.see(&lease(name, version), at(second));
            let after = *restores.watch().borrow();
            let noticed = before != after;
            assert_eq!(noticed, expected, "{name} {version}");
            assert!(!noticed || after == Some(at(second)), "{after:?}");
        }
        let counted = restores.0.metrics.encode().unwrap();
        assert!(
            counted.contains("hallpass_state_went_back_total 2\n"),
            "{counted}"
        );
    }
}
