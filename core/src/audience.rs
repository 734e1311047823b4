//! The valid form of a `TokenAudience`: an API's own statement of who may hold which of its tokens.
//!
//! Written by the team that owns the API. What a [`Policy`](crate::policy::Policy) asks for is granted
//! as far as the statement of its audience allows it, and no further; [`crate::consent`] compares them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;

use self::parse::{
    DEFAULT_LIFETIME, MOST_SCOPES, parse_allow, parse_claims, parse_format, parse_text,
    parse_verifiers,
};
pub use self::parse::{MOST_ACCOUNTS_IN_ALL, MOST_LABELS_IN_ALL, MOST_SCOPES_IN_ALL};
pub(crate) use self::parse::{is_text, parse_scopes};
use crate::{
    fault::Faults,
    lifetime::Lifetime,
    name::{Audience, ClaimName, Namespace, ObjectName, ServiceAccount, Uid},
    policy::Seniority,
    scope::ScopeSet,
};

mod parse;

/// A statement as it was written: nothing about it has been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawStatement {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.creationTimestamp`
    pub created: Timestamp,
    /// `spec.audience`
    pub audience: String,
    /// `spec.issuerRef.name`
    pub issuer: String,
    /// `spec.format`; without it, JWT
    pub format: Option<String>,
    /// `spec.scopes[].name`
    pub scopes: Vec<String>,
    /// `spec.allow`; without it, nobody
    pub allow: Vec<RawAllow>,
    /// `spec.maxLifetime`; without it, 15 minutes
    pub max_lifetime: Option<String>,
    /// `spec.claims`
    pub claims: Vec<RawClaim>,
    /// `spec.contact`
    pub contact: Option<String>,
    /// `spec.guard.serviceAccounts`
    pub verifiers: Option<Vec<String>>,
}

/// One of `spec.allow`, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawAllow {
    /// `from.namespaceSelector.matchLabels`
    pub match_labels: BTreeMap<String, String>,
    /// `from.serviceAccounts`
    pub service_accounts: Vec<String>,
    /// `scopes`
    pub scopes: Vec<String>,
}

impl RawAllow {
    fn size(&self) -> usize {
        let labels = self.match_labels.iter().map(|(k, v)| k.len() + v.len());
        let texts = self.service_accounts.iter().chain(&self.scopes);
        labels.chain(texts.map(String::len)).sum()
    }
}

/// One of `spec.claims`, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawClaim {
    /// `name`
    pub name: String,
    /// `literal`
    pub literal: Option<String>,
    /// `namespaceLabel`
    pub namespace_label: Option<String>,
    /// `serviceAccountAnnotation`
    pub service_account_annotation: Option<String>,
}

/// A statement that holds together: names are names, every allowed scope is one of the audience's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Which one.
    pub id: AudienceId,
    /// Its age decides between two that claim one `aud`.
    pub seniority: Seniority,
    /// The `aud` of its tokens.
    pub audience: Audience,
    /// The `TokenIssuer` that makes them.
    pub issuer: ObjectName,
    /// What they look like.
    pub format: Format,
    /// Every scope there is.
    pub scopes: ScopeSet,
    /// Who may hold which. Nobody else may hold anything.
    pub allow: Vec<Allow>,
    /// The longest that one lives.
    pub max_lifetime: Lifetime,
    /// What its tokens say beside the rest.
    pub claims: BTreeMap<ClaimName, ClaimSource>,
    /// Whom a denial tells to ask.
    pub contact: Option<Box<str>>,
    /// The service accounts of its own namespace that may ask what a token is worth.
    pub verifiers: BTreeSet<ServiceAccount>,
}

/// What a statement holds on to that cannot be used, since the rest of it says what none may say: nothing
/// is issued for its `aud`, to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which one.
    pub id: AudienceId,
    /// Its age decides between two that claim one `aud`.
    pub seniority: Seniority,
    /// The `aud`.
    pub audience: Audience,
    /// The `TokenIssuer` that it names, which has to permit it.
    pub issuer: ObjectName,
}

/// Where a statement is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudienceId {
    /// Its namespace: that of the API.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
}

impl fmt::Display for AudienceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a token looks like: the owner of the API decides it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A JSON Web Token that anybody can check with the issuer's keys (RFC 9068).
    #[default]
    Jwt,
    /// A text that says nothing to anybody but the issuer, who is asked (RFC 7662).
    Opaque,
}

impl Format {
    /// The word in the resource.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "JWT",
            Self::Opaque => "Opaque",
        }
    }
}

