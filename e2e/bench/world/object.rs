//! The objects, each with the path at which it is created.

use hallpass_core::name::TokenId;
use serde_json::{Value, json};

use super::{
    APIS, NAMESPACES, NODE, OPAQUE, PODS, POLICIES, TOKENS, VERIFIER_PODS, VERIFIERS, audience,
};

/// What is created at a path.
pub(super) type Object = (String, Value);

const GROUP: &str = "/apis/hallpass.dev/v1alpha1/namespaces";

/// All that must be there before the pods, in groups: those of one are created at once.
pub(super) fn before_pods() -> Vec<Vec<Object>> {
    let namespaces = (0..NAMESPACES).map(namespace_name).chain([APIS.to_owned()]);
    let mut first: Vec<Object> = namespaces.map(|name| namespace(&name)).collect();
    first.push(node());
    let mut accounts: Vec<Object> = (0..POLICIES)
        .map(|i| account(&namespace_of(i), &consumer(i)))
        .collect();
    accounts.extend((0..VERIFIERS).map(|i| account(APIS, &verifier(i))));
    let audiences = (0..TOKENS).map(token_audience).collect();
    let policies = (0..POLICIES).map(policy).collect();
    vec![first, accounts, audiences, policies]
}

/// The pods that may have tokens.
pub(super) fn consumers() -> Vec<Object> {
    let of = |i: usize| (0..PODS).map(move |pod| (i, pod));
    let all = (0..POLICIES).flat_map(of);
    all.map(|(i, number)| pod(&namespace_of(i), &consumer(i), number))
        .collect()
}

/// The pods of those who check tokens.
pub(super) fn verifiers() -> Vec<Object> {
    let of = |i: usize| (0..VERIFIER_PODS).map(move |pod| (i, pod));
    let all = (0..VERIFIERS).flat_map(of);
    all.map(|(i, number)| pod(APIS, &verifier(i), number))
        .collect()
}

/// Revocations of tokens that nobody has, in the namespaces of the policies and one of ten in none: a tenth of
/// the room is for the cluster's own.
pub(super) fn revocations(count: usize) -> Vec<Object> {
    (0..count).map(revocation).collect()
}

fn revocation(number: usize) -> Object {
    let token = TokenId::from_random(rand::random());
    let (kind, path) = if number.is_multiple_of(10) {
        let path = "/apis/hallpass.dev/v1alpha1/clustertokenrevocations";
        ("ClusterTokenRevocation", path.to_owned())
    } else {
        let path = format!(
            "{GROUP}/{}/tokenrevocations",
            namespace_of(number / 10 * 9 + number % 10)
        );
        ("TokenRevocation", path)
    };
    let object = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": kind,
        "metadata": {"name": format!("revocation-{number}")},
        "spec": {"target": {"tokenID": token.as_str()}},
    });
    (path, object)
}

fn namespace_name(number: usize) -> String {
    format!("bench-{number}")
}

fn namespace_of(policy: usize) -> String {
    namespace_name(policy % NAMESPACES)
}

fn consumer(policy: usize) -> String {
    format!("consumer-{policy}")
}

fn verifier(number: usize) -> String {
    format!("verifier-{number}")
}

fn namespace(name: &str) -> Object {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"bench": "consumers"}},
    });
    ("/api/v1/namespaces".to_owned(), object)
}

fn node() -> Object {
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    ("/api/v1/nodes".to_owned(), object)
}

fn account(namespace: &str, name: &str) -> Object {
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    (
        format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
        object,
    )
}

fn token_audience(number: usize) -> Object {
    let format = if number == OPAQUE { "Opaque" } else { "JWT" };
    let guard: Vec<_> = (0..VERIFIERS).map(verifier).collect();
    let object = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenAudience",
        "metadata": {"name": format!("api-{number}")},
        "spec": {
            "audience": audience(number), "issuerRef": {"name": "hallpass"}, "format": format,
            "scopes": [{"name": "read"}, {"name": "write"}], "maxLifetime": "1h",
            "allow": [{
                "from": {
                    "namespaceSelector": {"matchLabels": {"bench": "consumers"}},
                    "serviceAccounts": ["*"],
                },
                "scopes": ["read"],
            }],
            "guard": {"serviceAccounts": guard},
        },
    });
    (format!("{GROUP}/{APIS}/tokenaudiences"), object)
}

fn policy(number: usize) -> Object {
    let token = |audience: usize| {
        json!({
            "name": format!("api-{audience}"), "scopes": ["read"], "required": false,
            "audienceRef": {"namespace": APIS, "name": format!("api-{audience}")},
        })
    };
    let tokens: Vec<Value> = (0..TOKENS).map(token).collect();
    let object = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenPolicy",
        "metadata": {"name": consumer(number)},
        "spec": {"subjects": [{"serviceAccount": consumer(number)}], "tokens": tokens},
    });
    (
        format!("{GROUP}/{}/tokenpolicies", namespace_of(number)),
        object,
    )
}

/// On a node that nobody tends, and so it stays as it is.
fn pod(namespace: &str, account: &str, number: usize) -> Object {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{account}-{number}"), "namespace": namespace,
            "labels": {"hallpass.dev/inject": "true", "app": account},
        },
        "spec": {
            "nodeName": NODE, "serviceAccountName": account, "automountServiceAccountToken": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "app", "image": "registry.local/none"}],
        },
    });
    (format!("/api/v1/namespaces/{namespace}/pods"), object)
}
