//! Notices that the state of the cluster went back: that etcd was restored from a backup.
//!
//! What the API server stores has a version that only grows, so an object that is read under a lower one
//! than before proves a restore. Then nothing that was learned from a watch may be built upon: a watch
//! hangs on a version that is still to come, and the API server does not say so. And what was deleted
//! since the backup is back, an issuer's old keys among it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// When the state of the cluster last went back, as far as any replica noticed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Restores(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    noticed: Mutex<BTreeSet<Timestamp>>,
    last: watch::Sender<Option<Timestamp>>,
}

/// The versions of one object, as one reader saw them, one after another.
#[derive(Debug, Default)]
pub(crate) struct Versions(Option<u64>);

/// A version that is lower than one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WentBack {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Restores {
    /// The time of the last one, now and whenever that changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Timestamp>> {
        self.0.last.subscribe()
    }

    /// Somebody noticed one at `at`.
    ///
    /// # Guarantees
    /// Of times that follow each other within [`SAME`] the first counts, in whatever order they are heard: it
    /// is one restore, which one replica noticed after another. So all replicas come to the same time. One
    /// that has not come counts for nothing.
    pub(crate) fn note(&self, at: Timestamp, now: Timestamp) {
        if at.duration_since(now) > CLOCKS_APART {
            return;
        }
        // Each change is one insertion or removal: there is no half-made state behind a panic.
        let noticed = self.0.noticed.lock();
        let mut noticed = noticed.unwrap_or_else(PoisonError::into_inner);
        noticed.insert(at);
        if noticed.len() > MOST {
            noticed.pop_first();
        }
        let first = first_of_last(&noticed);
        self.0.last.send_if_modified(|last| {
            let changed = *last != first;
            *last = first;
            changed
        });
    }
}

impl Versions {
    /// Takes note of a version that was read after all those before, and tells if it is lower. One that is
    /// no number says nothing.
    pub(crate) fn see(&mut self, version: &str) -> Option<WentBack> {
        let to = version.parse().ok()?;
        let from = self.0.replace(to)?;
        (to < from).then_some(WentBack { from, to })
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

/// Replicas notice one restore within this time of each other.
const SAME: SignedDuration = SignedDuration::from_secs(60);

/// How far the clock of whoever noticed may be ahead.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(60);

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
        assert_eq!(last(&[1000, 1100, 1050], 1100), Some(1000));
        assert_eq!(last(&[1050, 1000, 1100, 1000], 1100), Some(1000));
        assert_eq!(last(&[1000, 2000], 2000), Some(2000));
        assert_eq!(last(&[2000, 1000], 2000), Some(2000));
    }

    #[test]
    fn a_time_that_has_not_come_counts_for_nothing() {
        assert_eq!(last(&[1061], 1000), None);
        assert_eq!(last(&[1060], 1000), Some(1060));
    }

    #[test]
    fn only_a_lower_version_is_a_step_back_and_it_is_told_once() {
        let mut versions = Versions::default();
        let table = [
            ("9", None),
            ("10", None),
            ("10", None),
            ("not a number", None),
            ("", None),
            ("9", Some(WentBack { from: 10, to: 9 })),
            ("9", None),
            ("10", None),
        ];
        for (version, expected) in table {
            assert_eq!(versions.see(version), expected, "{version}");
        }
    }
}
