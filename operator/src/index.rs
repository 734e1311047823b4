//! What this replica knows of the cluster: policies, audiences, issuers, revocations, pods with a sidecar,
//! service accounts, namespaces.
//!
//! Filled by watches on every replica, read by everybody. Nobody gets a [`Snapshot`] before every
//! watch has delivered its first whole list; after that the last known state is served, whatever
//! becomes of the watches.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hallpass_core::{
    consent::{AudienceSet, Labels},
    decide::{PolicySet, Rules},
    name::Namespace,
};
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, token_audience::TokenAudience,
    token_issuer::TokenIssuer, token_policy::TokenPolicy, token_revocation::TokenRevocation,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Pod, ServiceAccount};
use kube::{
    Api, Client,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::watcher::{self, Event},
};
use tokio::{
    sync::watch as channel,
    time::{Instant, sleep},
};
use tracing::warn;

use self::{
    freshness::Freshness,
    revocations::Revocations,
    shelf::{Filed, Shelf},
};
use crate::telemetry::{Metrics, label::Kind};

mod dirty;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod freshness;
mod limit;
mod record;
pub mod revocations;
mod shelf;
mod snapshot;
mod watch;

pub(crate) use self::record::{
    AudienceRecord, IssuerRecord, PolicyRecord, Record, Unusable, annotations,
};
pub use self::{
    dirty::Changes,
    record::{AccountRecord, PodRecord},
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
    revocations: Revocations,
    /// Made of the others whenever what one of them says changed.
    rules: ArcSwap<Rules>,
    changes: Changes,
    /// Told whenever a policy, an audience, an issuer or a namespace is not what it was.
    consents: channel::Sender<()>,
    freshness: Freshness,
    metrics: Metrics,
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
            revocations: Revocations::new(metrics.clone(), clock),
            rules: ArcSwap::default(),
            changes: Changes::default(),
            consents: channel::Sender::default(),
            freshness: Freshness::default(),
            metrics,
        }))
    }

    /// Keeps the index current. Returns only if a watch ends, which is a fault.
    pub async fn run(self, client: Client) -> WatchEnded {
        let all = watcher::Config::default;
        let pods = all().labels(OURS).fields(UNFINISHED);
        let kind = tokio::select! {
            kind = self.follow(&client, Kind::TokenPolicy, all(), Self::take_policies) => kind,
            kind = self.follow(&client, Kind::TokenAudience, all(), Self::take_audiences) => kind,
            kind = self.follow(&client, Kind::TokenIssuer, all(), Self::take_issuers) => kind,
            kind = self.follow_revocations(&client, Kind::TokenRevocation, Self::take_revocations) => kind,
            kind = self.follow_revocations(&client, Kind::ClusterTokenRevocation, Self::take_cluster_revocations) => kind,
            kind = self.tidy() => kind,
            kind = self.follow(&client, Kind::Namespace, all(), Self::take_namespaces) => kind,
            kind = self.follow(&client, Kind::Pod, pods, Self::take_pods) => kind,
            kind = self.follow(&client, Kind::ServiceAccount, all(), Self::take_service_accounts) => kind,
        };
        WatchEnded { kind }
    }

    async fn follow<K: watch::Watched>(
        &self,
        client: &Client,
        kind: Kind,
        config: watcher::Config,
        take: impl Fn(&Self, Vec<Event<K>>),
    ) -> Kind {
        let stamp = self.0.freshness.stamp(kind);
        let api = Api::all(limit::limited(client.clone(), watch::SILENCE, stamp));
        watch::follow(api, config, kind, &self.0.metrics, |events| {
            take(self, events)
        })
        .await;
        kind
    }

    /// The same, from a new list on whenever there is room for what had none.
    async fn follow_revocations<K: watch::Watched>(
        &self,
        client: &Client,
        kind: Kind,
        take: impl Fn(&Self, Vec<Event<K>>),
    ) -> Kind {
        loop {
            tokio::select! {
                kind = self.follow(client, kind, watcher::Config::default(), &take) => return kind,
                () = self.0.revocations.room() => {}
            }
        }
    }

    /// Lets go of what has nothing left to refuse, for ever.
    async fn tidy(&self) -> Kind {
        loop {
            sleep(TIDY).await;
            self.0.revocations.tidy();
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
        self.0.freshness.age(now)
    }

    /// What is refused, and how far this replica has read of it.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
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

    fn take_revocations(&self, events: Vec<Event<DeserializeGuard<TokenRevocation>>>) {
        self.0.revocations.take(events);
    }

    fn take_cluster_revocations(
        &self,
        events: Vec<Event<DeserializeGuard<ClusterTokenRevocation>>>,
    ) {
        self.0.revocations.take(events);
    }

    fn take_pods(&self, events: Vec<Event<PartialObjectMeta<Pod>>>) {
        let Shelves { pods, metrics, .. } = &*self.0;
        self.0.changes.add(take(events, pods, record::pod));
        metrics.watch_objects(Kind::Pod, pods.count(|_| true));
    }

    fn take_service_accounts(&self, events: Vec<Event<PartialObjectMeta<ServiceAccount>>>) {
        let Shelves {
            service_accounts,
            metrics,
            ..
        } = &*self.0;
        let touched = take(events, service_accounts, record::service_account);
        self.0.changes.add(touched);
        metrics.watch_objects(Kind::ServiceAccount, service_accounts.count(|_| true));
    }

    fn take_namespaces(&self, events: Vec<Event<PartialObjectMeta<NamespaceObject>>>) {
        let Shelves {
            namespaces,
            metrics,
            ..
        } = &*self.0;
        let touched = take(events, namespaces, record::namespace);
        metrics.watch_objects(Kind::Namespace, namespaces.count(|_| true));
        self.renew_audiences(!touched.is_empty());
    }

    fn take_audiences(&self, events: Vec<Event<DeserializeGuard<TokenAudience>>>) {
        let Shelves {
            audiences, metrics, ..
        } = &*self.0;
        let touched = take(events, audiences, |object| {
            let filed = record::audience(object)?;
            let known = audiences.get(&filed.within, &filed.name);
            report_unusable(
                Kind::TokenAudience,
                filed.within.as_str(),
                known.as_ref(),
                &filed.record,
            );
            Some(filed)
        });
        count(metrics, Kind::TokenAudience, audiences);
        self.renew_audiences(!touched.is_empty());
    }

    fn take_issuers(&self, events: Vec<Event<DeserializeGuard<TokenIssuer>>>) {
        let Shelves {
            issuers, metrics, ..
        } = &*self.0;
        let touched = take(events, issuers, |object| {
            let filed = record::issuer(object)?;
            let known = issuers.get(&(), &filed.name);
            report_unusable(Kind::TokenIssuer, "", known.as_ref(), &filed.record);
            Some(filed)
        });
        count(metrics, Kind::TokenIssuer, issuers);
        self.renew_audiences(!touched.is_empty());
    }

    fn take_policies(&self, events: Vec<Event<DeserializeGuard<TokenPolicy>>>) {
        let Shelves {
            policies, metrics, ..
        } = &*self.0;
        let touched = take(events, policies, |object| {
            let filed = record::policy(object)?;
            let known = policies.get(&filed.within, &filed.name);
            report_unusable(
                Kind::TokenPolicy,
                filed.within.as_str(),
                known.as_ref(),
                &filed.record,
            );
            Some(filed)
        });
        count(metrics, Kind::TokenPolicy, policies);
        self.renew_policies(&touched);
        self.0.changes.add(touched);
    }

    /// Makes the set of policies anew if a policy of one of the namespaces says something else now.
    /// What only changed a status, a pod or a service account does not.
    fn renew_policies(&self, touched: &BTreeSet<Namespace>) {
        let Shelves {
            policies, rules, ..
        } = &*self.0;
        let old = rules.load();
        let same = touched.iter().all(|namespace| {
            let of = policies.of(namespace).into_values();
            let now: PolicySet = of.filter_map(|record| record.spec.ok()).collect();
            now.of(namespace.as_str()) == old.policies.of(namespace.as_str())
        });
        if !same {
            let set: PolicySet = policies.collect(|record| record.spec.as_ref().ok().cloned());
            rules.store(Arc::new(Rules {
                policies: Arc::new(set),
                audiences: Arc::clone(&old.audiences),
            }));
            self.0.consents.send_replace(());
        }
    }

    /// Makes the set of audiences anew, and has every policy looked at if it says something else now.
    fn renew_audiences(&self, touched: bool) {
        let Shelves {
            policies,
            audiences,
            issuers,
            namespaces,
            rules,
            ..
        } = &*self.0;
        if !touched {
            return;
        }
        let statements: Vec<_> = audiences.collect(|record| record.spec.as_ref().ok().cloned());
        let issuers: Vec<_> = issuers.collect(|record| record.spec.as_ref().ok().cloned());
        let labels = namespaces.collect(|namespace| Some(namespace.clone()));
        let set = AudienceSet::new(statements, issuers, labels);
        let old = rules.load();
        if set != *old.audiences {
            rules.store(Arc::new(Rules {
                policies: Arc::clone(&old.policies),
                audiences: Arc::new(set),
            }));
            self.0.changes.add(policies.namespaces());
        }
        self.0.consents.send_replace(());
    }
}

