//! What the operator keeps for itself: its certificate, keys, Leases and Events.

use hallpass_e2e::{attempt::Attempt, cluster::RELEASE};
use serde_json::{Value, json};

use super::{Allowed, Besides, NoRight, NoRightAndPolicy, Place, Policy, Row};

pub(super) fn serving() -> Vec<Row> {
    const POLICY: &str = "hallpass-serving";
    let secrets = format!("/api/v1/namespaces/{RELEASE}/secrets");
    let secret = format!("{secrets}/hallpass-serving");
    let data = |key: &str| json!({"data": {key: "YQ=="}});
    vec![
        ("reads its certificate", Attempt::get(&secret), Allowed),
        (
            "writes its certificate",
            Attempt::patch(&secret, data("tls.crt")),
            Allowed,
        ),
        (
            "writes an authority that comes next",
            Attempt::patch(&secret, data("next.key")),
            Allowed,
        ),
        (
            "writes since when that is published",
            Attempt::patch(&secret, data("next.shown")),
            Allowed,
        ),
        (
            "keeps something else there",
            Attempt::patch(&secret, data("token")),
            Policy(POLICY, "nothing but its certificates"),
        ),
        (
            "has the Secret wait for it",
            Attempt::patch(
                &secret,
                json!({"metadata": {"finalizers": ["hallpass.dev/a"]}}),
            ),
            Policy("hallpass-finalizers", "finalizers"),
        ),
    ]
}

/// What is not its certificate's, in any namespace but that of the keys.
pub(super) fn secrets(place: &Place) -> Vec<Row> {
    const POLICY: &str = "hallpass-serving";
    let secrets = format!("/api/v1/namespaces/{RELEASE}/secrets");
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "token", "annotations": {"kubernetes.io/service-account.name": "default"}},
    });
    let no_other = "writes no other Secret than hallpass-serving";
    vec![
        (
            "deletes the Secret",
            Attempt::delete(&format!("{secrets}/hallpass-serving")),
            NoRightAndPolicy(POLICY, no_other),
        ),
        (
            "has a token made",
            Attempt::post(&secrets, token.clone()),
            NoRightAndPolicy(POLICY, no_other),
        ),
        (
            "has a token made in kube-system",
            Attempt::post("/api/v1/namespaces/kube-system/secrets", token),
            NoRightAndPolicy(POLICY, no_other),
        ),
        // of the one that it may write Kubernetes changes no type
        (
            "writes into a Secret of a team",
            Attempt::patch(
                &place.core("secrets/team"),
                json!({"data": {"tls.crt": "YQ=="}}),
            ),
            Besides(POLICY, "into no Secret of another type"),
        ),
        (
            "reads another Secret",
            Attempt::get(&format!("{secrets}/other")),
            NoRight,
        ),
    ]
}

pub(super) fn keys(place: &Place, other: &str) -> Vec<Row> {
    const POLICY: &str = "hallpass-keys";
    let secrets = format!("/api/v1/namespaces/{RELEASE}-keys/secrets");
    let (key, other) = (
        format!("{secrets}/{}", place.key),
        format!("{secrets}/{other}"),
    );
    let secret = |kind: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {
                "name": "abcdefgh-1", "labels": {"hallpass.dev/issuer-id": "abcdefgh"},
                "annotations": {"kubernetes.io/service-account.name": "default"},
            },
        })
    };
    let activated =
        json!({"metadata": {"annotations": {"hallpass.dev/activated": "2026-01-01T00:00:00Z"}}});
    let signing = "hallpass.dev/signing-key";
    let only = "only Secrets of type hallpass.dev/signing-key";
    vec![
        (
            "makes a key",
            Attempt::post(&secrets, secret(signing)),
            Allowed,
        ),
        ("lets a key sign", Attempt::patch(&key, activated), Allowed),
        ("removes a key", Attempt::delete(&key), Allowed),
        (
            "has a token made beside the keys",
            Attempt::post(&secrets, secret("kubernetes.io/service-account-token")),
            Policy(POLICY, only),
        ),
        (
            "exchanges a key",
            Attempt::patch(&key, json!({"data": {"signing": "bm9uZQ=="}})),
            Policy(POLICY, "never changes a key"),
        ),
        (
            "takes a key for another issuer's",
            Attempt::patch(
                &key,
                json!({"metadata": {"labels": {"hallpass.dev/issuer-id": "abcdefgh"}}}),
            ),
            Policy(POLICY, "by the id of its issuer"),
        ),
        (
            "removes what is no key",
            Attempt::delete(&other),
            Policy(POLICY, only),
        ),
        (
            "has a key wait for it",
            Attempt::patch(
                &key,
                json!({"metadata": {"finalizers": ["hallpass.dev/a"]}}),
            ),
            Policy("hallpass-finalizers", "finalizers"),
        ),
    ]
}

/// The Lease of a replica.
fn lease(label: &str, owner: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {
            "name": "replica", "labels": {"hallpass.dev/replica": label},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": "a"}],
        },
    })
}

