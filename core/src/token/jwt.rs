//! Signed access tokens: the JWT profile of RFC 9068, written and read by Hallpass alone.
//!
//! Since nobody else writes them, a reader takes nothing that [`sign`] would not have written: no other
//! member of the header, no other `typ`, no `aud` that is a list, no claim of unknown kind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub use super::claims::{Claims, MintFault};
use super::{
    Expected, Fault, Flaw, Verified,
    jose::{self, LONGEST_TOKEN, Members, Parts},
    keys::KeySet,
    signature::{self, Kind},
    signing::SigningKey,
};
use crate::{
    name::{Audience, ClaimName, Namespace, ObjectName, PodName, ServiceAccount, TokenId, Uid},
    revocation::Epochs,
    scope::ScopeSet,
    secret::Secret,
};

/// Makes a token of those claims. Times are cut off to whole seconds.
///
/// # Guarantees
/// [`verify`] accepts it with the public half of `key` until it expires.
///
/// # Errors
/// The claims are such that no verifier would accept the token, or the crypto library failed.
pub fn sign(key: &SigningKey, claims: &Claims) -> Result<Secret<String>, MintFault> {
    claims.check()?;
    // A kid is base64url and needs no escapes.
    let header = format!(
        r#"{{"alg":"{}","kid":"{}","typ":"{TYP}"}}"#,
        key.algorithm().as_str(),
        key.kid()
    );
    // Texts and numbers always have a JSON: there is no cause to keep.
    let mut body = Vec::with_capacity(USUAL);
    let written = serde_json::to_writer(&mut body, &Body::new(claims)).ok();
    written.ok_or(Flaw::Json)?;
    let mut token = String::with_capacity(2 * USUAL);
    jose::append(header, &mut token);
    token.push('.');
    jose::append(body, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    jose::append(signature, &mut token);
    if token.len() > LONGEST_TOKEN {
        return Err(Flaw::TooLong.into());
    }
    Ok(Secret::new(token))
}

/// Checks a token: its form, its key, its signature, and only then what it says: issuer, audience, the
/// other claims, and last the time.
///
/// # Guarantees
/// At most one signature is checked, with the one key that the token names and with that key's own
/// algorithm. A token of which a single bit was changed is refused. A token of another kind, under the
/// same key, is refused (RFC 8725 §3.11).
///
/// # Assumptions
/// `keys` are the keys of `expected.issuer` and of no other: a key counts only together with its issuer.
///
/// # Errors
/// The first check that failed. [`Fault::Expired`] means that everything else fits.
pub fn verify(
    keys: &KeySet,
    token: &Secret<String>,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Verified<Claims>, Fault> {
    let parts = Parts::split(token.expose())?;
    let kid = signature::check(keys, &parts, &KIND)?;
    let members = jose::object(&jose::bytes(parts.claims)?)?;
    let members = Members(&members);
    if members.text("iss")? != expected.issuer {
        return Err(Fault::WrongIssuer);
    }
    if members.text("aud")? != expected.audience {
        return Err(Fault::WrongAudience);
    }
    let claims = read(members)?;
    claims.check()?;
    claims.at(kid, now)
}

fn read(members: Members<'_>) -> Result<Claims, Flaw> {
    let kubernetes = members.object("kubernetes.io")?;
    let account = kubernetes.object("serviceaccount")?;
    let pod = kubernetes.object("pod")?;
    let known = kubernetes.only(&["namespace", "serviceaccount", "pod"])
        && [account, pod].iter().all(|it| it.only(&["name", "uid"]));
    if !known {
        return Err(Flaw::UnknownClaim);
    }
    Ok(Claims {
        issuer: members.text("iss")?.into(),
        subject: members.text("sub")?.into(),
        audience: members.parsed("aud", Audience::parse)?,
        expires: members.time("exp")?,
        issued: members.time("iat")?,
        id: members.parsed("jti", TokenId::parse)?,
        client_id: members.text("client_id")?.into(),
        scopes: members.parsed("scope", ScopeSet::parse)?,
        namespace: kubernetes.parsed("namespace", Namespace::parse)?,
        service_account: account.parsed("name", ServiceAccount::parse)?,
        service_account_uid: account.parsed("uid", Uid::parse)?,
        pod: pod.parsed("name", PodName::parse)?,
        pod_uid: pod.parsed("uid", Uid::parse)?,
        policy: members.parsed("hpp", ObjectName::parse)?,
        known: epochs(members)?,
        extra: extra(members)?,
    })
}

/// Two numbers, for the two kinds that revoke.
fn epochs(members: Members<'_>) -> Result<Epochs, Flaw> {
    let numbers = members.get("hpe").and_then(Value::as_array);
    let numbers = numbers.map(|numbers| numbers.iter().map(Value::as_u64).collect::<Vec<_>>());
    match numbers.as_deref() {
        Some([Some(namespaced), Some(cluster)]) => Ok(Epochs {
            namespaced: *namespaced,
            cluster: *cluster,
        }),
        _ => Err(Flaw::Member("hpe")),
    }
}

/// Every member that is not one of ours is one that the owner of the audience added: a text under a
/// name that has no other meaning.
fn extra(members: Members<'_>) -> Result<BTreeMap<ClaimName, Box<str>>, Flaw> {
    let added = members
        .0
        .iter()
        .filter(|(name, _)| !OURS.contains(&name.as_str()));
    added
        .map(|(name, value)| claim(name, value).ok_or(Flaw::UnknownClaim))
        .collect()
}

fn claim(name: &str, value: &Value) -> Option<(ClaimName, Box<str>)> {
    Some((ClaimName::parse(name).ok()?, value.as_str()?.into()))
}

/// The claims as JSON has them (RFC 9068 §2.2).
#[derive(Serialize)]
struct Body<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    jti: &'a str,
    client_id: &'a str,
    scope: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes<'a>,
    hpp: &'a str,
    hpe: [u64; 2],
    #[serde(flatten)]
    extra: &'a BTreeMap<ClaimName, Box<str>>,
}

/// The same members as in a token of the API server.
#[derive(Serialize)]
struct Kubernetes<'a> {
    namespace: &'a str,
    serviceaccount: Object<'a>,
    pod: Object<'a>,
}

