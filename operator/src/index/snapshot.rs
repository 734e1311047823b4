//! What is known at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hallpass_core::{
    decide::{Rules, Scene},
    name::{Namespace, Uid},
};
use jiff::Timestamp;

use super::{
    Shelves,
    record::{AccountRecord, AudienceRecord, IssuerRecord, PodRecord, PolicyRecord},
};

/// A view for one request: its rules do not change while it is held.
#[derive(Debug, Clone)]
pub struct Snapshot {
    rules: Arc<Rules>,
    shelves: Arc<Shelves>,
}

impl Snapshot {
    pub(super) fn of(shelves: &Arc<Shelves>) -> Self {
        Self {
            rules: shelves.rules.load_full(),
            shelves: Arc::clone(shelves),
        }
    }

    /// Every valid policy, audience and issuer.
    #[must_use]
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Decides something by everything that counts now. What is revoked is looked at then and not as it was
    /// when this view was made, and does not change meanwhile: it should be little.
    pub fn decide<R>(&self, now: Timestamp, decision: impl FnOnce(Scene<'_>) -> R) -> R {
        self.shelves.revocations.ask(|revocations| {
            decision(Scene {
                rules: &self.rules,
                revocations,
                now,
            })
        })
    }

    /// The pod of that name.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<PodRecord> {
        self.shelves.pods.get(namespace, name)
    }

    /// How many pods with a sidecar there are.
    #[must_use]
    pub fn how_many_pods(&self) -> usize {
        self.shelves.pods.size()
    }

    /// What `look` says of the pod of that name, which is not copied for that.
    pub(crate) fn look_at_pod<R>(
        &self,
        namespace: &str,
        name: &str,
        look: impl FnOnce(&PodRecord) -> R,
    ) -> Option<R> {
        self.shelves.pods.look(namespace, name, look)
    }

    /// Whether there is a service account of that name with that uid.
    pub(crate) fn has_service_account(&self, namespace: &str, name: &str, uid: &Uid) -> bool {
        let accounts = &self.shelves.service_accounts;
        let same = accounts.look(namespace, name, |account| account.uid.is(uid));
        same.unwrap_or(false)
    }

    /// The service account of that name.
    #[must_use]
    pub fn service_account(&self, namespace: &str, name: &str) -> Option<AccountRecord> {
        self.shelves.service_accounts.get(namespace, name)
    }

    /// The stored policies of a namespace, those that cannot be used too.
    pub(crate) fn policies(&self, namespace: &str) -> BTreeMap<Box<str>, PolicyRecord> {
        self.shelves.policies.of(namespace)
    }

    /// What `look` says of the stored policy of that namespace and name, which is not copied for that.
    pub(crate) fn look_at_policy<R>(
        &self,
        (namespace, name): (&str, &str),
        look: impl FnOnce(&PolicyRecord) -> R,
    ) -> Option<R> {
        self.shelves.policies.look(namespace, name, look)
    }

    /// The stored audiences of a namespace, those that cannot be used too.
    pub(crate) fn audiences(&self, namespace: &str) -> BTreeMap<Box<str>, AudienceRecord> {
        self.shelves.audiences.of(namespace)
    }

    /// The stored issuers, those that cannot be used too.
    pub(crate) fn issuers(&self) -> BTreeMap<Box<str>, IssuerRecord> {
        self.shelves.issuers.of(&())
    }

    /// Every namespace with a stored policy.
    pub(crate) fn asking(&self) -> BTreeSet<Namespace> {
        self.shelves.policies.namespaces()
    }

    /// Every namespace with that label.
    pub(crate) fn labelled(&self, key: &str, value: &str) -> BTreeSet<Namespace> {
        self.shelves.namespaces.collect(|(namespace, labels)| {
            let same = labels.get(key).is_some_and(|v| v == value);
            same.then(|| namespace.clone())
        })
    }

    /// Every namespace with a label of that key, whatever it says.
    pub(crate) fn saying(&self, key: &str) -> BTreeSet<Namespace> {
        self.shelves.namespaces.collect(|(namespace, labels)| {
            let says = labels.contains_key(key);
            says.then(|| namespace.clone())
        })
    }

    /// Every namespace with a stored audience.
    pub(crate) fn stating(&self) -> BTreeSet<Namespace> {
        self.shelves.audiences.namespaces()
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
