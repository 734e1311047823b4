//! The replicas that there are, as their Leases say.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event},
};
use tokio::{sync::watch, time::Instant};

use super::{Identity, report::Report};
use crate::{
    index::{self, WatchEnded, freshness::Freshness, gate::Gate},
    restore::Restores,
    telemetry::{Metrics, label::Kind},
};

/// Every replica of this release, this one too. Cheap to clone.
///
/// # Guarantees
/// A replica lives as long after this one *saw* its Lease renewed as that says: clocks are never compared.
#[derive(Debug, Clone, Default)]
pub struct Replicas(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// This replica's own pod, from when the watch began.
    own: Box<str>,
    current: Known,
    listing: Known,
    synced: bool,
}

type Known = BTreeMap<Box<str>, (Report, Instant)>;

/// What every live replica has observed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minimum {
    /// The least of their epochs, of each kind on its own; 0 where there is no replica.
    pub epochs: [u64; 2],
    /// How many replicas those are.
    pub replicas: usize,
    /// The most revocations that one of them could not take in.
    pub refused: usize,
    /// Which revocations all of them could not read, in one number; [`None`] where that is not the same.
    pub unread: Option<u64>,
}

/// Another replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) pod: Box<str>,
    pub(super) address: Option<SocketAddr>,
}

impl Replicas {
    /// Watches the Leases for ever. What another replica noticed of a restore goes to `restores`, and with
    /// every restore they are listed anew.
    pub(crate) async fn run(
        self,
        client: Client,
        identity: &Identity,
        freshness: &Freshness,
        restores: &Restores,
        clock: fn() -> Timestamp,
        metrics: &Metrics,
    ) -> WatchEnded {
        self.be(&identity.pod);
        let kind = Kind::ReplicaLease;
        let stamp = freshness.stamp(kind);
        let client = index::proving(client, stamp, &index::Turn::default());
        let api: Api<Lease> = Api::namespaced(client, &identity.namespace);
        let config = watcher::Config::default().labels(&identity.selector());
        index::watch::follow(
            api,
            config,
            Gate::open(kind, metrics.clone()),
            restores.watch(),
            Some,
            |events| {
                self.take(events, Instant::now());
                metrics.watch_objects(kind, self.state().current.len());
                for at in self.went_back() {
                    restores.note(at, clock());
                }
            },
        )
        .await;
        WatchEnded { kind }
    }

    /// What all replicas that live at `now` have observed.
    #[must_use]
    pub fn minimum(&self, now: Instant) -> Minimum {
        let state = self.state();
        let live = state.current.values().filter(|known| lives(known, now));
        let each = live.map(|(report, _)| Minimum {
            epochs: report.epochs,
            replicas: 1,
            refused: report.refused,
            unread: Some(report.unread),
        });
        let least = each.reduce(|one, other| Minimum {
            epochs: [0, 1].map(|kind| one.epochs[kind].min(other.epochs[kind])),
            replicas: one.replicas + other.replicas,
            refused: one.refused.max(other.refused),
            unread: one.unread.filter(|_| one.unread == other.unread),
        });
        least.unwrap_or_default()
    }

    /// Counts up whenever a Lease came, changed or went. That a replica lives no more is told by time
    /// alone.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The other replicas that lived at `at`. [`None`] before the Leases have been read once.
    pub(super) fn others(&self, at: Instant) -> Option<Vec<Peer>> {
        let state = self.state();
        let live = state.current.values().filter(|known| lives(known, at));
        let others = live.filter(|(report, _)| report.pod != state.own);
        let peers = others.map(|(report, _)| Peer {
            pod: report.pod.clone(),
            address: report.address,
        });
        state.synced.then(|| peers.collect())
    }

    pub(super) fn be(&self, own: &str) {
        self.state().own = own.into();
    }

    /// When replicas noticed that the state of the cluster went back.
    fn went_back(&self) -> Vec<Timestamp> {
        let state = self.state();
        let reports = state.current.values();
        reports.filter_map(|(report, _)| report.went_back).collect()
    }

    pub(super) fn take(&self, events: Vec<Event<Lease>>, now: Instant) {
        {
            let mut state = self.state();
            for event in events {
                state.take(event, now);
            }
        }
        self.0
            .changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves whole entries behind: an event is one insertion or one swap.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, event: Event<Lease>, now: Instant) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(lease) => {
                let seen = self.seen(lease, now);
                self.listing.extend(seen);
            }
            Event::InitDone => {
                self.current = std::mem::take(&mut self.listing);
                self.synced = true;
            }
            Event::Apply(lease) => {
                let seen = self.seen(lease, now);
                self.current.extend(seen);
            }
            Event::Delete(lease) => {
                if let Some(pod) = lease.metadata.name.as_deref() {
                    self.current.remove(pod);
                }
            }
        }
    }

    /// The Lease, and since when it is renewed as it is.
    fn seen(&self, lease: Lease, now: Instant) -> Option<(Box<str>, (Report, Instant))> {
        let report = Report::of(lease)?;
        let before = self.current.get(&report.pod);
        let same = before.filter(|(before, _)| before.renewed == report.renewed);
        let since = same.map_or(now, |(_, since)| *since);
        Some((report.pod.clone(), (report, since)))
    }
}

fn lives((report, since): &(Report, Instant), at: Instant) -> bool {
    at < *since + report.duration
}

#[cfg(test)]
mod tests;
