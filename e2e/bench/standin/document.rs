//! What it says of itself.

use axum::Json;
use serde_json::{Value, json};

use super::ISSUER;

/// `/.well-known/openid-configuration`
pub(super) async fn issuer() -> Json<Value> {
    Json(json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

/// `/api`: the versions of the group without a name.
pub(super) async fn versions() -> Json<Value> {
    Json(json!({"kind": "APIVersions", "versions": ["v1"]}))
}

/// `/apis`: the groups that others than the operator look for.
pub(super) async fn groups() -> Json<Value> {
    let version = json!({"groupVersion": "hallpass.dev/v1alpha1", "version": "v1alpha1"});
    Json(json!({
        "kind": "APIGroupList", "apiVersion": "v1",
        "groups": [{"name": "hallpass.dev", "versions": [version], "preferredVersion": version}],
    }))
}

/// `/api/v1`
pub(super) async fn core() -> Json<Value> {
    Json(resources(
        "v1",
        &[("pods", "Pod"), ("serviceaccounts", "ServiceAccount")],
    ))
}

/// `/apis/hallpass.dev/v1alpha1`
pub(super) async fn ours() -> Json<Value> {
    let kinds = [
        ("tokenpolicies", "TokenPolicy"),
        ("tokenaudiences", "TokenAudience"),
    ];
    Json(resources("hallpass.dev/v1alpha1", &kinds))
}

/// `/apis/admissionregistration.k8s.io/v1`: without it the operator does not become ready.
pub(super) async fn admission() -> Json<Value> {
    let kinds = [("mutatingadmissionpolicies", "MutatingAdmissionPolicy")];
    Json(resources("admissionregistration.k8s.io/v1", &kinds))
}

/// `/apis/certificates.k8s.io/v1`, likewise.
pub(super) async fn certificates() -> Json<Value> {
    let kinds = [("clustertrustbundles", "ClusterTrustBundle")];
    Json(resources("certificates.k8s.io/v1", &kinds))
}

fn resources(version: &str, kinds: &[(&str, &str)]) -> Value {
    let resource = |(name, kind): &(&str, &str)| {
        json!({
            "name": name, "singularName": kind.to_lowercase(), "namespaced": true, "kind": kind,
            "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"],
        })
    };
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
        "resources": kinds.iter().map(resource).collect::<Vec<_>>(),
    })
}

/// A `Status`, in which the API server says no.
pub(super) fn failure(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "message": reason, "code": code,
    })
}
