//! What people may do by Kubernetes' roles view, edit and admin in a namespace.

use hallpass_e2e::attempt::Attempt;
use serde_json::{Value, json};

use super::{Allowed, NoRight, Place, Row, WIDE};

/// The spec of a policy.
pub(super) fn policy() -> Value {
    json!({
        "subjects": [{"serviceAccount": "default"}],
        "tokens": [{"name": "vault", "kubernetesAudience": "https://vault.example"}],
    })
}

/// The spec of an audience that is of no namespace's.
pub(super) fn audience(name: &str) -> Value {
    json!({
        "audience": format!("https://{name}.privilege.example"), "issuerRef": {"name": "hallpass"},
        "scopes": [{"name": "a"}],
    })
}

fn ours(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "hallpass.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn once() -> Value {
    json!({"target": {"pod": "nobody"}})
}

/// What nobody in a namespace may: what is of the whole cluster, and what the operator alone says.
fn beyond(place: &Place) -> Vec<Row> {
    let status = json!({"status": {"observedGeneration": 1}});
    let issuer = json!({"hallpass": {"issuerURL": "https://privilege.example"}});
    let everywhere = json!({"target": {"namespace": "nobody"}});
    vec![
        (
            "reads issuers",
            Attempt::get(&format!("{WIDE}/tokenissuers/hallpass")),
            NoRight,
        ),
        (
            "makes an issuer",
            Attempt::post(
                &format!("{WIDE}/tokenissuers"),
                ours("TokenIssuer", "other", issuer),
            ),
            NoRight,
        ),
        (
            "has keys rotate",
            Attempt::patch(
                &format!("{WIDE}/tokenissuers/hallpass"),
                json!({"metadata": {"annotations": {"hallpass.dev/rotate-now": "2026-01-01T00:00:00Z"}}}),
            ),
            NoRight,
        ),
        (
            "revokes beyond the namespace",
            Attempt::post(
                &format!("{WIDE}/clustertokenrevocations"),
                ours("ClusterTokenRevocation", "other", everywhere),
            ),
            NoRight,
        ),
        (
            "reports on a policy",
            Attempt::patch(&place.ours("tokenpolicies/orders/status"), status.clone()),
            NoRight,
        ),
        (
            "reports on an audience",
            Attempt::patch(
                &place.ours("tokenaudiences/payments/status"),
                status.clone(),
            ),
            NoRight,
        ),
        (
            "reports on a revocation",
            Attempt::patch(&place.ours("tokenrevocations/once/status"), status),
            NoRight,
        ),
    ]
}

/// Whoever may only look.
pub(super) fn viewer(place: &Place) -> Vec<Row> {
    let mut rows = beyond(place);
    for (kind, resource, name, spec) in kinds() {
        rows.push((
            "reads one",
            Attempt::get(&place.ours(&format!("{resource}/{name}"))),
            Allowed,
        ));
        rows.push((
            "makes one",
            Attempt::post(&place.ours(resource), ours(kind, "new", spec.clone())),
            NoRight,
        ));
        rows.push((
            "changes one",
            Attempt::patch(
                &place.ours(&format!("{resource}/{name}")),
                json!({"spec": spec}),
            ),
            NoRight,
        ));
        rows.push((
            "deletes one",
            Attempt::delete(&place.ours(&format!("{resource}/{name}"))),
            NoRight,
        ));
    }
    rows
}

/// Whoever may edit, and whoever administers the namespace: the same. The second can give the first's rights away, besides.
pub(super) fn editor(place: &Place) -> Vec<Row> {
    let mut rows = beyond(place);
    let labels = json!({"metadata": {"labels": {"team": "a"}}});
    for (kind, resource, name, spec) in kinds() {
        rows.push((
            "reads one",
            Attempt::get(&place.ours(&format!("{resource}/{name}"))),
            Allowed,
        ));
        rows.push((
            "makes one",
            Attempt::post(&place.ours(resource), ours(kind, "new", spec)),
            Allowed,
        ));
        rows.push((
            "changes one",
            Attempt::patch(&place.ours(&format!("{resource}/{name}")), labels.clone()),
            Allowed,
        ));
        rows.push((
            "deletes one",
            Attempt::delete(&place.ours(&format!("{resource}/{name}"))),
            Allowed,
        ));
    }
    rows
}

/// Whoever has a name and no more.
pub(super) fn nobody(place: &Place) -> Vec<Row> {
    let mut rows = beyond(place);
    for (kind, resource, name, spec) in kinds() {
        rows.push((
            "reads one",
            Attempt::get(&place.ours(&format!("{resource}/{name}"))),
            NoRight,
        ));
        rows.push((
            "makes one",
            Attempt::post(&place.ours(resource), ours(kind, "new", spec)),
            NoRight,
        ));
    }
    rows
}

/// Kind, resource, one that is there, and the spec of another one.
fn kinds() -> [(&'static str, &'static str, &'static str, Value); 3] {
    [
        ("TokenPolicy", "tokenpolicies", "orders", policy()),
        ("TokenAudience", "tokenaudiences", "payments", audience("b")),
        ("TokenRevocation", "tokenrevocations", "once", once()),
    ]
}
