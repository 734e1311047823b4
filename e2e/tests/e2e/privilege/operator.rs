//! What the operator may do, right by right, and what it may not with its credentials stolen.

use hallpass_e2e::{attempt::Attempt, cluster::Engine};
use serde_json::{Value, json};

use super::{Allowed, NoRight, NoRightAndPolicy, Place, Policy, Row, WIDE, evictions, own};

/// Rights that no request here uses: verb, group, resource, and why in the comment.
pub(super) const UNTRIED: &[(&str, &str, &str)] = &[
    // server-side apply asks for it where the object is not there, and it is
    ("create", "hallpass.dev", "tokenissuers"),
    ("create", "certificates.k8s.io", "clustertrustbundles"),
    // nothing is stored
    ("create", "authentication.k8s.io", "tokenreviews"),
];

/// Everything.
pub(super) fn rows(place: &Place, namespace: &str, other: &str, engine: Engine) -> Vec<Row> {
    [
        mints(place),
        own::serving(),
        own::keys(place, other),
        own::leases(place, namespace),
        own::events(namespace),
        evictions::rows(place),
        match engine {
            Engine::AdmissionPolicy => own::trust(place),
            Engine::Webhook => own::webhook(),
        },
        reports(place),
        issuers(),
        revocations(place, other),
        definitions(),
        beyond(place),
    ]
    .concat()
}

pub(super) fn mints(place: &Place) -> Vec<Row> {
    const POLICY: &str = "hallpass-token-requests";
    let request = |audience: &str, seconds: u32, bound: Value| {
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": seconds, "boundObjectRef": bound},
        })
    };
    let vault = "https://vault.example";
    let here = place.core("serviceaccounts/default/token");
    let system = "/api/v1/namespaces/kube-system/serviceaccounts/default/token";
    let pod = || place.pod.clone();
    vec![
        (
            "mints for a pod",
            Attempt::post(&here, request(vault, 600, pod())),
            Allowed,
        ),
        (
            "mints for no pod",
            Attempt::post(&here, request(vault, 600, Value::Null)),
            Policy(POLICY, "only tokens bound to a pod"),
        ),
        (
            "mints for a day",
            Attempt::post(&here, request(vault, 86_400, pod())),
            Policy(POLICY, "at most 3600 seconds"),
        ),
        (
            "mints for the API server",
            Attempt::post(&here, request("https://kubernetes.default.svc", 600, pod())),
            Policy(POLICY, "the API server"),
        ),
        (
            "mints in kube-system",
            Attempt::post(system, request(vault, 600, pod())),
            Policy(POLICY, "which is protected"),
        ),
    ]
}

fn reports(place: &Place) -> Vec<Row> {
    const POLICY: &str = "hallpass-reports";
    let seen = || json!({"status": {"observedGeneration": 1}});
    let expired = |status: &str| {
        json!({"status": {"conditions": [{
            "type": "Expired", "status": status, "reason": "Expired", "message": "a", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}})
    };
    let wider = json!({"spec": {"allow": [{"from": {"namespaceSelector": {"matchLabels": {"a": "b"}}, "serviceAccounts": ["*"]}, "scopes": ["a"]}]}});
    let status_alone = "nothing of TokenPolicies and TokenAudiences but their status";
    let (policy, audience) = (
        place.ours("tokenpolicies/orders"),
        place.ours("tokenaudiences/payments"),
    );
    let lock = place.ours("tokenrevocations/lock/status");
    vec![
        (
            "reports on a policy",
            Attempt::patch(&format!("{policy}/status"), seen()),
            Allowed,
        ),
        (
            "reports on an audience",
            Attempt::patch(&format!("{audience}/status"), seen()),
            Allowed,
        ),
        (
            "reports on a revocation",
            Attempt::patch(&place.ours("tokenrevocations/once/status"), expired("True")),
            Allowed,
        ),
        (
            "reports on a lock",
            Attempt::patch(&lock, expired("False")),
            Allowed,
        ),
        (
            "calls an endless lock expired",
            Attempt::patch(&lock, expired("True")),
            Policy(POLICY, "no lock without an end"),
        ),
        (
            "widens an audience",
            Attempt::patch(&audience, wider),
            NoRightAndPolicy(POLICY, status_alone),
        ),
        (
            "deletes a policy",
            Attempt::delete(&policy),
            NoRightAndPolicy(POLICY, status_alone),
        ),
        (
            "deletes the issuer",
            Attempt::delete(&format!("{WIDE}/tokenissuers/hallpass")),
            NoRightAndPolicy(POLICY, "deletes no TokenIssuer"),
        ),
    ]
}

fn issuers() -> Vec<Row> {
    const POLICY: &str = "hallpass-issuers";
    let issuers = format!("{WIDE}/tokenissuers");
    let own = format!("{issuers}/hallpass");
    let other = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": "other"},
        "spec": {"hallpass": {"issuerURL": "https://privilege.example"}},
    });
    let names = json!({"spec": {"audiences": [{"pattern": "https://*.example", "namespaces": {"matchLabels": {"a": "b"}}}]}});
    let rotate =
        json!({"metadata": {"annotations": {"hallpass.dev/rotate-now": "2026-01-01T00:00:00Z"}}});
    vec![
        (
            "follows the chart's values",
            Attempt::patch(&own, json!({"spec": {"hallpass": {"rotateEvery": "7d"}}})),
            Allowed,
        ),
        (
            "reports on the issuer",
            Attempt::patch(
                &format!("{own}/status"),
                json!({"status": {"observedGeneration": 1}}),
            ),
            Allowed,
        ),
        (
            "makes another issuer",
            Attempt::post(&issuers, other),
            Policy(POLICY, "no other TokenIssuer than hallpass"),
        ),
        (
            "says who may state what",
            Attempt::patch(&own, names),
            Policy(POLICY, "which namespaces may state which audiences"),
        ),
        (
            "has keys rotate",
            Attempt::patch(&own, rotate),
            Policy(POLICY, "asks for no rotation"),
        ),
    ]
}

