//! What is kept of an object that a watch delivered: a line of its metadata, or the parsed policy.

use std::{collections::BTreeMap, sync::Arc};

use hallpass_core::{
    name::{Namespace, TokenName, Uid},
    policy::{Faults, Policy, RawPolicy},
};
use hallpass_crds::token_policy::{TokenPolicy, TokenPolicyStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{
    Resource,
    core::{DeserializeGuard, PartialObjectMeta},
};

use super::shelf::Filed;

/// A pod with our sidecar that has not finished, as its metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRecord {
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// The annotation `hallpass.dev/service-account`: for reports, never for a decision.
    pub service_account: Option<String>,
    /// `metadata.deletionTimestamp`
    pub deleted: Option<Timestamp>,
}

impl PodRecord {
    /// Whether the pod may still hold tokens: its deletion was not due more than a minute ago.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.deleted
            .is_none_or(|due| now.duration_since(due) <= DELETION_GRACE)
    }
}

/// A stored policy: what it says if it can be used, and what its status said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PolicyRecord {
    /// `metadata.name`
    pub(crate) name: Box<str>,
    /// `metadata.uid`
    pub(crate) uid: Box<str>,
    /// `metadata.resourceVersion`
    pub(crate) resource_version: Box<str>,
    /// `metadata.generation`
    pub(crate) generation: Option<i64>,
    /// The status that is stored; none where the object cannot be read.
    pub(crate) status: Option<TokenPolicyStatus>,
    /// What counts, if the policy does.
    pub(crate) spec: Result<Arc<Policy>, Unusable>,
}

/// Why a stored policy is left out of every decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is not of the form that this version knows.
    #[error("the stored object cannot be read: {0}")]
    Unreadable(String),
    /// It says what no policy may say.
    #[error("{faults}")]
    Invalid {
        /// What that is.
        faults: Faults,
        /// The names of its tokens, as far as they are names.
        tokens: Vec<TokenName>,
    },
}

/// Files a pod; none without the metadata that every stored object has.
pub(super) fn pod(object: PartialObjectMeta<Pod>) -> Option<Filed<PodRecord>> {
    let metadata = object.metadata;
    Some(Filed {
        namespace: Namespace::parse(metadata.namespace.as_deref()?).ok()?,
        name: metadata.name?.into(),
        record: PodRecord {
            uid: Uid::parse(metadata.uid.as_deref()?).ok()?,
            labels: bounded(metadata.labels.unwrap_or_default()),
            service_account: metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(SERVICE_ACCOUNT)),
            deleted: metadata.deletion_timestamp.map(|time| time.0),
        },
    })
}

/// The labels, unless there is more of them than any pod needs: Kubernetes bounds each, not their number,
/// and this replica keeps them all. Without labels a pod is selected by fewer policies, never by more.
fn bounded(labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let size: usize = labels
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size <= MOST_LABELS {
        labels
    } else {
        BTreeMap::new()
    }
}

/// Files a service account; none without the metadata that every stored object has.
pub(super) fn service_account(object: PartialObjectMeta<ServiceAccount>) -> Option<Filed<Uid>> {
    let metadata = object.metadata;
    Some(Filed {
        namespace: Namespace::parse(metadata.namespace.as_deref()?).ok()?,
        name: metadata.name?.into(),
        record: Uid::parse(metadata.uid.as_deref()?).ok()?,
    })
}

/// Files a policy, whether it can be used or not; none without the metadata that every stored object
/// has.
pub(super) fn policy(object: DeserializeGuard<TokenPolicy>) -> Option<Filed<PolicyRecord>> {
    let metadata = object.meta();
    let name: Box<str> = metadata.name.as_deref()?.into();
    Some(Filed {
        namespace: Namespace::parse(metadata.namespace.as_deref()?).ok()?,
        name: name.clone(),
        record: PolicyRecord {
            name,
            uid: metadata.uid.as_deref()?.into(),
            resource_version: metadata.resource_version.as_deref()?.into(),
            generation: metadata.generation,
            spec: match &object.0 {
                Ok(policy) => parse(policy),
                Err(invalid) => Err(Unusable::Unreadable(invalid.error.clone())),
            },
            status: object.0.ok().and_then(|policy| policy.status),
        },
    })
}

fn parse(policy: &TokenPolicy) -> Result<Arc<Policy>, Unusable> {
    let raw = RawPolicy::from(policy);
    Policy::parse(&raw)
        .map(Arc::new)
        .map_err(|faults| Unusable::Invalid {
            faults,
            tokens: names(&raw),
        })
}

/// Each name once: the list in the status is keyed by it.
fn names(raw: &RawPolicy) -> Vec<TokenName> {
    let mut names: Vec<TokenName> = Vec::with_capacity(raw.tokens.len());
    for name in raw.tokens.iter().flat_map(|t| TokenName::parse(&t.name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Bytes of a pod's labels that are kept.
const MOST_LABELS: usize = 16 * 1024;

/// What injection writes on a pod, so that its metadata alone says whose it is.
const SERVICE_ACCOUNT: &str = "hallpass.dev/service-account";

/// How long after its deletion is due a pod counts as alive: what the kubelet needs to report it.
const DELETION_GRACE: SignedDuration = SignedDuration::from_secs(60);
