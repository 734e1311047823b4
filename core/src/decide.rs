//! The decision: may this pod hold that token?
//!
//! [`Holding::decide`] and [`decide_for`] are the only makers of a [`Grant`], and a token is made from nothing
//! but a grant.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{
    audience::{ClaimSource, LONGEST_CLAIM, Statement, is_text},
    consent::{AudienceSet, Consent},
    denial::{Code, Denial},
    issuer::IssuerUrl,
    labels::PodLabels,
    name::{ClaimName, Namespace, PodName, ServiceAccount, TokenName, Uid},
    policy::{Policy, PolicyToken, Wanted},
    revocation::{Marks, RevocationSet},
    scope::ScopeSet,
};

mod grant;
mod policies;
mod standing;

pub use self::{
    grant::{Grant, Own, Source},
    policies::PolicySet,
    standing::{PodGroups, Reach, Standing, Standings},
};

/// Who asks: a pod under its service account, as attested. Identity is the uids; names are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The namespace of both.
    pub namespace: Namespace,
    /// The service account that the pod runs under.
    pub service_account: ServiceAccount,
    /// Its uid.
    pub service_account_uid: Uid,
    /// The pod.
    pub pod: PodName,
    /// Its uid.
    pub pod_uid: Uid,
    /// The labels that the pod has now.
    pub labels: PodLabels,
    /// The annotations that the service account has now.
    pub annotations: Arc<BTreeMap<String, String>>,
}

/// Everything that a decision rests on: what is asked for, and what is allowed.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The policies.
    pub policies: Arc<PolicySet>,
    /// The audiences and their issuers.
    pub audiences: Arc<AudienceSet>,
}

/// What a decision looks at, and when.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What is asked for, and what is allowed.
    pub rules: &'a Rules,
    /// What is refused all the same.
    pub revocations: &'a RevocationSet,
    /// The time.
    pub now: Timestamp,
}

/// What the policies give a subject, to decide on several names. A subject may be selected by thousands of
/// policies, and all of them are looked at for it.
#[derive(Debug)]
pub struct Holding<'a> {
    rules: &'a Rules,
    subject: &'a Arc<Subject>,
    held: BTreeMap<&'a TokenName, (&'a Policy, &'a PolicyToken)>,
}

impl<'a> Holding<'a> {
    /// What the subject may hold by these rules.
    #[must_use]
    pub fn new(rules: &'a Rules, subject: &'a Arc<Subject>) -> Self {
        Self {
            rules,
            subject,
            held: rules.policies.held(subject),
        }
    }

    /// The names of the tokens, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'a TokenName> {
        self.held.keys().copied()
    }

    /// Decides whether the subject may hold the token of that name.
    ///
    /// # Guarantees
    /// A grant is what the policy asks for and the audience allows: no scope and no second beyond either. No
    /// lock is in force on anything about it, and what is made of it now is not revoked at once.
    ///
    /// # Errors
    /// What [`RevocationSet::admit`] says, whatever else is missing. [`Code::NoPolicy`], naming what is
    /// missing and the tokens that this pod may have: nothing of another namespace is named, nor a policy
    /// that does not select the subject. For a token of an audience what [`AudienceSet::consent`] says.
    pub fn decide(
        &self,
        revocations: &RevocationSet,
        name: &TokenName,
        now: Timestamp,
    ) -> Result<Grant, Denial> {
        match self.held.get(name) {
            Some((policy, token)) => {
                grant(self.scene(revocations, now), self.subject, policy, token)
            }
            None => Err(Denial {
                code: Code::NoPolicy,
                detail: missing(self.subject, Some(name), self.names()),
            }),
        }
    }

    /// Every token that the subject may hold, by name.
    pub fn assigned(&self, revocations: &RevocationSet, now: Timestamp) -> Vec<Assigned<'a>> {
        let scene = self.scene(revocations, now);
        let held = self.held.values();
        held.map(|(policy, token)| Assigned {
            token,
            grant: grant(scene, self.subject, policy, token),
        })
        .collect()
    }

    fn scene<'s>(&'s self, revocations: &'s RevocationSet, now: Timestamp) -> Scene<'s> {
        Scene {
            rules: self.rules,
            revocations,
            now,
        }
    }
}

/// Decides whether the subject may hold a token of that `aud` that this issuer makes: with those scopes,
/// or, where none are named, with all that the policies ask for. Of several such tokens the first by name
/// that fits. A service-account token is none of an issuer, whatever its `aud`.
///
/// # Errors
/// [`Code::NoPolicy`] where no policy asks for such a token; otherwise why the first by name is denied,
/// [`Code::AudienceMissing`] where another issuer makes it, [`Code::ScopeNotAllowed`] where the scopes are
/// too many for it.
pub fn decide_for(
    scene: Scene<'_>,
    subject: &Arc<Subject>,
    issuer: &IssuerUrl,
    audience: &str,
    scopes: Option<&ScopeSet>,
) -> Result<Grant, Denial> {
    let rules = scene.rules;
    let (mut first, mut other) = (None, None);
    let stating = rules.audiences.stating(audience);
    let fits = |token: &PolicyToken| token.wanted.is_for(audience, stating);
    for (policy, token) in rules.policies.held_of(subject, fits) {
        if matches!(token.wanted, Wanted::ServiceAccountToken { .. }) {
            other.get_or_insert(&token.name);
            continue;
        }
        let granted = grant(scene, subject, policy, token);
        let granted = granted.and_then(|grant| grant.made_by(issuer));
        let granted = granted.and_then(|grant| match scopes {
            Some(scopes) => grant.narrowed(scopes),
            None => Ok(grant),
        });
        match granted {
            Ok(grant) => return Ok(grant),
            Err(denial) => drop(first.get_or_insert(denial)),
        }
    }
    Err(first.unwrap_or_else(|| unasked(subject, audience, other)))
}