fn revocations(place: &Place, other: &str) -> Vec<Row> {
    const POLICY: &str = "hallpass-revocations-created";
    let wide = format!("{WIDE}/clustertokenrevocations");
    let revocation = |kind: &str, target: Value| {
        json!({
            "apiVersion": "hallpass.dev/v1alpha1", "kind": kind, "metadata": {"name": "token-a"},
            "spec": {"target": target, "ttlSecondsAfterExpired": 0},
        })
    };
    let (here, one) = (place.ours("tokenrevocations"), json!({"tokenID": "a"}));
    let bad = revocation("TokenRevocation", json!({"serviceAccount": "default"}));
    let gone = place.ours("tokenrevocations/lock");
    vec![
        (
            "gives a token back",
            Attempt::post(&here, revocation("TokenRevocation", one.clone())),
            Allowed,
        ),
        (
            "stops a service account",
            Attempt::post(&here, bad),
            Policy(POLICY, "single tokens only"),
        ),
        (
            "revokes in every namespace",
            Attempt::post(&wide, revocation("ClusterTokenRevocation", one)),
            NoRightAndPolicy(POLICY, "no ClusterTokenRevocation"),
        ),
        (
            "reports on a revocation of the cluster",
            Attempt::patch(
                &format!("{wide}/{other}/status"),
                json!({"status": {"observedGeneration": 1}}),
            ),
            Allowed,
        ),
        (
            "tidies up",
            Attempt::delete(&place.ours(&format!("tokenrevocations/{other}"))),
            Allowed,
        ),
        (
            "tidies up in the cluster",
            Attempt::delete(&format!("{wide}/{other}")),
            Allowed,
        ),
        (
            "takes a lock away",
            Attempt::delete(&gone),
            Policy("hallpass-revocations-deleted", "no lock without an end"),
        ),
    ]
}

fn definitions() -> Vec<Row> {
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = format!("{definitions}/tokenpolicies.hallpass.dev");
    vec![
        (
            "looks whether a definition is being deleted",
            Attempt::get(&definition),
            Allowed,
        ),
        (
            "looks at a definition of others",
            Attempt::get(&format!("{definitions}/orders.shop.example")),
            NoRight,
        ),
        (
            "deletes a definition",
            Attempt::delete(&definition),
            NoRight,
        ),
    ]
}

/// What it has no business with.
fn beyond(place: &Place) -> Vec<Row> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "a"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [],
    });
    let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let policy = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/hallpass-keys";
    let pod = hallpass_e2e::manifest::pod("b").json().clone();
    vec![
        (
            "reads a pod",
            Attempt::get(&place.core("pods/app")),
            Allowed,
        ),
        (
            "makes a pod",
            Attempt::post(&place.core("pods"), pod),
            NoRight,
        ),
        (
            "deletes a pod",
            Attempt::delete(&place.core("pods/app")),
            NoRight,
        ),
        (
            "enters a pod",
            Attempt::get(&place.core("pods/app/exec")),
            NoRight,
        ),
        (
            "reads Secrets of a team",
            Attempt::get(&place.core("secrets/a")),
            NoRight,
        ),
        (
            "reads configuration of a team",
            Attempt::get(&place.core("configmaps/a")),
            NoRight,
        ),
        (
            "labels a namespace",
            Attempt::patch(
                place.core.as_str(),
                json!({"metadata": {"labels": {"a": "b"}}}),
            ),
            NoRight,
        ),
        ("gives rights", Attempt::post(rbac, role), NoRight),
        ("lifts its own policies", Attempt::delete(policy), NoRight),
    ]
}
