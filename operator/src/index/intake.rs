//! What the watches deliver, on its way into the index.

use std::{
    collections::BTreeSet,
    hash::Hash,
    sync::{Arc, MutexGuard, PoisonError},
};

use hallpass_core::{
    consent::{AudienceSet, Labels},
    decide::{PolicySet, Rules},
    name::Namespace,
    revocation,
};
use kube::runtime::watcher::Event;
use tracing::warn;

use super::{
    Index, Pools, Shelves,
    record::{AccountRecord, AudienceRecord, IssuerRecord, PodRecord, PolicyRecord, Record},
    revocations::Read,
    shelf::{Filed, Shelf},
};
use crate::telemetry::{Metrics, label::Kind};

impl Index {
    pub(super) fn take_revocations(&self, events: Vec<Event<Read>>) {
        self.0
            .revocations
            .take(revocation::Kind::Namespaced, events);
    }

    pub(super) fn take_cluster_revocations(&self, events: Vec<Event<Read>>) {
        self.0.revocations.take(revocation::Kind::Cluster, events);
    }

    pub(super) fn take_pods(&self, events: Vec<Event<Filed<Namespace, PodRecord>>>) {
        let Shelves { pods, metrics, .. } = &*self.0;
        let mut pools = self.pools();
        let touched = take(events, pods, |filed| filed.record.share(&mut pools.pods));
        drop(pools);
        self.0.changes.add(touched);
        metrics.watch_objects(Kind::Pod, pods.count(|_| true));
    }

    pub(super) fn pools(&self) -> MutexGuard<'_, Pools> {
        // A pool is whole after a panic of another holder, too.
        self.0.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_service_accounts(
        &self,
        events: Vec<Event<Filed<Namespace, AccountRecord>>>,
    ) {
        let Shelves {
            service_accounts,
            metrics,
            ..
        } = &*self.0;
        let touched = take(events, service_accounts, |_| ());
        self.0.changes.add(touched);
        metrics.watch_objects(Kind::ServiceAccount, service_accounts.count(|_| true));
    }

    pub(super) fn take_namespaces(&self, events: Vec<Event<Filed<(), (Namespace, Labels)>>>) {
        let Shelves {
            namespaces,
            metrics,
            ..
        } = &*self.0;
        let touched = take(events, namespaces, |_| ());
        metrics.watch_objects(Kind::Namespace, namespaces.count(|_| true));
        self.renew_audiences(!touched.is_empty());
    }

    pub(super) fn take_audiences(&self, events: Vec<Event<Filed<Namespace, AudienceRecord>>>) {
        let Shelves {
            audiences, metrics, ..
        } = &*self.0;
        let touched = take(events, audiences, |filed| {
            let known = audiences.get(&filed.within, &filed.name);
            report_unusable(
                Kind::TokenAudience,
                filed.within.as_str(),
                known.as_ref(),
                &filed.record,
            );
            share(known, &mut filed.record);
        });
        count(metrics, Kind::TokenAudience, audiences);
        self.renew_audiences(!touched.is_empty());
    }

    pub(super) fn take_issuers(&self, events: Vec<Event<Filed<(), IssuerRecord>>>) {
        let Shelves {
            issuers, metrics, ..
        } = &*self.0;
        let touched = take(events, issuers, |filed| {
            let known = issuers.get(&(), &filed.name);
            report_unusable(Kind::TokenIssuer, "", known.as_ref(), &filed.record);
            share(known, &mut filed.record);
        });
        count(metrics, Kind::TokenIssuer, issuers);
        self.renew_audiences(!touched.is_empty());
    }

    pub(super) fn take_policies(&self, events: Vec<Event<Filed<Namespace, PolicyRecord>>>) {
        let Shelves {
            policies, metrics, ..
        } = &*self.0;
        let mut pools = self.pools();
        let touched = take(events, policies, |filed| {
            let known = policies.get(&filed.within, &filed.name);
            report_unusable(
                Kind::TokenPolicy,
                filed.within.as_str(),
                known.as_ref(),
                &filed.record,
            );
            share(known, &mut filed.record);
            filed.record.share_names();
            if let Some(policy) = filed.record.spec.as_mut().ok().and_then(Arc::get_mut) {
                policy.share(&mut pools.tokens);
                let kept = policies.kept(&filed.within);
                policy.id.namespace = kept.unwrap_or_else(|| filed.within.clone());
            }
            if let Some(status) = &mut filed.record.status {
                status.share(&mut pools);
            }
        });
        drop(pools);
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
            let now: PolicySet =
                policies.collect_of(namespace, |record| record.spec.as_ref().ok().cloned());
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
        let holds: Vec<_> = audiences.collect(|record| record.hold.clone());
        let issuers: Vec<_> = issuers.collect(|record| record.spec.as_ref().ok().cloned());
        let labels = namespaces.collect(|namespace| Some(namespace.clone()));
        let set = AudienceSet::new(statements, holds, issuers, labels);
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

/// Keeps the one copy of what an object says that the rules have too: most of what a watch delivers is a
/// status that was just written.
fn share<T: PartialEq, S>(known: Option<Record<T, S>>, record: &mut Record<T, S>) {
    if let (Some(Ok(known)), Ok(spec)) = (known.map(|known| known.spec), &mut record.spec)
        && known == *spec
    {
        *spec = known;
    }
}

fn count<K: Clone + Ord + Hash, T: Clone + PartialEq, S: Clone + PartialEq>(
    metrics: &Metrics,
    kind: Kind,
    shelf: &Shelf<K, Record<T, S>>,
) {
    metrics.watch_objects(kind, shelf.count(|_| true));
    metrics.unreadable_objects(kind, shelf.count(|record| record.spec.is_err()));
}

/// Takes in the events, each object after `look` has seen it, and returns the namespaces that are not what
/// they were.
fn take<N: Clone + Ord + Hash, T: Clone + PartialEq>(
    events: Vec<Event<Filed<N, T>>>,
    shelf: &Shelf<N, T>,
    mut look: impl FnMut(&mut Filed<N, T>),
) -> BTreeSet<N> {
    let mut touched = BTreeSet::new();
    for event in events {
        touched.extend(shelf.take(event.modify(&mut look)));
    }
    touched
}
