//! What this replica knows of the cluster: policies, audiences, issuers, revocations, pods with a sidecar,
//! service accounts, namespaces.
//!
//! Filled by watches on every replica, read by everybody. Nobody gets a [`Snapshot`] before every
//! watch has delivered its first whole list; after that the last known state is served, whatever
//! becomes of the watches.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use hallpass_core::{
    consent::Labels, decide::Rules, name::Namespace, policy::PolicyToken, pool::Pool, revocation,
};
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, token_policy::PolicyTokenStatus,
    token_revocation::TokenRevocation,
};
use jiff::Timestamp;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event},
};
use tokio::{
    sync::watch as channel,
    time::{Instant, sleep},
};

use self::{
    freshness::{Freshness, Stamp},
    gate::Gate,
    packed::Sentence,
    revocations::{Read, Revocations},
    shelf::Shelf,
};
use crate::{
    replica::standing::Standing,
    restore::Restores,
    telemetry::{Metrics, label::Kind},
};

mod definition;
mod dirty;
mod fill;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod freshness;
pub(crate) mod gate;
mod intake;
mod limit;
mod packed;
mod page;
mod record;
pub mod revocations;
mod shelf;
mod snapshot;
mod stored;
pub(crate) mod watch;

pub(crate) use self::page::Turn;
pub(crate) use self::record::{
    AudienceRecord, IssuerRecord, PolicyRecord, Record, Unusable, annotations,
};
pub(crate) use self::stored::{Described, Stored, metadata};
pub use self::{
    dirty::Changes,
    record::{AccountRecord, PodDetails, PodRecord},
    snapshot::Snapshot,
};

/// The shared index. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index(Arc<Shelves>);

#[derive(Debug)]
struct Shelves {
    policies: Shelf<Namespace, PolicyRecord>,
    audiences: Shelf<Namespace, AudienceRecord>,
    issuers: Shelf<(), IssuerRecord>,
    namespaces: Shelf<(), (Namespace, Labels)>,
    pods: Shelf<Namespace, PodRecord>,
    service_accounts: Shelf<Namespace, AccountRecord>,
    pools: Mutex<Pools>,
    revocations: Revocations,
    /// Made of the others whenever what one of them says changed.
    rules: ArcSwap<Rules>,
    changes: Changes,
    /// Told whenever a policy, an audience, an issuer or a namespace is not what it was.
    consents: channel::Sender<()>,
    standing: Standing,
    /// Of the lists of all kinds one page is in memory at a time.
    turn: Turn,
    metrics: Metrics,
}

/// What many objects say alike, which is kept once.
#[derive(Debug, Default)]
struct Pools {
    /// What pods have in common.
    pods: Pool<PodDetails>,
    /// The tokens of policies.
    tokens: Pool<PolicyToken>,
    /// What is said of them.
    statuses: Pool<PolicyTokenStatus>,
    /// What is said of policies.
    sentences: Pool<Sentence>,
}

impl Pools {
    fn sweep(&mut self) {
        self.pods.sweep();
        self.tokens.sweep();
        self.statuses.sweep();
        self.sentences.sweep();
    }
}

/// A watch has not delivered its first list yet: no decision can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state of the cluster has not been read yet")]
pub struct NotSynced;

/// A watch ended, which none does: the index would grow old unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the watch of kind {kind:?} ended")]
pub struct WatchEnded {
    /// The kind that was watched.
    pub kind: Kind,
}

impl Index {
    /// An empty index, which is not synced.
    #[must_use]
    pub fn new(metrics: Metrics, clock: fn() -> Timestamp) -> Self {
        Self(Arc::new(Shelves {
            policies: Shelf::default(),
            audiences: Shelf::default(),
            issuers: Shelf::default(),
            namespaces: Shelf::default(),
            pods: Shelf::default(),
            service_accounts: Shelf::default(),
            pools: Mutex::default(),
            revocations: Revocations::new(metrics.clone(), clock),
            rules: ArcSwap::default(),
            changes: Changes::default(),
            consents: channel::Sender::default(),
            standing: Standing::default(),
            turn: Turn::default(),
            metrics,
        }))
    }

    /// Keeps the index current, and lists everything anew with each of the `restores`. Returns only if a
    /// watch ends, which is a fault.
    pub async fn run(self, client: Client, restores: &Restores) -> WatchEnded {
        let from = &(client, restores.watch());
        let all = watcher::Config::default;
        let pods = all().labels(OURS).fields(UNFINISHED);
        let kind = tokio::select! {
            kind = self.follow(from, (Kind::TokenPolicy, all()), record::policy, Self::take_policies) => kind,
            kind = self.follow(from, (Kind::TokenAudience, all()), record::audience, Self::take_audiences) => kind,
            kind = self.follow(from, (Kind::TokenIssuer, all()), record::issuer, Self::take_issuers) => kind,
            kind = self.follow(from, (Kind::TokenRevocation, all()), Read::of::<TokenRevocation>, Self::take_revocations) => kind,
            kind = self.follow(from, (Kind::ClusterTokenRevocation, all()), Read::of::<ClusterTokenRevocation>, Self::take_cluster_revocations) => kind,
            kind = self.tidy() => kind,
            kind = self.fill_up(&from.0) => kind,
            kind = self.follow(from, (Kind::Namespace, all()), |Described(namespace)| record::namespace(namespace), Self::take_namespaces) => kind,
            kind = self.follow(from, (Kind::Pod, pods), |Described(pod)| record::pod(pod), Self::take_pods) => kind,
            kind = self.follow(from, (Kind::ServiceAccount, all()), |Described(account)| record::service_account(account), Self::take_service_accounts) => kind,
        };
        WatchEnded { kind }
    }