/// Says once per stored version of an object that it is left out.
fn report_unusable<T, S>(
    kind: Kind,
    namespace: &str,
    known: Option<&Record<T, S>>,
    record: &Record<T, S>,
) {
    let Err(error) = &record.spec else {
        return;
    };
    let same = |known: &&Record<T, S>| {
        known.uid == record.uid && known.resource_version == record.resource_version
    };
    if known.filter(same).is_none() {
        let kind = kind.as_str();
        warn!(object.kind = kind, object.namespace = namespace, object.name = &*record.name, %error, "an object is left out");
    }
}

fn count<K: Clone + Ord, T: Clone + PartialEq, S: Clone + PartialEq>(
    metrics: &Metrics,
    kind: Kind,
    shelf: &Shelf<K, Record<T, S>>,
) {
    metrics.watch_objects(kind, shelf.count(|_| true));
    metrics.unreadable_objects(kind, shelf.count(|record| record.spec.is_err()));
}

/// Files the objects of the events and returns the namespaces that are not what they were. An object
/// that cannot even be filed is passed over, and the watch goes on.
fn take<K, N: Clone + Ord, T: Clone + PartialEq>(
    events: Vec<Event<K>>,
    shelf: &Shelf<N, T>,
    file: impl Fn(K) -> Option<Filed<N, T>>,
) -> BTreeSet<N> {
    let mut touched = BTreeSet::new();
    for event in events {
        let filed = match event {
            Event::Init => Some(Event::Init),
            Event::InitDone => Some(Event::InitDone),
            Event::InitApply(object) => file(object).map(Event::InitApply),
            Event::Apply(object) => file(object).map(Event::Apply),
            Event::Delete(object) => file(object).map(Event::Delete),
        };
        touched.extend(filed.map(|event| shelf.take(event)).unwrap_or_default());
    }
    touched
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

/// How often it is looked which revocations have nothing left to refuse.
const TIDY: Duration = Duration::from_secs(15);

/// Set by injection on every pod that got the sidecar.
const OURS: &str = "hallpass.dev/injected=true";

/// A pod that finished leaves the watch.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

#[cfg(test)]
mod tests;
#[cfg(test)]
mod watch_tests;
