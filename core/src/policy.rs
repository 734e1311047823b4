//! The valid form of a `TokenPolicy`, and how one comes about.
//!
//! [`Policy::parse`] takes what the API server stored and collects every fault with the path of its
//! field. The API server refuses the same faults earlier; a policy that was stored under an older or
//! a loosened schema still meets this one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;

use crate::{
    audience::{AudienceId, parse_scopes},
    consent::AudienceSet,
    fault::{FaultKind, Faults},
    lifetime::Lifetime,
    name::{Audience, ContainerName, Namespace, ObjectName, ServiceAccount, TokenName, Uid},
    scope::ScopeSet,
};

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
    pub tokens: Vec<PolicyToken>,
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
    pub fn selects(&self, service_account: &str, labels: &BTreeMap<String, String>) -> bool {
        self.service_account.as_str() == service_account
            && self
                .match_labels
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// A token that a policy asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// Whether a pod under `service_account` with these `labels` is one of the subjects.
    #[must_use]
    pub fn selects(&self, service_account: &str, labels: &BTreeMap<String, String>) -> bool {
        #[cfg(test)]
        ASKED.set(ASKED.get() + 1);
        self.subjects
            .iter()
            .any(|s| s.selects(service_account, labels))
    }

    /// The token of that name.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<&PolicyToken> {
        self.tokens.iter().find(|t| t.name.as_str() == name)
    }
}

fn parse_subjects(raw: &[RawSubject], faults: &mut Faults) -> Vec<SubjectSelector> {
    faults.count("spec.subjects", raw.len(), 16);
    let labels = raw.iter().flat_map(|subject| &subject.match_labels);
    faults.sum(
        "spec.subjects",
        "labels",
        labels.map(BTreeMap::len),
        MOST_LABELS_IN_ALL,
    );
    let mut subjects = Vec::with_capacity(raw.len());
    for (i, subject) in raw.iter().enumerate() {
        let path = format!("spec.subjects[{i}]");
        let name = ServiceAccount::parse(&subject.service_account);
        let name = faults.note(&format!("{path}.serviceAccount"), name);
        if let Some(labels) = &subject.match_labels {
            faults.count(&format!("{path}.podSelector.matchLabels"), labels.len(), 16);
        }
        if let Some(service_account) = name {
            let match_labels = subject.match_labels.clone().unwrap_or_default();
            subjects.push(SubjectSelector {
                service_account,
                match_labels,
            });
        }
    }
    subjects
}

fn parse_tokens(raw: &[RawToken], faults: &mut Faults) -> Vec<PolicyToken> {
    faults.count("spec.tokens", raw.len(), 32);
    let scopes = raw.iter().flat_map(|token| &token.scopes);
    faults.sum(
        "spec.tokens",
        "scopes",
        scopes.map(Vec::len),
        MOST_SCOPES_IN_ALL,
    );
    let containers = raw.iter().flat_map(|token| &token.containers);
    faults.sum(
        "spec.tokens",
        "containers",
        containers.map(Vec::len),
        MOST_CONTAINERS_IN_ALL,
    );
    let (mut names, mut audiences) = (BTreeSet::new(), BTreeSet::new());
    let mut tokens = Vec::with_capacity(raw.len());
    for (i, token) in raw.iter().enumerate() {
        let path = format!("spec.tokens[{i}]");
        if !names.insert(&token.name) {
            faults.add(format!("{path}.name"), FaultKind::Duplicate);
        }
        let again = token
            .kubernetes_audience
            .as_ref()
            .is_some_and(|a| !audiences.insert(a));
        if again {
            faults.add(format!("{path}.kubernetesAudience"), FaultKind::Duplicate);
        }
        tokens.extend(parse_token(token, &path, faults));
    }
    tokens
}

fn parse_token(raw: &RawToken, path: &str, faults: &mut Faults) -> Option<PolicyToken> {
    let name = faults.note(&format!("{path}.name"), TokenName::parse(&raw.name));
    let wanted = match (&raw.kubernetes_audience, &raw.audience_ref) {
        (Some(audience), None) => parse_service_account_token(raw, audience, path, faults),
        (None, Some(audience)) => parse_audience_token(raw, audience, path, faults),
        (Some(_), Some(_)) | (None, None) => {
            faults.add(
                path,
                FaultKind::ExactlyOne("kubernetesAudience, audienceRef"),
            );
            None
        }
    };
    let containers = raw.containers.as_ref().map(|raw| {
        let path = format!("{path}.containers");
        faults.count(&path, raw.len(), 64);
        let parse = |(i, name): (usize, &String)| {
            faults.note(&format!("{path}[{i}]"), ContainerName::parse(name))
        };
        raw.iter().enumerate().filter_map(parse).collect()
    });
    Some(PolicyToken {
        name: name?,
        wanted: wanted?,
        required: raw.required.unwrap_or(true),
        containers,
    })
}

fn parse_service_account_token(
    raw: &RawToken,
    audience: &str,
    path: &str,
    faults: &mut Faults,
) -> Option<Wanted> {
    let audience = faults.note(
        &format!("{path}.kubernetesAudience"),
        Audience::parse(audience),
    );
    if raw.scopes.is_some() {
        faults.add(
            format!("{path}.scopes"),
            FaultKind::Beside("kubernetesAudience"),
        );
    }
    let lifetime = parse_lifetime(raw, Lifetime::SERVICE_ACCOUNT_MIN, path, faults)?;
    Some(Wanted::ServiceAccountToken {
        audience: audience?,
        lifetime: lifetime.unwrap_or(Lifetime::MAX),
    })
}

fn parse_audience_token(
    raw: &RawToken,
    audience: &RawAudienceRef,
    path: &str,
    faults: &mut Faults,
) -> Option<Wanted> {
    let field = format!("{path}.audienceRef");
    let namespace = Namespace::parse(&audience.namespace);
    let namespace = faults.note(&format!("{field}.namespace"), namespace);
    let name = faults.note(&format!("{field}.name"), ObjectName::parse(&audience.name));
    let scopes = raw.scopes.as_deref().unwrap_or_default();
    let field = format!("{path}.scopes");
    let scopes = parse_scopes(&field, scopes, MOST_SCOPES, None, faults);
    let lifetime = parse_lifetime(raw, Lifetime::MIN, path, faults)?;
    Some(Wanted::AudienceToken {
        audience: AudienceId {
            namespace: namespace?,
            name: name?,
        },
        scopes: scopes?,
        lifetime,
    })
}

/// [`None`] is a fault; `Some(None)` that nothing is written.
fn parse_lifetime(
    raw: &RawToken,
    least: Lifetime,
    path: &str,
    faults: &mut Faults,
) -> Option<Option<Lifetime>> {
    let parsed = raw
        .lifetime
        .as_deref()
        .map(|text| Lifetime::parse(text, least))
        .transpose();
    faults.note(&format!("{path}.lifetime"), parsed)
}

/// The most scopes that one token asks for.
const MOST_SCOPES: usize = 32;

/// The most scopes of all tokens of a policy together. Every replica keeps every policy, and tenants make them
/// by the thousand.
pub const MOST_SCOPES_IN_ALL: usize = 256;

/// The most containers that all tokens of a policy name together.
pub const MOST_CONTAINERS_IN_ALL: usize = 128;

/// The most labels of all subjects of a policy together.
pub const MOST_LABELS_IN_ALL: usize = 64;

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