    async fn follow<K: watch::Watched, F>(
        &self,
        (client, restores): &(Client, channel::Receiver<Option<Timestamp>>),
        (kind, config): (Kind, watcher::Config),
        file: impl Fn(K) -> Option<F>,
        take: impl Fn(&Self, Vec<Event<F>>),
    ) -> Kind {
        let stamp = self.0.standing.freshness().stamp(kind);
        let api = Api::all(proving(client.clone(), stamp.clone(), &self.0.turn));
        let gate = Gate::of::<K>(client.clone(), kind, stamp, self.0.metrics.clone());
        let take = |events| take(self, events);
        watch::follow(api, config, gate, restores.clone(), file, take).await;
        kind
    }

    /// Lets go of what has nothing left to refuse, and of what no object says any more, for ever.
    async fn tidy(&self) -> Kind {
        loop {
            sleep(TIDY).await;
            self.0.revocations.tidy();
            self.pools().sweep();
        }
    }

    /// Takes in what had no room before and was not kept, for ever.
    async fn fill_up(&self, client: &Client) -> Kind {
        loop {
            sleep(FILL).await;
            if let Some(kind) = self.0.revocations.lacks() {
                self.fill(client, kind).await;
            }
        }
    }

    async fn fill(&self, client: &Client, kind: revocation::Kind) {
        let freshness = self.0.standing.freshness();
        let client = |kind| proving(client.clone(), freshness.stamp(kind), &self.0.turn);
        let revocations = &self.0.revocations;
        match kind {
            revocation::Kind::Namespaced => {
                let api = Api::all(client(Kind::TokenRevocation));
                fill::fill::<TokenRevocation>(revocations, api).await;
            }
            revocation::Kind::Cluster => {
                let api = Api::all(client(Kind::ClusterTokenRevocation));
                fill::fill::<ClusterTokenRevocation>(revocations, api).await;
            }
        }
    }

    /// The view of now.
    ///
    /// # Errors
    /// [`NotSynced`] until every watch has delivered its first list.
    pub fn snapshot(&self) -> Result<Snapshot, NotSynced> {
        let shelves = &self.0;
        let synced = shelves.policies.synced()
            && shelves.audiences.synced()
            && shelves.issuers.synced()
            && shelves.namespaces.synced()
            && shelves.pods.synced()
            && shelves.service_accounts.synced()
            && shelves.revocations.synced();
        if synced {
            Ok(Snapshot::of(shelves))
        } else {
            Err(NotSynced)
        }
    }

    /// How long ago the watch of which that is longest ago was last proven alive; [`None`] while there is
    /// one that never was. What is known here may be older than the cluster by that much.
    #[must_use]
    pub fn heard(&self, now: Instant) -> Option<Duration> {
        self.0.standing.freshness().age(now)
    }

    /// Whether a decision may be made on what is known here.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.0.standing
    }

    /// What is refused, and how far this replica has read of it.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// A client for lists beside the watches: of all lists one page is in memory at a time, and each is
    /// bounded in bytes and time.
    pub(crate) fn lister(&self, client: Client) -> Client {
        // It watches nothing, and so proves nothing.
        proving(client, Freshness::default().stamp(Kind::Pod), &self.0.turn)
    }

    /// Which namespaces changed: for one reader.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.0.changes.clone()
    }

    /// Tells when a policy, an audience, an issuer or a namespace is not what it was.
    #[must_use]
    pub fn consents(&self) -> channel::Receiver<()> {
        self.0.consents.subscribe()
    }
}

/// A client for one watch, whose proofs go to `stamp` and which lists in `turn`.
pub(crate) fn proving(client: Client, stamp: Stamp, turn: &Turn) -> Client {
    limit::limited(client, watch::SILENCE, stamp, turn.clone())
}

/// The events of a watch whose first list has these objects.
#[cfg(test)]
pub(crate) fn listed<K>(objects: impl IntoIterator<Item = K>) -> Vec<Event<K>> {
    let objects = objects.into_iter().map(Event::InitApply);
    std::iter::once(Event::Init)
        .chain(objects)
        .chain([Event::InitDone])
        .collect()
}

/// What a watch makes of its events.
#[cfg(test)]
pub(crate) fn filed<K, F>(events: Vec<Event<K>>, file: impl Fn(K) -> Option<F>) -> Vec<Event<F>> {
    let events = events.into_iter();
    events
        .filter_map(|event| watch::filed(event, &file))
        .collect()
}

/// How often it is looked which revocations have nothing left to refuse.
const TIDY: Duration = Duration::from_secs(15);

/// How long it is waited before those are listed that had no room, and after that.
const FILL: Duration = Duration::from_secs(60);

/// Set by injection on every pod that got the sidecar.
const OURS: &str = "hallpass.dev/injected=true";

/// A pod that finished leaves the watch.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

#[cfg(test)]
mod tests;
#[cfg(test)]
mod watch_tests;
