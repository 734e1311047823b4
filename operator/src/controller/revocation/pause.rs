//! What is remembered of a revocation that was just written, or could not be: nothing else is, since there
//! may be a hundred thousand of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hallpass_core::revocation::Reported;
use tokio::time::Instant;

use super::kind::StatusOf;
use crate::controller::{
    plan::{Backoff, LONGEST_RETRY, SETTLE},
    write::Remember,
};

/// What is not to be written now, by uid.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<Box<str>, Pause>);

#[derive(Debug, Clone, Copy)]
enum Pause {
    /// This was written, and the watch has not surely brought it back.
    Wrote(Reported, Instant),
    /// It has brought it back.
    Settled(Reported, Instant),
    /// The API server was asked to delete it.
    Deleted(Instant),
    Failed(Backoff),
}

impl Pause {
    fn end(&self) -> Option<Instant> {
        match self {
            Self::Wrote(_, at) | Self::Settled(_, at) | Self::Deleted(at) => Some(*at + SETTLE),
            Self::Failed(backoff) => backoff.retry(),
        }
    }
}

impl Pauses {
    /// Forgets what is over. Of `unreadable` objects no status ever comes back: what was written counts.
    pub(super) fn tidy(&mut self, now: Instant, unreadable: &BTreeSet<&str>) {
        self.0.retain(|uid, pause| match pause {
            Pause::Wrote(..) if unreadable.contains(&**uid) => true,
            Pause::Wrote(_, at) | Pause::Settled(_, at) | Pause::Deleted(at) => now < *at + SETTLE,
            // Whoever is still there was tried again by then.
            Pause::Failed(backoff) => backoff.retry().is_some_and(|retry| now < retry + FORGOTTEN),
        });
    }

    /// Whether no more can be remembered: then no more is written, lest what fails is tried without end.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// Whether what is left is for those of the cluster: what floods one namespace is not to hold them up.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.0.len() >= MOST - RESERVE
    }

    /// Whether that is not to be written now.
    pub(super) fn hold(&self, uid: &str, says: Reported, now: Instant) -> bool {
        match self.0.get(uid) {
            Some(Pause::Wrote(said, _) | Pause::Settled(said, _)) => *said == says,
            Some(Pause::Deleted(_)) => true,
            Some(Pause::Failed(backoff)) => backoff.retry().is_some_and(|retry| now < retry),
            None => false,
        }
    }

    /// Whether it is not to be deleted now.
    pub(super) fn hold_deletion(&self, uid: &str, now: Instant) -> bool {
        match self.0.get(uid) {
            Some(Pause::Deleted(_)) => true,
            Some(Pause::Failed(backoff)) => backoff.retry().is_some_and(|retry| now < retry),
            Some(Pause::Wrote(..) | Pause::Settled(..)) | None => false,
        }
    }

    pub(super) fn deleted(&mut self, uid: &str, now: Instant) {
        self.0.insert(uid.into(), Pause::Deleted(now));
    }

    /// It failed. `jitter` is uniform in `0.0..1.0`. Returns how often in a row.
    pub(super) fn failed(&mut self, uid: &str, now: Instant, jitter: f64) -> u32 {
        let mut backoff = match self.0.get(uid) {
            Some(Pause::Failed(backoff)) => *backoff,
            Some(Pause::Wrote(..) | Pause::Settled(..) | Pause::Deleted(_)) | None => {
                Backoff::default()
            }
        };
        let failures = backoff.failed(now, jitter);
        self.0.insert(uid.into(), Pause::Failed(backoff));
        failures
    }

    /// The status that the watch brought says that.
    pub(super) fn brought(&mut self, uid: &str, reported: Reported) {
        if let Some(pause) = self.0.get_mut(uid)
            && let Pause::Wrote(said, at) = *pause
            && said == reported
        {
            *pause = Pause::Settled(said, at);
        }
    }

    /// When the first of them is over.
    pub(super) fn end(&self, now: Instant) -> Option<Instant> {
        let ends = self.0.values().filter_map(Pause::end);
        ends.filter(|end| *end > now).min()
    }

    /// When the first of them is over of which it is not known then that all is well.
    pub(super) fn doubt(&self, now: Instant) -> Option<Instant> {
        let open = self.0.values().filter(|p| !matches!(p, Pause::Settled(..)));
        open.filter_map(Pause::end).filter(|end| *end > now).min()
    }
}

impl<K> Remember<StatusOf<K>> for Pauses {
    fn wrote(&mut self, uid: &str, status: StatusOf<K>, now: Instant) {
        let says = status.status().reported();
        self.0.insert(uid.into(), Pause::Wrote(says, now));
    }

    fn failed(&mut self, uid: &str, now: Instant, jitter: f64) -> u32 {
        Self::failed(self, uid, now, jitter)
    }

    fn retry(&self, now: Instant) -> Option<Instant> {
        self.end(now)
    }
}

/// How many are remembered at most.
const MOST: usize = 2048;

/// How many of them are of the cluster.
const RESERVE: usize = 512;

/// How long after the time of its next try a failure is forgotten.
const FORGOTTEN: Duration = LONGEST_RETRY.saturating_mul(2);