pub(super) fn leases(place: &Place, namespace: &str) -> Vec<Row> {
    const POLICY: &str = "hallpass-leases";
    let group = "/apis/coordination.k8s.io/v1/namespaces";
    let (ours, theirs) = (
        format!("{group}/{RELEASE}/leases"),
        format!("{group}/{namespace}/leases"),
    );
    let election = format!("{ours}/hallpass");
    let two = "writes its Lease hallpass, and those labelled";
    vec![
        (
            "leads",
            Attempt::patch(&election, json!({"spec": {"leaseTransitions": 7}})),
            Allowed,
        ),
        (
            "says what a replica has seen",
            Attempt::post(&ours, lease("hallpass", "replica")),
            Allowed,
        ),
        (
            "takes the Lease of a replica away",
            Attempt::delete(&format!("{ours}/{}", place.replica)),
            Allowed,
        ),
        (
            "writes a Lease of nobody's",
            Attempt::post(&ours, lease("other", "replica")),
            Policy(POLICY, two),
        ),
        (
            "writes a Lease of another pod's",
            Attempt::post(&ours, lease("hallpass", "other")),
            Policy(POLICY, two),
        ),
        (
            "deletes the election",
            Attempt::delete(&election),
            Policy(POLICY, two),
        ),
        (
            "has the election wait for it",
            Attempt::patch(
                &election,
                json!({"metadata": {"finalizers": ["hallpass.dev/a"]}}),
            ),
            Policy("hallpass-finalizers", "finalizers"),
        ),
        (
            "writes a Lease elsewhere",
            Attempt::post(&theirs, lease("hallpass", "replica")),
            NoRightAndPolicy(POLICY, "Leases in namespace hallpass-system only"),
        ),
    ]
}

/// An Event on a policy.
pub(super) fn event(namespace: &str, name: &str, controller: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
        "type": "Normal", "reason": "Ready", "note": "a", "action": "Report", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": controller, "reportingInstance": "hallpass-0",
        "regarding": {
            "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenPolicy", "namespace": namespace, "name": "orders",
        },
    })
}

pub(super) fn events(namespace: &str) -> Vec<Row> {
    const POLICY: &str = "hallpass-events";
    let group = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    let event = |controller: &str, version: &str, kind: &str| {
        let mut event = event(namespace, "a.1", controller);
        event["regarding"] =
            json!({"apiVersion": version, "kind": kind, "namespace": namespace, "name": "orders"});
        event
    };
    let (told, untouched) = (
        format!("{group}/told"),
        "neither changes nor deletes Events",
    );
    let old = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a.1", "namespace": namespace},
        "type": "Normal", "reason": "Ready", "message": "a", "source": {"component": "kubelet"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "app"},
    });
    let ours = "hallpass.dev/v1alpha1";
    let mut bare = event("hallpass-operator", "apps/v1", "ReplicaSet");
    bare["reason"] = json!("PodsWithoutSidecar");
    vec![
        (
            "tells a workload that its pods lack the sidecar",
            Attempt::post(&group, bare),
            Allowed,
        ),
        (
            "tells of a policy",
            Attempt::post(&group, event("hallpass-operator", ours, "TokenPolicy")),
            Allowed,
        ),
        (
            "speaks as the kubelet",
            Attempt::post(&group, event("kubelet", ours, "TokenPolicy")),
            Policy(POLICY, "reports as hallpass-operator only"),
        ),
        (
            "tells of a node",
            Attempt::post(&group, event("hallpass-operator", "v1", "Node")),
            Policy(POLICY, "reports on "),
        ),
        (
            "speaks as the kubelet, as of old",
            Attempt::post(&format!("/api/v1/namespaces/{namespace}/events"), old),
            NoRightAndPolicy(POLICY, "reports as hallpass-operator only"),
        ),
        (
            "changes what was told",
            Attempt::patch(&told, json!({"metadata": {"labels": {"a": "b"}}})),
            NoRightAndPolicy(POLICY, untouched),
        ),
        (
            "deletes what was told",
            Attempt::delete(&told),
            NoRightAndPolicy(POLICY, untouched),
        ),
    ]
}

/// Kubernetes lets no policy judge such configurations: the names are all that bounds the right.
pub(super) fn webhook() -> Vec<Row> {
    let all = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let own = format!("{all}/hallpass-inject");
    let nothing = json!({"metadata": {"annotations": {"a": "b"}}});
    vec![
        (
            "says whom the API server is to trust",
            Attempt::patch(&own, nothing.clone()),
            Allowed,
        ),
        (
            "changes another webhook",
            Attempt::patch(&format!("{all}/other"), nothing),
            NoRight,
        ),
        (
            "registers another webhook",
            Attempt::post(
                all,
                json!({
                    "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                    "metadata": {"name": "other"}, "webhooks": [],
                }),
            ),
            NoRight,
        ),
        ("deletes its webhook", Attempt::delete(&own), NoRight),
    ]
}

pub(super) fn trust(place: &Place) -> Vec<Row> {
    const POLICY: &str = "hallpass-trust-bundle";
    let bundles = "/apis/certificates.k8s.io/v1/clustertrustbundles";
    let own = format!("{bundles}/hallpass.dev:serving:{RELEASE}");
    let other = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle",
        "metadata": {"name": "hallpass.dev:other:a"}, "spec": {"signerName": "hallpass.dev/other", "trustBundle": place.authority},
    });
    let no_other = "writes no other ClusterTrustBundle than hallpass.dev:serving:hallpass-system";
    vec![
        (
            "publishes whom to trust",
            Attempt::patch(&own, json!({"metadata": {"annotations": {"a": "b"}}})),
            Allowed,
        ),
        (
            "has the bundle wait for it",
            Attempt::patch(
                &own,
                json!({"metadata": {"finalizers": ["hallpass.dev/a"]}}),
            ),
            Policy("hallpass-finalizers", "finalizers"),
        ),
        (
            "publishes another one",
            Attempt::post(bundles, other.clone()),
            NoRightAndPolicy(POLICY, no_other),
        ),
        // the name of its own one Kubernetes lets no other signer have
        (
            "publishes in the name of another signer",
            Attempt::post(bundles, other),
            Besides(POLICY, "of the signer hallpass.dev/serving only"),
        ),
        (
            "deletes the bundle",
            Attempt::delete(&own),
            NoRightAndPolicy(POLICY, no_other),
        ),
    ]
}