/// Who may hold which scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Every one of these labels is on the namespace with that value. Never empty.
    pub match_labels: BTreeMap<String, String>,
    /// The service accounts of such a namespace.
    pub service_accounts: Accounts,
    /// What they may hold.
    pub scopes: ScopeSet,
}

/// The service accounts of an [`Allow`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// All of the namespace: written as `["*"]`, never the meaning of something left out.
    All,
    /// These.
    These(BTreeSet<ServiceAccount>),
}

impl Allow {
    /// Whether a service account of a namespace with those labels is meant.
    #[must_use]
    pub fn admits(&self, labels: &BTreeMap<String, String>, account: &ServiceAccount) -> bool {
        let namespace = self
            .match_labels
            .iter()
            .all(|(k, v)| labels.get(k) == Some(v));
        let named = match &self.service_accounts {
            Accounts::All => true,
            Accounts::These(accounts) => accounts.contains(account),
        };
        // Without a label everybody would be meant: no statement says that.
        namespace && named && !self.match_labels.is_empty()
    }
}

/// Where the value of a claim comes from: the owner of the API says it, never the consumer's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimSource {
    /// This text.
    Literal(Box<str>),
    /// The label of the subject's namespace; without it the claim is left out.
    NamespaceLabel(Box<str>),
    /// The annotation of the subject's service account; without it the claim is left out.
    ServiceAccountAnnotation(Box<str>),
}

impl Statement {
    /// Checks a statement and applies the defaults: JWT, 15 minutes.
    ///
    /// # Errors
    /// All its faults.
    pub fn parse(raw: &RawStatement) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let namespace = faults.note("metadata.namespace", Namespace::parse(&raw.namespace));
        let name = faults.note("metadata.name", ObjectName::parse(&raw.name));
        let uid = faults.note("metadata.uid", Uid::parse(&raw.uid));
        let audience = faults.note("spec.audience", Audience::parse(&raw.audience));
        let issuer = faults.note("spec.issuerRef.name", ObjectName::parse(&raw.issuer));
        let format = parse_format(raw.format.as_deref(), &mut faults);
        let scopes = parse_scopes("spec.scopes", &raw.scopes, MOST_SCOPES, None, &mut faults);
        let allow = parse_allow(&raw.allow, scopes.as_ref(), &mut faults);
        let max_lifetime = raw.max_lifetime.as_deref();
        let max_lifetime = max_lifetime.map_or(Ok(DEFAULT_LIFETIME), |text| {
            Lifetime::parse(text, Lifetime::MIN)
        });
        let max_lifetime = faults.note("spec.maxLifetime", max_lifetime);
        let claims = parse_claims(&raw.claims, &mut faults);
        let contact = raw.contact.as_deref();
        let contact = contact.and_then(|c| parse_text("spec.contact", c, 256, &mut faults));
        let verifiers = parse_verifiers(raw.verifiers.as_deref(), &mut faults);
        let whole = || {
            Some(Self {
                id: AudienceId {
                    namespace: namespace?,
                    name: name?,
                },
                seniority: Seniority {
                    created: raw.created,
                    uid: uid?,
                },
                audience: audience?,
                issuer: issuer?,
                format: format?,
                scopes: scopes?,
                allow,
                max_lifetime: max_lifetime?,
                claims,
                contact,
                verifiers,
            })
        };
        whole().filter(|_| faults.is_empty()).ok_or(faults)
    }

    /// What it holds where it [cannot be parsed](Self::parse); [`None`] where not even that can be told.
    #[must_use]
    pub fn hold(raw: &RawStatement) -> Option<Hold> {
        Some(Hold {
            id: AudienceId {
                namespace: Namespace::parse(&raw.namespace).ok()?,
                name: ObjectName::parse(&raw.name).ok()?,
            },
            seniority: Seniority {
                created: raw.created,
                uid: Uid::parse(&raw.uid).ok()?,
            },
            audience: Audience::parse(&raw.audience).ok()?,
            issuer: ObjectName::parse(&raw.issuer).ok()?,
        })
    }

    /// The lines that mean a service account of a namespace with those labels.
    pub(crate) fn admitting(
        &self,
        labels: &BTreeMap<String, String>,
        account: &ServiceAccount,
    ) -> Vec<&Allow> {
        let lines = self.allow.iter();
        lines.filter(|line| line.admits(labels, account)).collect()
    }
}

/// What a claim may hold: the owner's text, or the value of a label or annotation. A longer value of an
/// annotation is left out, so that nobody's token grows beyond what verifiers take.
pub const LONGEST_CLAIM: usize = 256;

#[cfg(test)]
mod tests;
