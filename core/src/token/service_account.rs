//! The service-account tokens of Kubernetes, checked without asking anybody.
//!
//! `jsonwebtoken` checks the signature and nothing else: its own reading of a token ignores `crit` and
//! `typ` and reads the clock. What is read here is exactly what the API server writes.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use super::jose::Flaw;
use super::{
    Verified,
    jose::{self, Members, Parts},
    keys::KeySet,
};
use crate::{
    denial::Code,
    name::{Namespace, PodName, ServiceAccount, Uid},
    secret::Secret,
};

/// What a token must say to be accepted. Both are compared as they are written.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The cluster's own `iss`.
    pub issuer: &'a str,
    /// The audience that must be among the token's.
    pub audience: &'a str,
}

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
    let parts = Parts::split(token.expose())?;
    check_signature(keys, &parts)?;
    let claims = jose::object(&jose::bytes(parts.claims)?)?;
    let claims = Members(&claims);
    if claims.text("iss")? != expected.issuer {
        return Err(Fault::WrongIssuer);
    }
    if !is_for(claims, expected.audience)? {
        return Err(Fault::WrongAudience);
    }
    let subject = subject(claims)?;
    match untimely(claims, now)? {
        None => Ok(Verified(subject)),
        Some(when) => Err(Fault::Untimely {
            when,
            claims: Box::new(subject),
        }),
    }
}

/// The header of the API server: `alg`, `kid` and at most a `typ`. The `kid` is a key of a table and
/// nothing else: it is neither printed nor made a path.
fn check_signature(keys: &KeySet, parts: &Parts<'_>) -> Result<(), Fault> {
    let header = jose::object(&jose::bytes(parts.header)?)?;
    let known = |name: &String| matches!(name.as_str(), "alg" | "kid" | "typ");
    if !header.keys().all(known) {
        return Err(Flaw::UnknownHeader.into());
    }
    let header = Members(&header);
    if header.get("typ").is_some_and(|typ| typ != "JWT") {
        return Err(Flaw::Type.into());
    }
    let algorithm = header.text("alg")?;
    if !ALGORITHMS.contains(&algorithm) {
        return Err(Flaw::Algorithm.into());
    }
    let key = keys.find(header.text("kid")?).ok_or(Fault::UnknownKey)?;
    if algorithm != key.algorithm() {
        return Err(Flaw::Algorithm.into());
    }
    if key.signed(parts)? {
        Ok(())
    } else {
        Err(Fault::BadSignature)
    }
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
        namespace: named(kubernetes, "namespace", Namespace::parse)?,
        service_account: named(account, "name", ServiceAccount::parse)?,
        service_account_uid: named(account, "uid", Uid::parse)?,
        pod: named(pod, "name", PodName::parse)?,
        pod_uid: named(pod, "uid", Uid::parse)?,
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

fn named<T, E>(
    members: Members<'_>,
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Flaw> {
    // Which rule of names is broken tells nothing about a token that no API server made: dropped.
    parse(members.text(name)?).ok().ok_or(Flaw::Member(name))
}

/// Every token of the API server has all three times, as whole seconds. `iat` is no start of validity
/// (RFC 7519 §4.1.6): it is only read.
fn untimely(claims: Members<'_>, now: Timestamp) -> Result<Option<Untimely>, Flaw> {
    let expires = time(claims, "exp")?;
    let starts = time(claims, "nbf")?;
    time(claims, "iat")?;
    Ok(if now.duration_since(expires) >= LEEWAY {
        Some(Untimely::Expired)
    } else if starts.duration_since(now) > LEEWAY {
        Some(Untimely::Early)
    } else {
        None
    })
}

fn time(claims: Members<'_>, name: &'static str) -> Result<Timestamp, Flaw> {
    let seconds = claims.integer(name)?;
    let time = Timestamp::from_second(seconds).ok();
    time.filter(|_| seconds >= 0).ok_or(Flaw::Member(name))
}

/// How far the clock of the API server and ours may be apart: the only leeway there is.
const LEEWAY: SignedDuration = SignedDuration::from_secs(5);

/// The algorithms that the API server signs with. A token with another one was never made by it.
const ALGORITHMS: [&str; 4] = ["RS256", "ES256", "ES384", "ES512"];

#[cfg(test)]
mod tests;
