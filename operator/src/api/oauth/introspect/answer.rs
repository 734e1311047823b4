//! What is said of a token that is valid (RFC 7662 §2.2).

use hallpass_core::token::claims::Claims;
use serde_json::{Map, Value, json};

/// The claims as the token has them, and that it is active. What the owner of the audience added never
/// stands in for a member that means something: no name of a claim is one of those.
pub(super) fn active(claims: &Claims) -> Value {
    let extra = claims.extra.iter();
    let mut members: Map<String, Value> = extra
        .map(|(name, value)| (name.as_str().to_owned(), Value::from(&**value)))
        .collect();
    let object = |name: &str, uid: &str| json!({"name": name, "uid": uid});
    let own = [
        ("active", true.into()),
        ("token_type", "Bearer".into()),
        ("iss", (&*claims.issuer).into()),
        ("sub", (&*claims.subject).into()),
        ("aud", claims.audience.as_str().into()),
        ("exp", claims.expires.as_second().into()),
        ("iat", claims.issued.as_second().into()),
        ("jti", claims.id.as_str().into()),
        ("client_id", (&*claims.client_id).into()),
        ("scope", claims.scopes.to_string().into()),
        ("hpp", claims.policy.as_str().into()),
        (
            "hpe",
            json!([claims.known.namespaced, claims.known.cluster]),
        ),
        (
            "kubernetes.io",
            json!({
                "namespace": claims.namespace.as_str(),
                "serviceaccount": object(
                    claims.service_account.as_str(),
                    claims.service_account_uid.as_str(),
                ),
                "pod": object(claims.pod.as_str(), claims.pod_uid.as_str()),
            }),
        ),
    ];
    members.extend(own.map(|(name, value)| (name.to_owned(), value)));
    members.into()
}
