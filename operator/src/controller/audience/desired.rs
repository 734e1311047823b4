//! What the status of an audience should say: a function of what is known.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_core::{
    audience::{AudienceId, Statement},
    consent::AudienceSet,
    decide::PolicySet,
    denial::{Code, Denial},
    name::{Namespace, ObjectName, ServiceAccount},
    policy::{Policy, PolicyToken, Wanted},
    scope::ScopeSet,
};
use hallpass_crds::token_audience::{RefusedToken, TokenAudienceStatus};
use jiff::Timestamp;

use crate::{
    controller::status::{Verdict, number, shortened},
    index::AudienceRecord,
};

/// What is known about an audience beside its own object.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) audiences: &'a AudienceSet,
    /// Its namespace.
    pub(super) namespace: &'a Namespace,
    pub(super) asking: &'a Asking<'a>,
    /// The issuers that have a key to sign with.
    pub(super) signing: &'a BTreeSet<ObjectName>,
}

/// Who asks for which audience. Made once for all of them: a policy is looked at once, however many
/// audiences there are and however many of them it names.
#[derive(Debug, Default)]
pub(super) struct Asking<'a>(BTreeMap<&'a AudienceId, Vec<Ask<'a>>>);

/// A token of an audience that a policy asks for.
#[derive(Debug)]
struct Ask<'a> {
    policy: &'a Policy,
    token: &'a PolicyToken,
    scopes: &'a ScopeSet,
}

impl<'a> Asking<'a> {
    /// What the policies of those namespaces ask for.
    pub(super) fn new(policies: &'a PolicySet, namespaces: &BTreeSet<Namespace>) -> Self {
        let mut asking = Self::default();
        for namespace in namespaces {
            for policy in policies.of(namespace.as_str()) {
                asking.add(policy);
            }
        }
        for asks in asking.0.values_mut() {
            asks.sort_by_key(|ask| (&ask.policy.id, &ask.token.name));
        }
        asking
    }

    fn add(&mut self, policy: &'a Policy) {
        for token in &policy.tokens {
            if let Wanted::AudienceToken {
                audience, scopes, ..
            } = &token.wanted
            {
                self.0.entry(audience).or_default().push(Ask {
                    policy,
                    token,
                    scopes,
                });
            }
        }
    }

    /// By namespace, policy and token.
    fn of(&self, audience: &AudienceId) -> &[Ask<'a>] {
        self.0.get(audience).map_or(&[], Vec::as_slice)
    }
}

/// The status that the audience should have.
///
/// # Guarantees
/// Where `old` says the same already, the result equals it, whatever the time is. Of another namespace
/// it says which policy asks for this audience, for which service account and which scopes, and nothing
/// else.
pub(super) fn desired(
    record: &AudienceRecord,
    view: &View<'_>,
    now: Timestamp,
    old: Option<&TokenAudienceStatus>,
) -> TokenAudienceStatus {
    let verdict = match &record.spec {
        Ok(statement) => judge(statement, view),
        Err(unusable) => Verdict::refused(Code::Invalid, unusable.to_string()),
    };
    // Every stored object has such a name.
    let name = ObjectName::parse(&record.name).ok();
    let asks = name.map(|name| {
        let namespace = view.namespace.clone();
        view.asking.of(&AudienceId { namespace, name })
    });
    let asks = asks.unwrap_or_default();
    let policies: BTreeSet<_> = asks.iter().map(|ask| &ask.policy.id).collect();
    let refused: Vec<_> = asks.iter().filter_map(|ask| refused(ask, view)).collect();
    TokenAudienceStatus {
        observed_generation: record.generation,
        policies: Some(number(policies.len())),
        refused_count: Some(number(refused.len())),
        refused: refused.into_iter().take(MOST_REFUSED).collect(),
        conditions: vec![verdict.condition(record.generation, now, old)],
    }
}

fn judge(statement: &Statement, view: &View<'_>) -> Verdict {
    let refusal = view.audiences.refusal(&statement.id);
    if let Some(Denial { code, detail }) = refusal {
        return Verdict::refused(*code, detail.clone());
    }
    let issuer = &statement.issuer;
    if !view.signing.contains(issuer) {
        let message = format!("TokenIssuer \"{issuer}\" has no key to sign with yet");
        return Verdict::refused(Code::IssuerNotReady, message);
    }
    Verdict::ready(if statement.allow.is_empty() {
        "spec.allow has no entries: nobody gets a token"
    } else {
        "tokens can be issued to those who are allowed"
    })
}

/// What is said of a token that not every subject of its policy gets as it is asked for.
fn refused(ask: &Ask<'_>, view: &View<'_>) -> Option<RefusedToken> {
    let Ask {
        policy,
        token,
        scopes,
    } = ask;
    let Wanted::AudienceToken { audience, .. } = &token.wanted else {
        return None;
    };
    let namespace = &policy.id.namespace;
    let accounts: BTreeSet<&ServiceAccount> =
        policy.subjects.iter().map(|s| &s.service_account).collect();
    let denial = |account| match view.audiences.consent(namespace, account, audience, scopes) {
        Ok(consent) => consent.withheld,
        Err(denial) => Some(denial),
    };
    let denials: Vec<Denial> = accounts.into_iter().filter_map(denial).collect();
    let reason = denials.first()?.code.as_str();
    // What is wrong with the audience itself is the same for every subject.
    let mut details: Vec<&str> = denials.iter().map(|d| &*d.detail).collect();
    details.dedup();
    Some(RefusedToken {
        namespace: namespace.to_string(),
        policy: policy.id.name.to_string(),
        token: token.name.to_string(),
        reason: reason.to_owned(),
        message: shortened(details.join("; "), LONGEST_REFUSAL),
    })
}

/// What the schema of the status bounds.
const MOST_REFUSED: usize = 32;

/// Others write a part of these texts: all of them together stay small beside what an object may have.
const LONGEST_REFUSAL: usize = 1024;

#[cfg(test)]
mod tests;
