//! The keys of every issuer of Hallpass: what tokens are signed and sealed with.
//!
//! Each key is one Secret in a namespace that holds nothing else. Every replica watches them and has
//! them in its [`Keys`]; the leader makes, activates and removes them ([`rotate`]), one step at a time,
//! as [`rotation`] decides. A private key is in no log, no metric and no error; nothing outside of this
//! module reads those Secrets.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use hallpass_core::{name::IssuerId, token::signing::Algorithm};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::{
    sync::watch::{Receiver, Sender},
    time::Instant,
};

use self::{
    ring::KeyRing,
    rotation::{Phase, Plan},
    shelf::{Issuer, Shelf},
    store::Store,
};
use crate::{
    clock,
    index::freshness::Freshness,
    restore::Restores,
    telemetry::{Metrics, label::Kind},
};

#[cfg(test)]
mod fixture;
pub mod plans;
pub mod ring;
pub mod rotate;
pub mod rotation;
mod secret;
mod shelf;
mod store;
#[cfg(test)]
mod tests;
mod watch;

/// The keys of every issuer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What is signed with. It is made anew for each change and put in place by one store: no panic leaves a part of
    /// it, and there is no lock whose holder could.
    issuers: ArcSwap<BTreeMap<IssuerId, Issuer>>,
    synced: AtomicBool,
    changes: Sender<u64>,
    heard: Freshness,
    /// What time it was by the API server's clock when this machine booted: nobody can set what has passed since.
    booted: Mutex<Option<Timestamp>>,
    metrics: Metrics,
}

/// What is told of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// The name of the key in tokens and key sets.
    pub kid: Box<str>,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// What it is for.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// A retired key goes then.
    pub until: Option<Timestamp>,
}

impl Keys {
    /// No keys yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let heard = Freshness::default();
        heard.stamp(Kind::SigningKey);
        Self(Arc::new(Shared {
            issuers: ArcSwap::default(),
            synced: AtomicBool::new(false),
            changes: Sender::new(0),
            heard,
            booted: Mutex::new(None),
            metrics,
        }))
    }

    /// Keeps the keys as they are stored in `namespace`, for ever, and lists them anew with each of the
    /// `restores`. On every replica.
    pub async fn run(self, client: Client, namespace: String, restores: Restores) {
        let store = Store::new(client, &namespace);
        watch::follow(&self, &store, &restores).await;
    }

    /// The keys of that issuer; [`None`] while it has none that signs.
    #[must_use]
    pub fn ring(&self, issuer: &IssuerId) -> Option<Arc<KeyRing>> {
        self.0.issuers.load().get(issuer)?.ring.clone()
    }

    /// Whether all keys have been read once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.0.synced.load(Ordering::Acquire)
    }

    /// Whether nothing has proven for longer than [`LONGEST_LAG`] that the watch lives: keys may have come
    /// and gone since, and what is known here is not to be kept by others.
    #[must_use]
    pub fn are_behind(&self, now: Instant) -> bool {
        let age = self.0.heard.age(now);
        age.is_none_or(|age| age > LONGEST_LAG)
    }

    /// The proofs that the watch lives. They are shown with those of the other watches, and no decision waits for
    /// them: a replica signs with the key that it holds, as the others would if none could read any.
    pub(crate) fn freshness(&self) -> &Freshness {
        &self.0.heard
    }

    /// Every key of that issuer, by number.
    #[must_use]
    pub fn states(&self, issuer: &IssuerId, now: Timestamp) -> Vec<KeyReport> {
        let issuers = self.0.issuers.load();
        let Some(issuer) = issuers.get(issuer) else {
            return Vec::new();
        };
        let standings = rotation::states(&issuer.states(), now).into_iter();
        let report = |standing: rotation::Standing| {
            let key = issuer.key(standing.number)?;
            Some(KeyReport {
                kid: key.material.signing.kid().into(),
                algorithm: key.state.algorithm,
                phase: standing.phase,
                since: standing.since,
                until: standing.until,
            })
        };
        standings.filter_map(report).collect()
    }

    /// When the next ordinary rotation of that issuer happens, if that is known.
    #[must_use]
    pub fn next_rotation(
        &self,
        issuer: &IssuerId,
        plan: &Plan,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let issuers = self.0.issuers.load();
        let issuer = issuers.get(issuer)?;
        rotation::next_rotation(&issuer.states(), issuer.unread, plan, now)
    }

    /// Whether a key of that `kid` may be there: one that is known, or, while something cannot be read, any.
    #[must_use]
    pub fn may_have(&self, kid: &str) -> bool {
        let issuers = self.0.issuers.load();
        let has = |issuer: &Issuer| {
            let mut keys = issuer.keys.iter();
            issuer.unread.count > 0 || keys.any(|key| key.material.signing.kid() == kid)
        };
        !self.synced() || issuers.values().any(has)
    }

    /// Counts up whenever a key came, changed or went.
    #[must_use]
    pub fn changes(&self) -> Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Keys that began to sign before the state of the cluster `went_back` are on their way out, and are used
    /// no more: one that was removed may be among them.
    fn publish(&self, shelf: &mut Shelf, went_back: Option<Timestamp>) {
        let Shared {
            issuers,
            synced,
            changes,
            metrics,
            ..
        } = &*self.0;
        let (found, unread) = shelf.issuers(went_back);
        metrics.watch_objects(Kind::SigningKey, shelf.len());
        metrics.unreadable_objects(Kind::SigningKey, unread);
        issuers.store(Arc::new(found));
        synced.store(true, Ordering::Release);
        changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// How far `now`, by this replica's clock, is ahead of what the API server's shows so long after the boot,
    /// where that is too far to say what time it is: by such a clock no token begins or ends.
    ///
    /// # Guarantees
    /// A clock that is set is noticed at once, and so is one that is set right; a suspended machine's clock
    /// was not set.
    #[must_use]
    pub fn clock_fault(&self, now: Timestamp, since_boot: Duration) -> Option<SignedDuration> {
        let booted = *self.0.booted.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = now.duration_since(clock::after(booted?, since_boot));
        (ahead.abs() > CLOCKS_APART).then_some(ahead)
    }

    /// Takes note of the API server's time, which it says in whole seconds, cut off.
    fn compared(&self, date: Option<Timestamp>, since_boot: Duration) {
        let booted = date.and_then(|date| date.checked_sub(since_boot).ok());
        if booted.is_some() {
            *self.0.booted.lock().unwrap_or_else(PoisonError::into_inner) = booted;
        }
    }

    fn heard(&self, at: Instant) {
        self.0.heard.stamp(Kind::SigningKey).proven(at);
    }
}

/// How far a replica may be behind what is stored. It leaves 5 s for a write and 5 s for each of two
/// clocks of the 35 s that rotation allows for.
const LONGEST_LAG: Duration = Duration::from_secs(20);

/// How far this replica's clock and the API server's may be apart, with the second that a date cuts off.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(6);
