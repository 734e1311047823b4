//! What a decision gives.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::Subject;
use crate::{
    audience::Format,
    denial::{Code, Denial},
    issuer::{Issuer, IssuerUrl},
    lifetime::Lifetime,
    name::{Audience, ClaimName, TokenId, TokenName},
    policy::PolicyId,
    revocation::Epochs,
    scope::ScopeSet,
    token::claims::Claims,
};

/// The right to one token, for one pod, until it is used: what a policy asked for, as far as it is
/// allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub(super) subject: Arc<Subject>,
    pub(super) token: TokenName,
    pub(super) audience: Audience,
    pub(super) lifetime: Lifetime,
    pub(super) policy: PolicyId,
    pub(super) source: Source,
    /// How far whoever decided had read of what revokes.
    pub(super) known: Epochs,
}

/// Where the token of a [`Grant`] comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The API server, by TokenRequest.
    Kubernetes,
    /// Hallpass itself, with its own keys.
    Hallpass(Own),
}

/// What a [`Grant`] of a token of Hallpass's own says beside the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The issuer.
    pub issuer: Arc<Issuer>,
    /// What the token looks like.
    pub format: Format,
    /// What it is good for.
    pub scopes: ScopeSet,
    /// What the owner of the audience has it say.
    pub extra: BTreeMap<ClaimName, Box<str>>,
}

impl Grant {
    /// Who may hold it.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The token's name.
    #[must_use]
    pub const fn token(&self) -> &TokenName {
        &self.token
    }

    /// Its one audience.
    #[must_use]
    pub const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// How long it lives.
    #[must_use]
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The policy that gave it.
    #[must_use]
    pub const fn policy(&self) -> &PolicyId {
        &self.policy
    }

    /// Where the token comes from.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The scopes; none for a service-account token.
    #[must_use]
    pub const fn scopes(&self) -> Option<&ScopeSet> {
        match &self.source {
            Source::Kubernetes => None,
            Source::Hallpass(own) => Some(&own.scopes),
        }
    }

    /// What a token of Hallpass's own says that is made from this grant now; [`None`] for a
    /// service-account token. Both times are whole seconds.
    #[must_use]
    pub fn claims(&self, id: TokenId, now: Timestamp) -> Option<Claims> {
        let Source::Hallpass(own) = &self.source else {
            return None;
        };
        let Subject {
            namespace,
            service_account,
            service_account_uid,
            pod,
            pod_uid,
            ..
        } = &*self.subject;
        let issued = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let life = SignedDuration::from_secs(self.lifetime.seconds().into());
        Some(Claims {
            issuer: own.issuer.url.as_str().into(),
            subject: own.issuer.subject(&self.subject).into(),
            audience: self.audience.clone(),
            expires: issued.saturating_add(life).unwrap_or(issued),
            issued,
            id,
            client_id: format!("system:serviceaccount:{namespace}:{service_account}").into(),
            scopes: own.scopes.clone(),
            namespace: namespace.clone(),
            service_account: service_account.clone(),
            service_account_uid: service_account_uid.clone(),
            pod: pod.clone(),
            pod_uid: pod_uid.clone(),
            policy: self.policy.name.clone(),
            known: self.known,
            extra: own.extra.clone(),
        })
    }

    /// The same right, decided on what may be so old: to a token that ends as if it had been issued then. A
    /// revocation that was made since is kept for as long as a token may live that was issued before it.
    #[must_use]
    pub fn decided_on(self, old: Duration) -> Self {
        let lifetime = self.lifetime.less_than_longest_by(old);
        Self { lifetime, ..self }
    }

    /// The same right, where it is one to a token of that issuer.
    ///
    /// # Errors
    /// [`Code::AudienceMissing`]: that issuer has no such audience. A service-account token is of none.
    pub(super) fn made_by(self, issuer: &IssuerUrl) -> Result<Self, Denial> {
        let maker = match &self.source {
            Source::Kubernetes => None,
            Source::Hallpass(own) => Some(&own.issuer.url),
        };
        if maker == Some(issuer) {
            return Ok(self);
        }
        let maker = maker.map_or("the API server", IssuerUrl::as_str);
        let detail = format!(
            "tokens for the audience \"{}\" are made by {maker}, not by {issuer}",
            self.audience
        );
        Err(Denial {
            code: Code::AudienceMissing,
            detail,
        })
    }

    /// The same right to fewer scopes.
    ///
    /// # Errors
    /// [`Code::ScopeNotAllowed`], naming those of `asked` that the grant does not have.
    pub fn narrowed(self, asked: &ScopeSet) -> Result<Self, Denial> {
        let has = self
            .scopes()
            .map_or_else(|| Some(asked.clone()), |has| asked.without(has));
        if let Some(missing) = has {
            let Self { policy, token, .. } = &self;
            let detail = format!("token \"{token}\" of TokenPolicy {policy} has not: {missing}");
            return Err(Denial {
                code: Code::ScopeNotAllowed,
                detail,
            });
        }
        let source = match self.source {
            Source::Kubernetes => Source::Kubernetes,
            Source::Hallpass(own) => Source::Hallpass(Own {
                scopes: asked.clone(),
                ..own
            }),
        };
        Ok(Self { source, ..self })
    }
}
