//! From what is written to what holds together: every fault with its field.

use std::collections::{BTreeMap, BTreeSet};

use super::{Accounts, Allow, ClaimSource, Format, LONGEST_CLAIM, RawAllow, RawClaim};
use crate::{
    fault::{FaultKind, Faults},
    lifetime::Lifetime,
    name::{ClaimName, Scope, ServiceAccount},
    scope::ScopeSet,
};

pub(super) fn parse_format(raw: Option<&str>, faults: &mut Faults) -> Option<Format> {
    match raw {
        None | Some("JWT") => Some(Format::Jwt),
        Some("Opaque") => Some(Format::Opaque),
        Some(_) => {
            faults.add("spec.format", FaultKind::OneOf("JWT, Opaque"));
            None
        }
    }
}

/// A list of scopes, each of which is one of `declared` where that is given.
pub(crate) fn parse_scopes(
    field: &str,
    raw: &[String],
    most: usize,
    declared: Option<&ScopeSet>,
    faults: &mut Faults,
) -> Option<ScopeSet> {
    faults.count(field, raw.len(), most);
    let mut scopes = BTreeSet::new();
    for (i, text) in raw.iter().enumerate() {
        let path = format!("{field}[{i}]");
        let Some(scope) = faults.note(&path, Scope::parse(text)) else {
            continue;
        };
        // The text of a declared one is there already.
        let scope = match declared {
            Some(declared) => declared.find(&scope).cloned(),
            None => Some(scope),
        };
        match scope.map(|scope| scopes.insert(scope)) {
            Some(true) => {}
            Some(false) => faults.add(path, FaultKind::Duplicate),
            None => faults.add(path, FaultKind::Undeclared),
        }
    }
    ScopeSet::new(scopes)
}

pub(super) fn parse_allow(
    raw: &[RawAllow],
    declared: Option<&ScopeSet>,
    faults: &mut Faults,
) -> Vec<Allow> {
    if raw.len() > 64 {
        faults.add("spec.allow", FaultKind::Count { most: 64 });
    }
    if !fits(raw, faults) {
        return Vec::new();
    }
    let mut allow = Vec::with_capacity(raw.len());
    for (i, line) in raw.iter().enumerate() {
        let path = format!("spec.allow[{i}]");
        let labels = format!("{path}.from.namespaceSelector.matchLabels");
        faults.count(&labels, line.match_labels.len(), 16);
        let service_accounts = parse_accounts(&path, &line.service_accounts, faults);
        let field = format!("{path}.scopes");
        let scopes = parse_scopes(&field, &line.scopes, MOST_SCOPES, declared, faults);
        if let (Some(service_accounts), Some(scopes)) = (service_accounts, scopes) {
            allow.push(Allow {
                match_labels: line.match_labels.clone(),
                service_accounts,
                scopes,
            });
        }
    }
    allow
}

/// Whether it is no more in all than is kept.
fn fits(raw: &[RawAllow], faults: &mut Faults) -> bool {
    if raw.iter().map(RawAllow::size).sum::<usize>() > LARGEST_ALLOW {
        faults.add("spec.allow", FaultKind::Size(LARGEST_ALLOW));
        return false;
    }
    let scopes = raw.iter().map(|line| line.scopes.len());
    let accounts = raw.iter().map(|line| line.service_accounts.len());
    let labels = raw.iter().map(|line| line.match_labels.len());
    let before = faults.as_slice().len();
    faults.sum("spec.allow", "scopes", scopes, MOST_SCOPES_IN_ALL);
    faults.sum(
        "spec.allow",
        "service accounts",
        accounts,
        MOST_ACCOUNTS_IN_ALL,
    );
    faults.sum("spec.allow", "labels", labels, MOST_LABELS_IN_ALL);
    faults.as_slice().len() == before
}