#[derive(Serialize)]
struct Object<'a> {
    name: &'a str,
    uid: &'a str,
}

impl<'a> Body<'a> {
    fn new(claims: &'a Claims) -> Self {
        Self {
            iss: &claims.issuer,
            sub: &claims.subject,
            aud: claims.audience.as_str(),
            exp: claims.expires.as_second(),
            iat: claims.issued.as_second(),
            jti: claims.id.as_str(),
            client_id: &claims.client_id,
            scope: claims.scopes.to_string(),
            kubernetes: Kubernetes {
                namespace: claims.namespace.as_str(),
                serviceaccount: Object {
                    name: claims.service_account.as_str(),
                    uid: claims.service_account_uid.as_str(),
                },
                pod: Object {
                    name: claims.pod.as_str(),
                    uid: claims.pod_uid.as_str(),
                },
            },
            hpp: claims.policy.as_str(),
            hpe: [claims.known.namespaced, claims.known.cluster],
            extra: &claims.extra,
        }
    }
}

/// The claims of most tokens have fewer bytes, and are written without moving them.
const USUAL: usize = 768;

/// RFC 9068 §2.1. Its long form, `application/at+jwt`, is never written and never taken.
const TYP: &str = "at+jwt";

const KIND: Kind = Kind {
    typ: TYP,
    typ_required: true,
    algorithms: &["ES256", "EdDSA", "RS256"],
};

/// The claims that every token has, and no owner of an audience can add.
const OURS: [&str; 11] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "jti",
    "client_id",
    "scope",
    "kubernetes.io",
    "hpp",
    "hpe",
];

#[cfg(test)]
mod tests;
