//! What is kept of an object that a watch delivered: a line of its metadata, or what it says, parsed.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use hallpass_core::{
    audience::{Hold, LONGEST_CLAIM, RawStatement, Statement},
    consent::Labels,
    fault::Faults,
    issuer::{Issuer, RawIssuer},
    labels::PodLabels,
    name::{Namespace, PackedUid, TokenName, Uid},
    policy::{Policy, RawPolicy},
    pool::Pool,
};
use hallpass_crds::{
    token_audience::{IssuerRef, TokenAudience, TokenAudienceStatus},
    token_issuer::{TokenIssuer, TokenIssuerStatus},
    token_policy::TokenPolicy,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Namespace as NamespaceObject, Pod, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, core::PartialObjectMeta};
use serde::Deserialize;

use super::{
    packed::PackedStatus,
    shelf::Filed,
    stored::{Stored, Unread},
};

/// A pod with our sidecar that has not finished, as its metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRecord {
    /// `metadata.uid`
    pub uid: PackedUid,
    /// What else is known of it.
    pub details: Arc<PodDetails>,
}

/// What most pods of one ReplicaSet have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PodDetails {
    /// `metadata.labels`
    pub labels: PodLabels,
    /// The annotation `hallpass.dev/service-account`: for reports, never for a decision.
    pub service_account: Option<Box<str>>,
    /// `metadata.deletionTimestamp`
    pub deleted: Option<Timestamp>,
}

impl PodRecord {
    /// Makes what other pods say alike the same piece of memory as theirs, unless it is large.
    pub(super) fn share(&mut self, pool: &mut Pool<PodDetails>) {
        if self.details.labels.size() <= MOST_SHARED {
            self.details = pool.share(Arc::clone(&self.details));
        }
    }

    /// Whether the pod may still hold tokens: its deletion was not due more than a minute ago.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        let deleted = self.details.deleted;
        deleted.is_none_or(|due| now.duration_since(due) <= DELETION_GRACE)
    }
}

/// A service account, as its metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// `metadata.uid`
    pub uid: PackedUid,
    /// `metadata.annotations`, which the owner of an audience may have put into tokens.
    pub annotations: Arc<BTreeMap<String, String>>,
}

/// A stored object of a kind of ours: what it says if it can be used, and what its status said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record<T, S> {
    /// `metadata.name`
    pub(crate) name: Arc<str>,
    /// `metadata.uid`
    pub(crate) uid: Arc<str>,
    /// `metadata.resourceVersion`
    pub(crate) resource_version: Box<str>,
    /// `metadata.generation`
    pub(crate) generation: Option<i64>,
    /// The status that is stored; none where the object cannot be read.
    pub(crate) status: Option<S>,
    /// What counts, if the object does.
    pub(crate) spec: Result<Arc<T>, Box<Unusable>>,
    /// What an audience holds although it does not count.
    pub(crate) hold: Option<Arc<Hold>>,
}

impl<T, S> Record<T, S> {
    /// The same with what `make` makes of its status.
    pub(crate) fn with_status<R>(self, make: impl FnOnce(S) -> R) -> Record<T, R> {
        Record {
            name: self.name,
            uid: self.uid,
            resource_version: self.resource_version,
            generation: self.generation,
            status: self.status.map(make),
            spec: self.spec,
            hold: self.hold,
        }
    }
}

impl PolicyRecord {
    /// Makes its name and uid the same pieces of memory as those of what it says: there are thousands.
    pub(super) fn share_names(&mut self) {
        if let Ok(policy) = &self.spec {
            self.name = policy.id.name.clone().into();
            self.uid = policy.seniority.uid.clone().into();
        }
    }
}

/// A stored `TokenPolicy`.
pub(crate) type PolicyRecord = Record<Policy, PackedStatus>;

/// A stored `TokenAudience`.
pub(crate) type AudienceRecord = Record<Statement, TokenAudienceStatus>;

/// A stored `TokenIssuer`.
pub(crate) type IssuerRecord = Record<Issuer, TokenIssuerStatus>;

/// Why a stored object is left out of every decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is not of the form that this version knows.
    #[error("the stored object cannot be read: {0}")]
    Unreadable(String),
    /// It says what none of its kind may say.
    #[error("{faults}")]
    Invalid {
        /// What that is.
        faults: Faults,
        /// The names of a policy's tokens, as far as they are names.
        tokens: Vec<TokenName>,
    },
}

/// Files a pod; none without the metadata that every stored object has.
pub(super) fn pod(object: PartialObjectMeta<Pod>) -> Option<Filed<Namespace, PodRecord>> {
    let metadata = object.metadata;
    Some(Filed {
        within: Namespace::parse(metadata.namespace.as_deref()?).ok()?,
        name: metadata.name.as_deref()?.into(),
        record: PodRecord {
            uid: packed(&metadata)?,
            details: Arc::new(PodDetails {
                labels: metadata.labels.iter().flatten().collect(),
                service_account: metadata
                    .annotations
                    .and_then(|mut annotations| annotations.remove(SERVICE_ACCOUNT))
                    .map(Into::into),
                deleted: metadata.deletion_timestamp.map(|time| time.0),
            }),
        },
    })
}

fn packed(metadata: &ObjectMeta) -> Option<PackedUid> {
    let uid = Uid::parse(metadata.uid.as_deref()?).ok()?;
    Some(PackedUid::from(&uid))
}

