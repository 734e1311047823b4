//! What is said of a token (RFC 7662 §2.2).

use std::collections::BTreeMap;

use hallpass_core::{name::ClaimName, token::claims::Claims};
use serde::Serialize;

/// Whether the token is active, and if so, its claims as it has them. What the owner of the audience added
/// never stands in for a member that means something: no name of a claim is one of those.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    active: bool,
    #[serde(flatten)]
    told: Option<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    token_type: &'static str,
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    jti: &'a str,
    client_id: &'a str,
    scope: String,
    hpp: &'a str,
    hpe: [u64; 2],
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes<'a>,
    #[serde(flatten)]
    extra: &'a BTreeMap<ClaimName, Box<str>>,
}

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

impl<'a> Answer<'a> {
    /// [`None`] stands for a token that is not active, for whatever reason.
    pub(super) fn of(claims: Option<&'a Claims>) -> Self {
        Self {
            active: claims.is_some(),
            told: claims.map(Told::of),
        }
    }
}

impl<'a> Told<'a> {
    fn of(claims: &'a Claims) -> Self {
        Self {
            token_type: "Bearer",
            iss: &claims.issuer,
            sub: &claims.subject,
            aud: claims.audience.as_str(),
            exp: claims.expires.as_second(),
            iat: claims.issued.as_second(),
            jti: claims.id.as_str(),
            client_id: &claims.client_id,
            scope: claims.scopes.to_string(),
            hpp: claims.policy.as_str(),
            hpe: [claims.known.namespaced, claims.known.cluster],
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
            extra: &claims.extra,
        }
    }
}
