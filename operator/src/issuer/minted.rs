//! Looks at what the API server minted before anybody gets it. Pure.
//!
//! The signature is not checked: the token came from the API server itself over TLS. What is checked is
//! that it is the token that was asked for, so that a proxy, an external signer or an option of the API
//! server cannot turn a grant into more than it says.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::{decide::Grant, secret::Secret};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::IssuedToken;

/// How a minted token differs from its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is none that can be read.
    #[error("it cannot be read")]
    Unreadable,
    /// It is for another service account.
    #[error("it names another service account")]
    ServiceAccount,
    /// It is not bound to the pod, or to another one.
    #[error("it is not bound to the pod")]
    Pod,
    /// It is for another audience, or for more than one.
    #[error("its audience is another one")]
    Audience,
    /// It is expired already, or lives longer than it may.
    #[error("its lifetime is another one")]
    Lifetime,
}

#[derive(Deserialize)]
struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Bound,
}

#[derive(Deserialize)]
struct Bound {
    serviceaccount: Reference,
    pod: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    uid: String,
}

/// Accepts the token for the grant. `expiry` is what the API server said beside it.
///
/// # Guarantees
/// The token is for the grant's service account, pod and audience and for nothing else, by uid. Both
/// its own `exp` and `expiry` are after `now` and at most the grant's lifetime and [`LEEWAY`] away;
/// the API server may shorten a lifetime.
///
/// # Errors
/// The first difference.
pub(super) fn accept(
    grant: &Grant,
    token: Secret<String>,
    expiry: Timestamp,
    now: Timestamp,
) -> Result<IssuedToken, Mismatch> {
    let claims = read(&token).ok_or(Mismatch::Unreadable)?;
    let subject = grant.subject();
    if claims.kubernetes.serviceaccount.uid != subject.service_account_uid.as_str() {
        return Err(Mismatch::ServiceAccount);
    }
    if claims
        .kubernetes
        .pod
        .is_none_or(|pod| pod.uid != subject.pod_uid.as_str())
    {
        return Err(Mismatch::Pod);
    }
    if claims.aud != [grant.audience().as_str()] {
        return Err(Mismatch::Audience);
    }
    let time = |seconds| Timestamp::from_second(seconds).ok();
    let (issued_at, exp) = time(claims.iat)
        .zip(time(claims.exp))
        .ok_or(Mismatch::Unreadable)?;
    let expires_at = exp.min(expiry);
    let most = SignedDuration::from_secs(grant.lifetime().seconds().into()).saturating_add(LEEWAY);
    let latest = now.saturating_add(most).unwrap_or(now);
    if expires_at <= now || expires_at <= issued_at || exp.max(expiry) > latest {
        return Err(Mismatch::Lifetime);
    }
    Ok(IssuedToken {
        grant: grant.clone(),
        id: claims.jti,
        token,
        issued_at,
        expires_at,
    })
}

/// How far the clocks of the API server and of this replica may be apart.
const LEEWAY: SignedDuration = SignedDuration::from_secs(5);

// The error of serde_json quotes what it met: it goes no further.
fn read(token: &Secret<String>) -> Option<Claims> {
    let mut parts = token.expose().split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let payload = Secret::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
    serde_json::from_slice(payload.expose()).ok()
}

#[cfg(test)]
mod tests;
