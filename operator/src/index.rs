//! What this replica knows of the cluster: policies, pods with a sidecar, service accounts.
//!
//! Filled by watches on every replica, read by everybody. Nobody gets a [`Snapshot`] before every
//! watch has delivered its first whole list; after that the last known state is served, whatever
//! becomes of the watches.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use hallpass_core::{
    decide::PolicySet,
    name::{Namespace, Uid},
};
use hallpass_crds::token_policy::TokenPolicy;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{
    Api, Client,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::watcher::{self, Event},
};
use tracing::warn;

use self::shelf::{Filed, Shelf};
use crate::telemetry::{Metrics, label::Kind};

mod dirty;
#[cfg(test)]
pub(crate) mod fixture;
mod limit;
mod record;
mod shelf;
mod watch;

pub(crate) use self::record::{PolicyRecord, Unusable};
pub use self::{dirty::Changes, record::PodRecord};

/// The shared index. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index(Arc<Shelves>);

#[derive(Debug)]
struct Shelves {
    records: Shelf<PolicyRecord>,
    /// Made of `records` whenever the content of one changed.
    policies: ArcSwap<PolicySet>,
    pods: Shelf<PodRecord>,
    service_accounts: Shelf<Uid>,
    changes: Changes,
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

/// A view for one request: its policies do not change while it is held.
#[derive(Debug, Clone)]
pub struct Snapshot {
    policies: Arc<PolicySet>,
    shelves: Arc<Shelves>,
}

impl Index {
    /// An empty index, which is not synced.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Shelves {
            records: Shelf::default(),
            policies: ArcSwap::default(),
            pods: Shelf::default(),
            service_accounts: Shelf::default(),
            changes: Changes::default(),
            metrics,
        }))
    }

    /// Keeps the index current. Returns only if a watch ends, which is a fault.
    pub async fn run(self, client: Client) -> WatchEnded {
        let client = limit::limited(client, watch::SILENCE);
        let Shelves { metrics, .. } = &*self.0;
        let policies = watch::follow(
            Api::all(client.clone()),
            watcher::Config::default(),
            Kind::TokenPolicy,
            metrics,
            |events| self.take_policies(events),
        );
        let pods = watch::follow(
            Api::all(client.clone()),
            watcher::Config::default().labels(OURS).fields(UNFINISHED),
            Kind::Pod,
            metrics,
            |events| self.take_pods(events),
        );
        let service_accounts = watch::follow(
            Api::all(client),
            watcher::Config::default(),
            Kind::ServiceAccount,
            metrics,
            |events| self.take_service_accounts(events),
        );
        let kind = tokio::select! {
            () = policies => Kind::TokenPolicy,
            () = pods => Kind::Pod,
            () = service_accounts => Kind::ServiceAccount,
        };
        WatchEnded { kind }
    }

    /// The view of now.
    ///
    /// # Errors
    /// [`NotSynced`] until every watch has delivered its first list.
    pub fn snapshot(&self) -> Result<Snapshot, NotSynced> {
        let shelves = &self.0;
        let synced =
            shelves.records.synced() && shelves.pods.synced() && shelves.service_accounts.synced();
        if !synced {
            return Err(NotSynced);
        }
        Ok(Snapshot {
            policies: shelves.policies.load_full(),
            shelves: Arc::clone(shelves),
        })
    }

    /// Which namespaces changed: for one reader.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.0.changes.clone()
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

    fn take_policies(&self, events: Vec<Event<DeserializeGuard<TokenPolicy>>>) {
        let Shelves {
            records, metrics, ..
        } = &*self.0;
        let touched = take(events, records, |object| {
            let filed = record::policy(object)?;
            self.report_unusable(&filed);
            Some(filed)
        });
        self.renew_policies(&touched);
        self.0.changes.add(touched);
        metrics.watch_objects(Kind::TokenPolicy, records.count(|_| true));
        metrics.unreadable_objects(Kind::TokenPolicy, records.count(|r| r.spec.is_err()));
    }

    /// Makes the set of policies anew if a policy of one of the namespaces says something else now.
    /// What only changed a status, a pod or a service account does not.
    fn renew_policies(&self, touched: &BTreeSet<Namespace>) {
        let Shelves {
            records, policies, ..
        } = &*self.0;
        let set = policies.load();
        let same = touched.iter().all(|namespace| {
            let of = records.of(namespace.as_str()).into_values();
            let now: PolicySet = of.filter_map(|record| record.spec.ok()).collect();
            now.of(namespace.as_str()) == set.of(namespace.as_str())
        });
        if !same {
            let set: PolicySet = records.collect(|record| record.spec.as_ref().ok().cloned());
            policies.store(Arc::new(set));
        }
    }

    /// Says once per stored version of a policy that it is left out.
    fn report_unusable(&self, filed: &Filed<PolicyRecord>) {
        let Err(error) = &filed.record.spec else {
            return;
        };
        let (namespace, name) = (filed.namespace.as_str(), &*filed.name);
        let known = self.0.records.get(namespace, name).is_some_and(|known| {
            known.uid == filed.record.uid && known.resource_version == filed.record.resource_version
        });
        if !known {
            warn!(policy.namespace = namespace, policy.name = name, %error, "a policy is left out");
        }
    }
}

