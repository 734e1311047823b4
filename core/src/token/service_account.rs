//! The service-account tokens of Kubernetes, checked without asking anybody.
//!
//! `jsonwebtoken` checks the signature and nothing else: its own reading of a token ignores `crit` and
//! `typ` and reads the clock. What is read here is exactly what the API server writes.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

pub use super::{Expected, Flaw};
use super::{
    LEEWAY, Verified,
    jose::{self, Members, Parts},
    keys::KeySet,
    signature::{self, Kind, Unsigned},
};
use crate::{
    denial::Code,
    name::{Namespace, PodName, ServiceAccount, Uid},
    secret::Secret,
};

/// Whom a token names: a pod under its service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The namespace of both.
    pub namespace: Namespace,
    /// The service account.
    pub service_account: ServiceAccount,
    /// Its uid.
    pub service_account_uid: Uid,
    /// The pod that the token is bound to.
    pub pod: PodName,
    /// Its uid.
    pub pod_uid: Uid,
}

/// Why a token is not accepted: the first check that failed. No text repeats anything of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No token that Kubernetes could have made.
    #[error(transparent)]
    Malformed(#[from] Flaw),
    /// The key is not in the set.
    #[error("its key is not among the keys of this cluster")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("its signature does not fit its key")]
    BadSignature,
    /// Signed by the cluster's key under another issuer. A key counts only together with its issuer.
    #[error("its issuer is not the one of this cluster")]
    WrongIssuer,
    /// The audience is not among the token's.
    #[error("it was made for another audience")]
    WrongAudience,
    /// Bound to no pod.
    #[error("it is not bound to a pod")]
    NotPodBound,
    /// Everything fits but the time.
    #[error("it is {when}")]
    Untimely {
        /// Past or early.
        when: Untimely,
        /// Whom the token names. They are not [`Verified`]: somebody else has to decide.
        claims: Box<Claims>,
    },
}

/// In which way the time does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untimely {
    /// Past `exp`.
    #[error("past its time")]
    Expired,
    /// Before `nbf`.
    #[error("not valid yet")]
    Early,
}

impl Fault {
    /// The finite reason.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Malformed(_) => Code::MalformedBearer,
            Self::UnknownKey | Self::WrongIssuer => Code::UnknownKey,
            Self::BadSignature => Code::BadSignature,
            Self::WrongAudience | Self::NotPodBound => Code::WrongAudience,
            Self::Untimely { .. } => Code::ExpiredBearer,
        }
    }
}

impl From<Unsigned> for Fault {
    fn from(unsigned: Unsigned) -> Self {
        match unsigned {
            Unsigned::Malformed(flaw) => Self::Malformed(flaw),
            Unsigned::UnknownKey => Self::UnknownKey,
            Unsigned::BadSignature => Self::BadSignature,
        }
    }
}

/// A token of which everything was checked but the time. It is worth nothing by itself: whether it is
/// valid has to be asked each time it is shown.
///
/// # Guarantees
/// Only [`examine`] makes one.
#[derive(Debug, Clone)]
pub struct Examined {
    claims: Claims,
    kid: Arc<str>,
    starts: Timestamp,
    expires: Timestamp,
}

impl Examined {
    /// Asks the time.
    ///
    /// # Errors
    /// [`Fault::Untimely`].
    pub fn at(&self, now: Timestamp) -> Result<Verified<Claims>, Fault> {
        let claims = self.claims.clone();
        match self.untimely(now) {
            None => Ok(Verified {
                claims,
                kid: Arc::clone(&self.kid),
            }),
            Some(when) => Err(Fault::Untimely {
                when,
                claims: Box::new(claims),
            }),
        }
    }

    fn untimely(&self, now: Timestamp) -> Option<Untimely> {
        if now.duration_since(self.expires) >= LEEWAY {
            Some(Untimely::Expired)
        } else if self.starts.duration_since(now) > LEEWAY {
            Some(Untimely::Early)
        } else {
            None
        }
    }
}

/// Checks a token: its form, its key, its signature, and only then what it says: issuer, audience,
/// pod, service account, and last the time.
///
/// # Guarantees
/// At most one signature is checked, with the one key that the token names and with that key's own
/// algorithm. A token of which a single bit was changed is refused.
///
/// # Errors
/// The first check that failed. [`Fault::Untimely`] means that everything else fits.
pub fn verify(
    keys: &KeySet,
    token: &Secret<String>,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Verified<Claims>, Fault> {
    examine(keys, token, expected)?.at(now)
}

/// The same without the time, for who is shown one token again and again and remembers it. What is
/// remembered counts no longer than those keys and that expectation.
///
/// # Errors
/// The first check that failed; never [`Fault::Untimely`].
pub fn examine(
    keys: &KeySet,
    token: &Secret<String>,
    expected: &Expected<'_>,
) -> Result<Examined, Fault> {
    let parts = Parts::split(token.expose())?;
    let kid = signature::check(keys, &parts, &KIND)?;
    let claims = jose::object(&jose::bytes(parts.claims)?)?;
    let claims = Members(&claims);
    if claims.text("iss")? != expected.issuer {
        return Err(Fault::WrongIssuer);
    }
    if !is_for(claims, expected.audience)? {
        return Err(Fault::WrongAudience);
    }
    let subject = subject(claims)?;
    // Every token of the API server has all three times, as whole seconds. `iat` is no start of validity
    // (RFC 7519 §4.1.6): it is only read.
    let expires = claims.time("exp")?;
    let starts = claims.time("nbf")?;
    claims.time("iat")?;
    Ok(Examined {
        claims: subject,
        kid,
        starts,
        expires,
    })
}

/// `aud` is one text or a list of them (RFC 7519 §4.1.3); without it, a token is for nobody.
fn is_for(claims: Members<'_>, audience: &str) -> Result<bool, Flaw> {
    match claims.get("aud") {
        None => Ok(false),
        Some(Value::String(one)) => Ok(one == audience),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            Ok(list.iter().any(|one| one == audience))
        }
        Some(_) => Err(Flaw::Member("aud")),
    }
}

fn subject(claims: Members<'_>) -> Result<Claims, Fault> {
    let kubernetes = claims.object("kubernetes.io")?;
    if kubernetes.get("pod").is_none() {
        return Err(Fault::NotPodBound);
    }
    let pod = kubernetes.object("pod")?;
    let account = kubernetes.object("serviceaccount")?;
    let subject = Claims {
        namespace: kubernetes.parsed("namespace", Namespace::parse)?,
        service_account: account.parsed("name", ServiceAccount::parse)?,
        service_account_uid: account.parsed("uid", Uid::parse)?,
        pod: pod.parsed("name", PodName::parse)?,
        pod_uid: pod.parsed("uid", Uid::parse)?,
    };
    let Claims {
        namespace,
        service_account,
        ..
    } = &subject;
    if claims.text("sub")? != format!("system:serviceaccount:{namespace}:{service_account}") {
        return Err(Flaw::Subject.into());
    }
    Ok(subject)
}

/// The API server writes `typ: JWT` or no `typ`, and has those four algorithms.
const KIND: Kind = Kind {
    typ: "JWT",
    typ_required: false,
    algorithms: &["RS256", "ES256", "ES384", "ES512"],
};

#[cfg(test)]
mod tests;
