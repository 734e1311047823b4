//! Objects as the API server stores them, for tests.

use hallpass_crds::token_policy::{PolicySubject, PolicyToken, TokenPolicy, TokenPolicySpec};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::core::{DeserializeGuard, PartialObjectMeta, PartialObjectMetaExt};
use serde_json::json;

/// A pod with the sidecar under that service account, labelled `app: <service account>`. Its uid is
/// `uid-<namespace>-<name>`, as that of every object here.
pub(crate) fn pod(namespace: &str, name: &str, account: &str) -> PartialObjectMeta<Pod> {
    let labels = [("hallpass.dev/injected", "true"), ("app", account)];
    let annotations = [("hallpass.dev/service-account", account)];
    ObjectMeta {
        labels: Some(owned(labels)),
        annotations: Some(owned(annotations)),
        ..metadata(namespace, name)
    }
    .into_response_partial()
}

/// A service account.
pub(crate) fn service_account(namespace: &str, name: &str) -> PartialObjectMeta<ServiceAccount> {
    metadata(namespace, name).into_response_partial()
}

/// A policy for that service account with the one token `vault`.
pub(crate) fn policy(namespace: &str, name: &str, account: &str) -> TokenPolicy {
    TokenPolicy {
        metadata: metadata(namespace, name),
        spec: TokenPolicySpec {
            subjects: vec![subject(account)],
            tokens: vec![token("vault")],
        },
        status: None,
    }
}

/// Every pod under that service account.
pub(crate) fn subject(account: &str) -> PolicySubject {
    PolicySubject {
        service_account: account.to_owned(),
        pod_selector: None,
    }
}

/// A token of that name, with an audience to match.
pub(crate) fn token(name: &str) -> PolicyToken {
    PolicyToken {
        name: name.to_owned(),
        kubernetes_audience: format!("https://{name}.example"),
        lifetime: None,
        required: None,
        containers: None,
    }
}

/// A policy that was stored under another schema.
pub(crate) fn unreadable(namespace: &str, name: &str) -> DeserializeGuard<TokenPolicy> {
    let stored = json!({
        "apiVersion": "hallpass.dev/v1alpha1",
        "kind": "TokenPolicy",
        "metadata": metadata(namespace, name),
        "spec": {"subjects": "everybody", "tokens": []},
    });
    serde_json::from_value(stored).unwrap()
}

fn metadata(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(format!("uid-{namespace}-{name}")),
        resource_version: Some("1".to_owned()),
        generation: Some(1),
        creation_timestamp: Some(Time(Timestamp::UNIX_EPOCH)),
        ..ObjectMeta::default()
    }
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> std::collections::BTreeMap<String, String> {
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}