/// Files the objects of the events and returns the namespaces that are not what they were. An object
/// that cannot even be filed is passed over, and the watch goes on.
fn take<K, T: Clone + PartialEq>(
    events: Vec<Event<K>>,
    shelf: &Shelf<T>,
    file: impl Fn(K) -> Option<Filed<T>>,
) -> BTreeSet<Namespace> {
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

impl Snapshot {
    /// Every valid policy.
    #[must_use]
    pub const fn policies(&self) -> &Arc<PolicySet> {
        &self.policies
    }

    /// The pod of that name.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<PodRecord> {
        self.shelves.pods.get(namespace, name)
    }

    /// The uid of the service account of that name.
    #[must_use]
    pub fn service_account(&self, namespace: &str, name: &str) -> Option<Uid> {
        self.shelves.service_accounts.get(namespace, name)
    }

    /// The stored policies of a namespace, those that cannot be used too.
    pub(crate) fn records(&self, namespace: &str) -> BTreeMap<Box<str>, PolicyRecord> {
        self.shelves.records.of(namespace)
    }

    /// Every namespace with a stored policy.
    pub(crate) fn namespaces(&self) -> BTreeSet<Namespace> {
        self.shelves.records.namespaces()
    }

    /// The names of the service accounts of a namespace.
    pub(crate) fn service_accounts(&self, namespace: &str) -> BTreeSet<Box<str>> {
        self.shelves
            .service_accounts
            .of(namespace)
            .into_keys()
            .collect()
    }

    /// The pods of a namespace.
    pub(crate) fn pods(&self, namespace: &str) -> BTreeMap<Box<str>, PodRecord> {
        self.shelves.pods.of(namespace)
    }
}

#[cfg(test)]
impl Index {
    /// An index whose watches have delivered exactly these objects.
    pub(crate) fn filled(
        policies: Vec<TokenPolicy>,
        pods: Vec<PartialObjectMeta<Pod>>,
        service_accounts: Vec<PartialObjectMeta<ServiceAccount>>,
    ) -> Self {
        let index = Self::new(Metrics::default());
        let guarded = policies.into_iter().map(|p| DeserializeGuard(Ok(p)));
        index.take_policies(listed(guarded));
        index.take_pods(listed(pods));
        index.take_service_accounts(listed(service_accounts));
        index
    }

    /// The watch delivers this policy, new or changed.
    pub(crate) fn deliver(&self, policy: DeserializeGuard<TokenPolicy>) {
        self.take_policies(vec![Event::Apply(policy)]);
    }

    /// The watch delivers this pod, new or changed.
    pub(crate) fn deliver_pod(&self, pod: PartialObjectMeta<Pod>) {
        self.take_pods(vec![Event::Apply(pod)]);
    }
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

/// Set by injection on every pod that got the sidecar.
const OURS: &str = "hallpass.dev/injected=true";

/// A pod that finished leaves the watch.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

#[cfg(test)]
mod tests;
#[cfg(test)]
mod watch_tests;
