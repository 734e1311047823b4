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
    lifetime::{Lifetime, LifetimeError},
    name::{Audience, ContainerName, NameError, Namespace, ServiceAccount, TokenName, Uid},
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
    pub kubernetes_audience: String,
    /// `lifetime`; without it the longest
    pub lifetime: Option<String>,
    /// `required`; without it, yes
    pub required: Option<bool>,
    /// `containers`; without it, all
    pub containers: Option<Vec<String>>,
}

/// A policy that holds together: names are names, lifetimes are within bounds, no token name and no
/// audience occurs twice.
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
    pub name: Box<str>,
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
    /// Its `aud`.
    pub audience: Audience,
    /// How long one lives.
    pub lifetime: Lifetime,
    /// Whether the pod starts only when it is there.
    pub required: bool,
    /// The containers that see it; [`None`] means all.
    pub containers: Option<BTreeSet<ContainerName>>,
}

impl Policy {
    /// Checks a policy and applies the defaults: a lifetime of 1 h, required, all containers.
    ///
    /// # Errors
    /// All its faults.
    pub fn parse(raw: &RawPolicy) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let namespace = faults.note("metadata.namespace", Namespace::parse(&raw.namespace));
        let uid = faults.note("metadata.uid", Uid::parse(&raw.uid));
        let subjects = parse_subjects(&raw.subjects, &mut faults);
        let tokens = parse_tokens(&raw.tokens, &mut faults);
        match (namespace, uid) {
            (Some(namespace), Some(uid)) if faults.0.is_empty() => Ok(Self {
                id: PolicyId {
                    namespace,
                    name: raw.name.as_str().into(),
                },
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
    let (mut names, mut audiences) = (BTreeSet::new(), BTreeSet::new());
    let mut tokens = Vec::with_capacity(raw.len());
    for (i, token) in raw.iter().enumerate() {
        let path = format!("spec.tokens[{i}]");
        if !names.insert(&token.name) {
            faults.add(format!("{path}.name"), FaultKind::Duplicate);
        }
        if !audiences.insert(&token.kubernetes_audience) {
            faults.add(format!("{path}.kubernetesAudience"), FaultKind::Duplicate);
        }
        tokens.extend(parse_token(token, &path, faults));
    }
    tokens
}

fn parse_token(raw: &RawToken, path: &str, faults: &mut Faults) -> Option<PolicyToken> {
    let name = faults.note(&format!("{path}.name"), TokenName::parse(&raw.name));
    let audience = faults.note(
        &format!("{path}.kubernetesAudience"),
        Audience::parse(&raw.kubernetes_audience),
    );
    let lifetime = raw
        .lifetime
        .as_deref()
        .map_or(Ok(Lifetime::MAX), Lifetime::parse);
    let lifetime = faults.note(&format!("{path}.lifetime"), lifetime);
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
        audience: audience?,
        lifetime: lifetime?,
        required: raw.required.unwrap_or(true),
        containers,
    })
}

/// Everything that is wrong with a policy; never empty when returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, such as `spec.tokens[2].lifetime`.
    pub field: String,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What can be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Not a name of its kind.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not a lifetime.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// The value occurs twice.
    #[error("must not occur twice")]
    Duplicate,
    /// None, or more than allowed.
    #[error("must have 1 to {most} entries")]
    Count {
        /// The most there may be.
        most: usize,
    },
}

impl Faults {
    /// The faults, in the order of the fields.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    fn add(&mut self, field: String, kind: FaultKind) {
        self.0.push(Fault { field, kind });
    }

    fn note<T, E: Into<FaultKind>>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed
            .map_err(|e| self.add(field.to_owned(), e.into()))
            .ok()
    }

    fn count(&mut self, field: &str, count: usize, most: usize) {
        if count == 0 || count > most {
            self.add(field.to_owned(), FaultKind::Count { most });
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", fault.field, fault.kind)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests;