/// The denial of an audience that no policy asks for; `other` is a service-account token with that `aud`.
fn unasked(subject: &Subject, audience: &str, other: Option<&TokenName>) -> Denial {
    let Subject { namespace, pod, .. } = subject;
    let hint = other.map_or_else(String::new, |name| {
        format!("; its token \"{name}\" is a service-account token, which no issuer makes")
    });
    let detail = format!(
        "no TokenPolicy in namespace \"{namespace}\" gives pod \"{pod}\" a token for the audience \"{audience}\"{hint}"
    );
    Denial {
        code: Code::NoPolicy,
        detail,
    }
}

fn grant(
    scene: Scene<'_>,
    subject: &Arc<Subject>,
    policy: &Policy,
    token: &PolicyToken,
) -> Result<Grant, Denial> {
    let audiences = &scene.rules.audiences;
    let marks = marks(audiences, subject, policy, token);
    let known = scene.revocations.admit(marks, scene.now)?;
    let (audience, lifetime, source) = match &token.wanted {
        Wanted::ServiceAccountToken { audience, lifetime } => {
            (audience.clone(), *lifetime, Source::Kubernetes)
        }
        Wanted::AudienceToken {
            audience,
            scopes,
            lifetime,
        } => {
            let Subject {
                namespace,
                service_account,
                ..
            } = &**subject;
            let consent = audiences.consent(namespace, service_account, audience, scopes)?;
            let Consent {
                statement,
                issuer,
                scopes,
                ..
            } = consent;
            let most = statement.max_lifetime;
            let own = Own {
                issuer,
                format: statement.format,
                scopes,
                extra: extra(&statement, audiences, subject),
            };
            let lifetime = lifetime.map_or(most, |asked| asked.min(most));
            (statement.audience.clone(), lifetime, Source::Hallpass(own))
        }
    };
    Ok(Grant {
        subject: Arc::clone(subject),
        token: token.name.clone(),
        audience,
        lifetime,
        policy: policy.id.clone(),
        source,
        known,
    })
}

/// What a revocation can name about the token.
fn marks<'a>(
    audiences: &'a AudienceSet,
    subject: &'a Subject,
    policy: &'a Policy,
    token: &'a PolicyToken,
) -> Marks<'a> {
    let issuer = match &token.wanted {
        Wanted::ServiceAccountToken { .. } => None,
        Wanted::AudienceToken { audience, .. } => audiences
            .statement(audience)
            .map(|statement| statement.issuer.as_str()),
    };
    let audience = token.wanted.value(audiences);
    Marks {
        namespace: subject.namespace.as_str(),
        service_account: subject.service_account.as_str(),
        pod: subject.pod.as_str(),
        policy: policy.id.name.as_str(),
        audience: audience.map_or("", |audience| audience.as_str()),
        issuer,
    }
}

/// What the owner of the audience has the subject's tokens say.
fn extra(
    statement: &Statement,
    audiences: &AudienceSet,
    subject: &Subject,
) -> BTreeMap<ClaimName, Box<str>> {
    let labels = audiences.labels(subject.namespace.as_str());
    let value = |source: &ClaimSource| match source {
        ClaimSource::Literal(text) => Some(text.clone()),
        ClaimSource::NamespaceLabel(key) => labels.get(&**key).map(|v| v.as_str().into()),
        ClaimSource::ServiceAccountAnnotation(key) => {
            let value = subject.annotations.get(&**key).map(String::as_str);
            value.filter(|v| is_text(v, LONGEST_CLAIM)).map(Into::into)
        }
    };
    let claims = statement.claims.iter();
    claims
        .filter_map(|(name, source)| Some((name.clone(), value(source)?)))
        .collect()
}

/// A token that a subject is to hold, as far as that can be told before it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned<'a> {
    /// What the policy says.
    pub token: &'a PolicyToken,
    /// The grant that there would be now, or why there would be none.
    pub grant: Result<Grant, Denial>,
}

/// The denial of a subject that no policy selects.
#[must_use]
pub fn unselected(subject: &Subject) -> Denial {
    Denial {
        code: Code::NoPolicy,
        detail: missing(subject, None, std::iter::empty()),
    }
}

fn missing<'a>(
    subject: &Subject,
    name: Option<&TokenName>,
    held: impl Iterator<Item = &'a TokenName>,
) -> String {
    let Subject {
        namespace,
        service_account,
        pod,
        ..
    } = subject;
    let token = name.map_or_else(
        || "a token".to_owned(),
        |name| format!("the token \"{name}\""),
    );
    let held: Vec<&str> = held.map(TokenName::as_str).collect();
    let has = if held.is_empty() {
        format!(
            "no policy there selects service account \"{service_account}\" with the labels of this pod"
        )
    } else {
        format!("this pod may have: {}", held.join(", "))
    };
    format!("no TokenPolicy in namespace \"{namespace}\" gives pod \"{pod}\" {token}; {has}")
}

#[cfg(test)]
mod tests;
