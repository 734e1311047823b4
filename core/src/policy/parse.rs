//! From the lists of a policy to what holds together: every fault with its field.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{PolicyToken, RawAudienceRef, RawSubject, RawToken, SubjectSelector, Wanted};
use crate::{
    audience::{AudienceId, parse_scopes},
    fault::{FaultKind, Faults},
    lifetime::Lifetime,
    name::{Audience, ContainerName, Namespace, ObjectName, ServiceAccount, TokenName},
};

pub(super) fn parse_subjects(raw: &[RawSubject], faults: &mut Faults) -> Vec<SubjectSelector> {
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

pub(super) fn parse_tokens(raw: &[RawToken], faults: &mut Faults) -> Vec<Arc<PolicyToken>> {
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
        tokens.extend(parse_token(token, &path, faults).map(Arc::new));
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