/// The labels, unless there is more of them than any object needs: Kubernetes bounds each, not their number,
/// and this replica keeps them all. Without labels a namespace is admitted by fewer audiences, never by more.
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
pub(super) fn service_account(
    object: PartialObjectMeta<ServiceAccount>,
) -> Option<Filed<Namespace, AccountRecord>> {
    let metadata = object.metadata;
    Some(Filed {
        within: Namespace::parse(metadata.namespace.as_deref()?).ok()?,
        name: metadata.name.as_deref()?.into(),
        record: AccountRecord {
            uid: packed(&metadata)?,
            annotations: shared(annotations(metadata)),
        },
    })
}

/// Most accounts have none: of those there is one.
fn shared(annotations: BTreeMap<String, String>) -> Arc<BTreeMap<String, String>> {
    static NONE: LazyLock<Arc<BTreeMap<String, String>>> = LazyLock::new(Arc::default);
    if annotations.is_empty() {
        return Arc::clone(&NONE);
    }
    Arc::new(annotations)
}

/// The annotations that may become claims: what tools keep for themselves is passed over.
pub(crate) fn annotations(metadata: ObjectMeta) -> BTreeMap<String, String> {
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    annotations.retain(|_, value| value.len() <= LONGEST_CLAIM);
    let size = |(key, value): (&String, &String)| key.len() + value.len();
    if annotations.iter().map(size).sum::<usize>() > MOST_ANNOTATIONS {
        annotations.clear();
    }
    annotations
}

/// Files a namespace under its own name; none without the metadata that every stored object has.
pub(super) fn namespace(
    object: PartialObjectMeta<NamespaceObject>,
) -> Option<Filed<(), (Namespace, Labels)>> {
    let name = object.metadata.name?;
    let labels = bounded(object.metadata.labels.unwrap_or_default());
    Some(Filed {
        within: (),
        record: (Namespace::parse(&name).ok()?, labels),
        name: name.into(),
    })
}

/// Files a policy, whether it can be used or not; none without the metadata that every stored object
/// has.
pub(super) fn policy(object: Stored<TokenPolicy>) -> Option<Filed<Namespace, PolicyRecord>> {
    let within = Namespace::parse(object.meta().namespace.as_deref()?).ok()?;
    let filed = record(object, |policy| {
        let raw = RawPolicy::from(policy);
        Policy::parse(&raw).map_err(|faults| (faults, names(&raw)))
    });
    filed.map(|record| file(within, record.with_status(PackedStatus::from)))
}

/// Files an audience, as [`policy`] does.
pub(super) fn audience(object: Stored<TokenAudience>) -> Option<Filed<Namespace, AudienceRecord>> {
    let within = Namespace::parse(object.meta().namespace.as_deref()?).ok()?;
    let mut hold = object.0.as_ref().err().and_then(unread_hold);
    let mut record = record(object, |audience| {
        let raw = RawStatement::from(audience);
        Statement::parse(&raw).map_err(|faults| {
            hold = Statement::hold(&raw);
            (faults, Vec::new())
        })
    })?;
    record.hold = hold.map(Arc::new);
    Some(file(within, record))
}

/// What an audience holds that cannot be read.
fn unread_hold(unread: &Unread) -> Option<Hold> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Claimed {
        audience: String,
        issuer_ref: IssuerRef,
    }
    let spec = unread.spec.as_ref()?.get();
    let Claimed {
        audience,
        issuer_ref,
    } = serde_json::from_str(spec).ok()?;
    let metadata = unread.metadata.clone();
    Statement::hold(&RawStatement {
        namespace: metadata.namespace?,
        name: metadata.name?,
        uid: metadata.uid?,
        created: metadata.creation_timestamp?.0,
        audience,
        issuer: issuer_ref.name,
        ..RawStatement::default()
    })
}

/// Files an issuer, as [`policy`] does.
pub(super) fn issuer(object: Stored<TokenIssuer>) -> Option<Filed<(), IssuerRecord>> {
    let filed = record(object, |issuer| {
        Issuer::parse(&RawIssuer::from(issuer)).map_err(|faults| (faults, Vec::new()))
    });
    filed.map(|record| file((), record))
}

fn file<K, T, S>(within: K, record: Record<T, S>) -> Filed<K, Record<T, S>> {
    Filed {
        within,
        name: (*record.name).into(),
        record,
    }
}

fn record<K, T, S>(
    object: Stored<K>,
    parse: impl FnOnce(&K) -> Result<T, (Faults, Vec<TokenName>)>,
) -> Option<Record<T, S>>
where
    K: Resource<DynamicType = ()> + kube::core::object::HasStatus<Status = S>,
    S: Clone,
{
    let metadata = object.meta();
    Some(Record {
        name: metadata.name.as_deref()?.into(),
        uid: metadata.uid.as_deref()?.into(),
        resource_version: metadata.resource_version.as_deref()?.into(),
        generation: metadata.generation,
        spec: match &object.0 {
            Ok(object) => parse(object)
                .map(Arc::new)
                .map_err(|(faults, tokens)| Unusable::Invalid { faults, tokens }.into()),
            Err(unread) => Err(Unusable::Unreadable(unread.error.clone()).into()),
        },
        hold: None,
        status: object.0.ok().and_then(|object| object.status().cloned()),
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

/// Bytes of a service account's annotations that are kept: there may be many thousands of them.
const MOST_ANNOTATIONS: usize = 4 * 1024;

/// Bytes of an object's labels that are kept.
const MOST_LABELS: usize = 16 * 1024;

/// Bytes of a pod's labels that are shared: what nobody has any more stays in a pool for a while.
const MOST_SHARED: usize = 1024;

/// What injection writes on a pod, so that its metadata alone says whose it is.
const SERVICE_ACCOUNT: &str = "hallpass.dev/service-account";

/// What kubectl keeps of every object that it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How long after its deletion is due a pod counts as alive: what the kubelet needs to report it.
const DELETION_GRACE: SignedDuration = SignedDuration::from_secs(60);
