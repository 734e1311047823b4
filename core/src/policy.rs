//! The valid form of a `TokenPolicy`, and how one comes about.
//!
//! [`Policy::parse`] takes what the API server stored and collects every fault with the path of its
//! field. The API server refuses the same faults earlier; a policy that was stored under an older or
//! a loosened schema still meets this one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;

pub use self::parse::{MOST_CONTAINERS_IN_ALL, MOST_LABELS_IN_ALL, MOST_SCOPES_IN_ALL};
use self::parse::{parse_subjects, parse_tokens};
use crate::{
    audience::AudienceId,
    consent::AudienceSet,
    fault::Faults,
    labels::PodLabels,
    lifetime::Lifetime,
    name::{Audience, ContainerName, Namespace, ObjectName, ServiceAccount, TokenName, Uid},
    pool::Pool,
    scope::ScopeSet,
};

mod parse;

/// A policy as it was written: nothing about it has been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawPolicy {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.creationTimestamp`
    pub created: Timestamp,
    /// `spec.subjects`
    pub subjects: Vec<RawSubject>,
    /// `spec.tokens`
    pub tokens: Vec<RawToken>,
}

/// One of `spec.subjects`, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawSubject {
    /// `serviceAccount`
    pub service_account: String,
    /// `podSelector.matchLabels`
    pub match_labels: Option<BTreeMap<String, String>>,
}

/// One of `spec.tokens`, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawToken {
    /// `name`
    pub name: String,
    /// `kubernetesAudience`
    pub kubernetes_audience: Option<String>,
    /// `audienceRef`
    pub audience_ref: Option<RawAudienceRef>,
    /// `scopes`
    pub scopes: Option<Vec<String>>,
    /// `lifetime`; without it the longest that there is
    pub lifetime: Option<String>,
    /// `required`; without it, yes
    pub required: Option<bool>,
    /// `containers`; without it, all
    pub containers: Option<Vec<String>>,
}

/// An `audienceRef`, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawAudienceRef {
    /// `namespace`
    pub namespace: String,
    /// `name`
    pub name: String,
}

/// A policy that holds together: names are names, lifetimes are within bounds, no token name and no
/// Kubernetes audience occurs twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which one.
    pub id: PolicyId,
    /// Its age decides between two that claim one token name for one pod.
    pub seniority: Seniority,
    /// The workloads that may hold the tokens: a pod that one of them selects.
    pub subjects: Vec<SubjectSelector>,
    /// The tokens.
    pub tokens: Vec<Arc<PolicyToken>>,
}

/// Where a policy is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// Its namespace, which is that of its subjects too.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The order of policies by age: creation time, then uid, so that it is total and the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seniority {
    /// `metadata.creationTimestamp`
    pub created: Timestamp,
    /// `metadata.uid`
    pub uid: Uid,
}

/// A workload: a service account, and labels that narrow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectSelector {
    /// Exactly this service account of the policy's namespace.
    pub service_account: ServiceAccount,
    /// Every one of these labels is on the pod with that value. Empty means any pod.
    pub match_labels: BTreeMap<String, String>,
}

impl SubjectSelector {
    /// Whether a pod under `service_account` with these `labels` is meant.
    #[must_use]
    pub fn selects(&self, service_account: &str, labels: &PodLabels) -> bool {
        self.service_account.as_str() == service_account && labels.have_all(&self.match_labels)
    }
}

/// A token that a policy asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyToken {
    /// Its name on the socket.
    pub name: TokenName,
    /// What is asked for.
    pub wanted: Wanted,
    /// Whether the pod starts only when it is there.
    pub required: bool,
    /// The containers that see it; [`None`] means all.
    pub containers: Option<BTreeSet<ContainerName>>,
}

/// What a policy asks for under one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A service-account token. It needs nobody's consent: any pod can project such a token anyway.
    ServiceAccountToken {
        /// Its `aud`.
        audience: Audience,
        /// How long one lives: at least 10 minutes.
        lifetime: Lifetime,
    },
    /// A token that the owner of an audience has to allow.
    AudienceToken {
        /// The audience.
        audience: AudienceId,
        /// The scopes.
        scopes: ScopeSet,
        /// How long one lives, where the policy says it; otherwise as long as the audience allows.
        lifetime: Option<Lifetime>,
    },
}

impl Wanted {
    /// Whether the `aud` of the token is that one; `stating` are the audiences that have it.
    #[must_use]
    pub fn is_for(&self, value: &str, stating: &BTreeSet<AudienceId>) -> bool {
        match self {
            Self::ServiceAccountToken { audience, .. } => audience.as_str() == value,
            Self::AudienceToken { audience, .. } => stating.contains(audience),
        }
    }

    /// The `aud` of the token; [`None`] where the audience that it names is not there.
    #[must_use]
    pub fn value<'a>(&'a self, audiences: &'a AudienceSet) -> Option<&'a Audience> {
        match self {
            Self::ServiceAccountToken { audience, .. } => Some(audience),
            Self::AudienceToken { audience, .. } => audiences
                .statement(audience)
                .map(|statement| &statement.audience),
        }
    }
}

impl Policy {
    /// Checks a policy and applies the defaults: a lifetime of 1 h for service-account tokens, required,
    /// all containers.
    ///
    /// # Errors
    /// All its faults.
    pub fn parse(raw: &RawPolicy) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let namespace = faults.note("metadata.namespace", Namespace::parse(&raw.namespace));
        let name = faults.note("metadata.name", ObjectName::parse(&raw.name));
        let uid = faults.note("metadata.uid", Uid::parse(&raw.uid));
        let subjects = parse_subjects(&raw.subjects, &mut faults);
        let tokens = parse_tokens(&raw.tokens, &mut faults);
        match (namespace, name, uid) {
            (Some(namespace), Some(name), Some(uid)) if faults.is_empty() => Ok(Self {
                id: PolicyId { namespace, name },
                seniority: Seniority {
                    created: raw.created,
                    uid,
                },
                subjects,
                tokens,
            }),
            _ => Err(faults),
        }
    }

    /// Makes each of its tokens the same piece of memory as an equal one of the pool: policies by the thousand ask for
    /// the same few.
    pub fn share(&mut self, pool: &mut Pool<PolicyToken>) {
        for token in &mut self.tokens {
            *token = pool.share(Arc::clone(token));
        }
        self.tokens.shrink_to_fit();
        self.subjects.shrink_to_fit();
    }

    /// Whether a pod under `service_account` with these `labels` is one of the subjects.
    #[must_use]
    pub fn selects(&self, service_account: &str, labels: &PodLabels) -> bool {
        #[cfg(test)]
        ASKED.set(ASKED.get() + 1);
        self.subjects
            .iter()
            .any(|s| s.selects(service_account, labels))
    }

    /// The token of that name.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<&PolicyToken> {
        let mut tokens = self.tokens.iter().map(|token| &**token);
        tokens.find(|token| token.name.as_str() == name)
    }
}

#[cfg(test)]
thread_local! {
    static ASKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often a policy was asked on this thread whether it selects a pod.
#[cfg(test)]
pub(crate) fn asked() -> usize {
    ASKED.get()
}

#[cfg(test)]
mod tests;
