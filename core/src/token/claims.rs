//! What a token of an issuer of Hallpass says, whatever its form: an access token of RFC 9068.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::error::Unspecified;
use jiff::Timestamp;

use super::{Fault, Flaw, LEEWAY, Verified};
use crate::{
    name::{
        Audience, ClaimName, Namespace, ObjectName, PodName, ServiceAccount, TokenId, TrustDomain,
        Uid,
    },
    revocation::Epochs,
    scope::ScopeSet,
};

/// The claims of an access token (RFC 9068 §2.2). Times count in whole seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `iss`: the URL of the issuer, as it is written in its metadata.
    pub issuer: Box<str>,
    /// `sub`: `system:serviceaccount:<namespace>:<name>` or `spiffe://<trust domain>/ns/<namespace>/sa/<name>`.
    pub subject: Box<str>,
    /// `aud`: the one audience.
    pub audience: Audience,
    /// `exp`: at most an hour after `issued`.
    pub expires: Timestamp,
    /// `iat`. It is no start of validity (RFC 7519 §4.1.6).
    pub issued: Timestamp,
    /// `jti`.
    pub id: TokenId,
    /// `client_id`: who asked for it, at most 512 printable characters.
    pub client_id: Box<str>,
    /// `scope`.
    pub scopes: ScopeSet,
    /// `kubernetes.io`: the namespace of the pod and its service account.
    pub namespace: Namespace,
    /// `kubernetes.io`: the service account.
    pub service_account: ServiceAccount,
    /// `kubernetes.io`: its uid.
    pub service_account_uid: Uid,
    /// `kubernetes.io`: the pod.
    pub pod: PodName,
    /// `kubernetes.io`: its uid.
    pub pod_uid: Uid,
    /// `hpp`: the policy that gave it, in the same namespace.
    pub policy: ObjectName,
    /// `hpe`: how far its issuer had read of what revokes: a revocation that is not in it refuses the token.
    pub known: Epochs,
    /// What the owner of the audience adds: at most 16 claims.
    pub extra: BTreeMap<ClaimName, Box<str>>,
}

/// Why no token is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintFault {
    /// The claims are such that no verifier would accept the token.
    #[error("no token has such claims: {0}")]
    Claims(#[from] Flaw),
    /// The crypto library has no memory or no randomness left.
    #[error("the crypto library failed")]
    Crypto(#[from] Unspecified),
}

/// How the subject is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SubjectForm {
    Kubernetes,
    Spiffe(TrustDomain),
}

impl SubjectForm {
    pub(super) fn write(&self, namespace: &Namespace, account: &ServiceAccount) -> String {
        match self {
            Self::Kubernetes => format!("system:serviceaccount:{namespace}:{account}"),
            Self::Spiffe(domain) => format!("spiffe://{domain}/ns/{namespace}/sa/{account}"),
        }
    }
}

impl Claims {
    /// What every token of an issuer of Hallpass satisfies: asked before one is made, and again when
    /// one is read.
    pub(super) fn check(&self) -> Result<(), Flaw> {
        if !printable(&self.issuer) {
            return Err(Flaw::Member("iss"));
        }
        if !printable(&self.client_id) {
            return Err(Flaw::Member("client_id"));
        }
        self.subject_form().ok_or(Flaw::Subject)?;
        let (issued, expires) = (self.issued.as_second(), self.expires.as_second());
        if issued < 0 {
            return Err(Flaw::Member("iat"));
        }
        if !(1..=LONGEST_LIFE).contains(&(expires - issued)) {
            return Err(Flaw::Lifetime);
        }
        if self.extra.len() > MOST_EXTRA {
            return Err(Flaw::UnknownClaim);
        }
        Ok(())
    }

    /// How the subject is written; [`None`] where it is not the service account.
    pub(super) fn subject_form(&self) -> Option<SubjectForm> {
        let form = match self.subject.strip_prefix("spiffe://") {
            None => SubjectForm::Kubernetes,
            Some(rest) => {
                let (domain, _) = rest.split_once('/')?;
                SubjectForm::Spiffe(TrustDomain::parse(domain).ok()?)
            }
        };
        let written = form.write(&self.namespace, &self.service_account);
        (*self.subject == written).then_some(form)
    }

    /// Asks the time, which comes last: everything else was found to fit.
    pub(super) fn at(self, kid: Arc<str>, now: Timestamp) -> Result<Verified<Self>, Fault> {
        if now.duration_since(self.expires) >= LEEWAY {
            Err(Fault::Expired)
        } else {
            Ok(Verified { claims: self, kid })
        }
    }
}

fn printable(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The longest life of a token, in seconds.
const LONGEST_LIFE: i64 = 3600;

/// The most claims that the owner of an audience can add.
const MOST_EXTRA: usize = 16;
