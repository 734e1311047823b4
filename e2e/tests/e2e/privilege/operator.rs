//! What the operator may do, right by right, and what it may not with its credentials stolen.

use hallpass_e2e::{attempt::Attempt, cluster::Engine};
use serde_json::{Value, json};

use super::{
    Allowed, NoRight, NoRightAndPolicy, Place, Policy, Row, WIDE, evictions, mints::mints, own,
};

/// Rights that no request here uses: verb, group, resource, and why in the comment.
pub(super) const UNTRIED: &[(&str, &str, &str)] = &[
    // server-side apply asks for it where the object is not there, and it is
    ("create", "hallpass.dev", "tokenissuers"),
    ("create", "certificates.k8s.io", "clustertrustbundles"),
    // nothing is stored
    ("create", "authentication.k8s.io", "tokenreviews"),
];

/// Rights to write that no policy bounds: verb, group, resource, and why in the comment.
pub(super) const UNBOUND: &[(&str, &str, &str)] = &[
    // Kubernetes lets no policy judge such configurations: the right is to its own name alone
    (
        "patch",
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
    // a status carries nothing else with it, and nobody is given anything by one
    ("patch", "hallpass.dev", "tokenpolicies/status"),
    ("patch", "hallpass.dev", "tokenaudiences/status"),
    ("patch", "hallpass.dev", "tokenissuers/status"),
    // nothing is stored
    ("create", "authentication.k8s.io", "tokenreviews"),
];

/// Everything.
pub(super) fn rows(place: &Place, namespace: &str, other: &str, engine: Engine) -> Vec<Row> {
    [
        mints(place),
        own::serving(),
        own::secrets(place),
        own::keys(place, other),
        own::leases(place, namespace),
        own::events(namespace),
        evictions::rows(place),
        match engine {
            Engine::AdmissionPolicy => own::trust(place),
            Engine::Webhook => own::webhook(),
        },
        reports(place),
        expires(place, other),
        issuers(),
        revocations(place, other),
        tidies_up(place, other),
        definitions(),
        beyond(place),
    ]
    .concat()
}

fn reports(place: &Place) -> Vec<Row> {
    const POLICY: &str = "hallpass-reports";
    let seen = || json!({"status": {"observedGeneration": 1}});
    let wider = json!({"spec": {"allow": [{"from": {"namespaceSelector": {"matchLabels": {"a": "b"}}, "serviceAccounts": ["*"]}, "scopes": ["a"]}]}});
    let status_alone = "nothing of TokenPolicies and TokenAudiences but their status";
    let (policy, audience) = (
        place.ours("tokenpolicies/orders"),
        place.ours("tokenaudiences/payments"),
    );
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

fn expires(place: &Place, other: &str) -> Vec<Row> {
    const POLICY: &str = "hallpass-reports";
    let expired = |status: &str| {
        json!({"status": {"conditions": [{
            "type": "Expired", "status": status, "reason": "Expired", "message": "a", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}})
    };
    let once = place.ours("tokenrevocations/once/status");
    let lock = place.ours("tokenrevocations/lock/status");
    let wide = format!("{WIDE}/clustertokenrevocations/{other}-lock/status");
    let endless = "no lock without an end";
    vec![
        (
            "reports on a revocation",
            Attempt::patch(&once, expired("True")),
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
            Policy(POLICY, endless),
        ),
        (
            "calls an endless lock of the cluster expired",
            Attempt::patch(&wide, expired("True")),
            Policy(POLICY, endless),
        ),
    ]
}

fn issuers() -> Vec<Row> {
    const POLICY: &str = "hallpass-issuers";
    let issuers = format!("{WIDE}/tokenissuers");
    let own = format!("{issuers}/hallpass");
    let issuer = |name: &str| {
        json!({
            "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": name},
            "spec": {"hallpass": {"issuerURL": "https://privilege.example"}},
        })
    };
    let names = json!({"spec": {"audiences": [{"pattern": "https://*.example", "namespaces": {"matchLabels": {"a": "b"}}}]}});
    let rotate =
        json!({"metadata": {"annotations": {"hallpass.dev/rotate-now": "2026-01-01T00:00:00Z"}}});
    let (mut naming, mut rotating) = (issuer("hallpass"), issuer("hallpass"));
    naming["spec"]["audiences"] = names["spec"]["audiences"].clone();
    rotating["metadata"]["annotations"] = rotate["metadata"]["annotations"].clone();
    let no_names = "which namespaces may state which audiences";
    let no_rotation = "asks for no rotation";
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
            Attempt::post(&issuers, issuer("other")),
            Policy(POLICY, "no other TokenIssuer than hallpass"),
        ),
        (
            "says who may state what",
            Attempt::patch(&own, names),
            Policy(POLICY, no_names),
        ),
        (
            "has keys rotate",
            Attempt::patch(&own, rotate),
            Policy(POLICY, no_rotation),
        ),
        (
            "makes the issuer, and says who may state what",
            Attempt::post(&issuers, naming),
            Policy(POLICY, no_names),
        ),
        (
            "makes the issuer, and has keys rotate",
            Attempt::post(&issuers, rotating),
            Policy(POLICY, no_rotation),
        ),
    ]
}

fn revocations(place: &Place, other: &str) -> Vec<Row> {
    const POLICY: &str = "hallpass-revocations-created";
    let wide = format!("{WIDE}/clustertokenrevocations");
    let revocation = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "hallpass.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let here = |name: &str, spec: Value| {
        let revocation = revocation("TokenRevocation", name, spec);
        Attempt::post(&place.ours("tokenrevocations"), revocation)
    };
    let one = json!({"target": {"tokenID": "a"}, "ttlSecondsAfterExpired": 0});
    let account = json!({"target": {"serviceAccount": "default"}, "ttlSecondsAfterExpired": 0});
    let mut locked = account.clone();
    locked["effect"] = json!("Lock");
    vec![
        ("gives a token back", here("token-a", one.clone()), Allowed),
        (
            "stops a service account",
            here("token-a", account),
            Policy(POLICY, "single tokens only"),
        ),
        (
            "locks a service account",
            here("token-a", locked),
            Policy(POLICY, "locks nobody"),
        ),
        (
            "takes a name that people may use",
            here("orders", one.clone()),
            Policy(POLICY, "whose names begin with token-"),
        ),
        (
            "gives a token back for ever",
            here("token-a", json!({"target": {"tokenID": "a"}})),
            Policy(POLICY, "deleted once they have expired"),
        ),
        (
            "revokes in every namespace",
            Attempt::post(&wide, revocation("ClusterTokenRevocation", "token-a", one)),
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
    ]
}

fn tidies_up(place: &Place, other: &str) -> Vec<Row> {
    const POLICY: &str = "hallpass-revocations-deleted";
    let gone = |name: &str| Attempt::delete(&place.ours(&format!("tokenrevocations/{name}")));
    let wide = format!("{WIDE}/clustertokenrevocations/{other}");
    let endless = "no lock without an end";
    vec![
        ("tidies up", gone(other), Allowed),
        ("tidies up in the cluster", Attempt::delete(&wide), Allowed),
        ("takes a lock away", gone("lock"), Policy(POLICY, endless)),
        (
            "takes a lock of the cluster away",
            Attempt::delete(&format!("{wide}-lock")),
            Policy(POLICY, endless),
        ),
        (
            "tidies up what is to stay",
            gone("once"),
            Policy(POLICY, "does not ask for it by ttlSecondsAfterExpired"),
        ),
        (
            "tidies up too early",
            gone("early"),
            Policy(POLICY, "that has not expired"),
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