fn parse_accounts(path: &str, raw: &[String], faults: &mut Faults) -> Option<Accounts> {
    let path = format!("{path}.from.serviceAccounts");
    faults.count(&path, raw.len(), 64);
    if let [all] = raw
        && all == "*"
    {
        return Some(Accounts::All);
    }
    let parse = |(i, name): (usize, &String)| {
        faults.note(&format!("{path}[{i}]"), ServiceAccount::parse(name))
    };
    let accounts: BTreeSet<_> = raw.iter().enumerate().filter_map(parse).collect();
    (!accounts.is_empty()).then_some(Accounts::These(accounts))
}

pub(super) fn parse_claims(
    raw: &[RawClaim],
    faults: &mut Faults,
) -> BTreeMap<ClaimName, ClaimSource> {
    if raw.len() > 16 {
        faults.add("spec.claims", FaultKind::Count { most: 16 });
    }
    let mut claims = BTreeMap::new();
    for (i, claim) in raw.iter().enumerate() {
        let path = format!("spec.claims[{i}]");
        let name = faults.note(&format!("{path}.name"), ClaimName::parse(&claim.name));
        let source = parse_source(&path, claim, faults);
        if let (Some(name), Some(source)) = (name, source)
            && claims.insert(name, source).is_some()
        {
            faults.add(format!("{path}.name"), FaultKind::Duplicate);
        }
    }
    claims
}

fn parse_source(path: &str, raw: &RawClaim, faults: &mut Faults) -> Option<ClaimSource> {
    let RawClaim {
        literal,
        namespace_label,
        service_account_annotation,
        ..
    } = raw;
    let (field, text, source): (_, _, fn(Box<str>) -> ClaimSource) =
        match (literal, namespace_label, service_account_annotation) {
            (Some(text), None, None) => ("literal", text, ClaimSource::Literal),
            (None, Some(key), None) => ("namespaceLabel", key, ClaimSource::NamespaceLabel),
            (None, None, Some(key)) => (
                "serviceAccountAnnotation",
                key,
                ClaimSource::ServiceAccountAnnotation,
            ),
            _ => {
                let sources = "literal, namespaceLabel, serviceAccountAnnotation";
                faults.add(path, FaultKind::ExactlyOne(sources));
                return None;
            }
        };
    parse_text(&format!("{path}.{field}"), text, LONGEST_CLAIM, faults).map(source)
}

pub(super) fn parse_text(
    field: &str,
    raw: &str,
    most: usize,
    faults: &mut Faults,
) -> Option<Box<str>> {
    let fits = is_text(raw, most);
    if !fits {
        faults.add(field, FaultKind::Text(most));
    }
    fits.then(|| raw.into())
}

/// Whether a reader of headers or of lines sees one text in it, and not too long a one.
pub(crate) fn is_text(text: &str, most: usize) -> bool {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    (1..=most).contains(&text.chars().count()) && !text.chars().any(breaks)
}

pub(super) fn parse_verifiers(
    raw: Option<&[String]>,
    faults: &mut Faults,
) -> BTreeSet<ServiceAccount> {
    let Some(raw) = raw else {
        return BTreeSet::new();
    };
    let path = "spec.guard.serviceAccounts";
    faults.count(path, raw.len(), 16);
    let parse = |(i, name): (usize, &String)| {
        faults.note(&format!("{path}[{i}]"), ServiceAccount::parse(name))
    };
    raw.iter().enumerate().filter_map(parse).collect()
}

/// Every replica keeps what all audiences allow: an owner who allows more than this lists it in several.
const LARGEST_ALLOW: usize = 64 * 1024;

/// The most scopes of all entries of `spec.allow` together.
pub const MOST_SCOPES_IN_ALL: usize = 512;

/// The most service accounts of all entries together.
pub const MOST_ACCOUNTS_IN_ALL: usize = 512;

/// The most labels of all entries together.
pub const MOST_LABELS_IN_ALL: usize = 128;

/// The most scopes of an audience.
pub(super) const MOST_SCOPES: usize = 64;

pub(super) const DEFAULT_LIFETIME: Lifetime = Lifetime::minutes(15);
