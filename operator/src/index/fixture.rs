//! Objects as the API server stores them, for tests.

use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation,
    token_audience::TokenAudience,
    token_issuer::TokenIssuer,
    token_policy::{AudienceRef, PolicySubject, PolicyToken, TokenPolicy, TokenPolicySpec},
    token_revocation::TokenRevocation,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, Pod, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    core::{PartialObjectMeta, PartialObjectMetaExt},
    runtime::watcher::Event,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Index, Metrics, Read, Stored, filed, listed, record};
use crate::issuer::fixture::now;

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

/// The `managedFields` of an object whose `top` field is nested deeper than a JSON value is read.
pub(crate) fn deep_fields(top: &str) -> Value {
    let deep = (0..200).fold(json!({}), |inner, _| json!({"f:a": inner}));
    json!([{"manager": "x", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {top: deep}}])
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
        kubernetes_audience: Some(format!("https://{name}.example")),
        audience_ref: None,
        scopes: None,
        lifetime: None,
        required: None,
        containers: None,
    }
}

/// A token of that name that asks for `scopes` of the audience of that name in `payments`.
pub(crate) fn audience_token(name: &str, audience: &str, scopes: &[&str]) -> PolicyToken {
    PolicyToken {
        kubernetes_audience: None,
        audience_ref: Some(AudienceRef {
            namespace: "payments".to_owned(),
            name: audience.to_owned(),
        }),
        scopes: Some(scopes.iter().map(|s| (*s).to_owned()).collect()),
        ..token(name)
    }
}

/// The audience `https://<name>.payments.svc` in namespace `payments`: `orders` of namespace `shop` may
/// have `read`, and `verifier` may introspect.
pub(crate) fn audience(name: &str, format: &str) -> TokenAudience {
    let stored = json!({
        "apiVersion": "hallpass.dev/v1alpha1",
        "kind": "TokenAudience",
        "metadata": metadata("payments", name),
        "spec": {
            "audience": format!("https://{name}.payments.svc"),
            "issuerRef": {"name": "hallpass"},
            "format": format,
            "scopes": [{"name": "read"}, {"name": "write"}],
            "allow": [{
                "from": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
                    "serviceAccounts": ["orders"],
                },
                "scopes": ["read"],
            }],
            "contact": "#payments-oncall",
            "guard": {"serviceAccounts": ["verifier"]},
        },
    });
    serde_json::from_value(stored).unwrap()
}

/// The issuer `hallpass` of `https://id.example`.
pub(crate) fn issuer() -> TokenIssuer {
    issuer_of("hallpass", "https://id.example")
}

/// An issuer of that name and URL.
pub(crate) fn issuer_of(name: &str, url: &str) -> TokenIssuer {
    let stored = json!({
        "apiVersion": "hallpass.dev/v1alpha1",
        "kind": "TokenIssuer",
        "metadata": metadata("", name),
        "spec": {"hallpass": {"issuerURL": url}},
    });
    serde_json::from_value(stored).unwrap()
}

/// A namespace with the label that every namespace has.
pub(crate) fn namespace(name: &str) -> PartialObjectMeta<Namespace> {
    ObjectMeta {
        labels: Some(owned([("kubernetes.io/metadata.name", name)])),
        ..metadata("", name)
    }
    .into_response_partial()
}

/// A revocation of namespace `shop` that was made at [`now`], under that version.
pub(crate) fn revocation(name: &str, version: u64, spec: &Value) -> TokenRevocation {
    let metadata = ObjectMeta {
        uid: Some(format!("0f2f4b9c-7c1c-4c5e-9f43-{version:012x}")),
        resource_version: Some(version.to_string()),
        creation_timestamp: Some(Time(now())),
        ..metadata("shop", name)
    };
    let stored = json!({
        "apiVersion": "hallpass.dev/v1alpha1",
        "kind": "TokenRevocation",
        "metadata": metadata,
        "spec": spec,
    });
    serde_json::from_value(stored).unwrap()
}

/// The same for the whole cluster.
pub(crate) fn cluster_revocation(name: &str, version: u64, spec: &Value) -> ClusterTokenRevocation {
    let mut stored =
        serde_json::to_value(revocation(name, version, &json!({"target": {}}))).unwrap();
    stored["kind"] = "ClusterTokenRevocation".into();
    stored["spec"] = spec.clone();
    stored["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("namespace");
    serde_json::from_value(stored).unwrap()
}

/// A policy that was stored under another schema.
pub(crate) fn unreadable(namespace: &str, name: &str) -> Stored<TokenPolicy> {
    let stored = json!({
        "apiVersion": "hallpass.dev/v1alpha1",
        "kind": "TokenPolicy",
        "metadata": metadata(namespace, name),
        "spec": {"subjects": "everybody", "tokens": []},
    });
    serde_json::from_value(stored).unwrap()
}

impl Index {
    /// The watches have delivered exactly these pods and service accounts, again.
    pub(crate) fn relist(
        &self,
        pods: Vec<PartialObjectMeta<Pod>>,
        service_accounts: Vec<PartialObjectMeta<ServiceAccount>>,
    ) {
        self.take_pods(filed(listed(pods), record::pod));
        self.take_service_accounts(filed(listed(service_accounts), record::service_account));
    }
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

impl Index {
    /// An index whose watches have delivered exactly these objects.
    pub(crate) fn filled(
        policies: Vec<TokenPolicy>,
        pods: Vec<PartialObjectMeta<Pod>>,
        service_accounts: Vec<PartialObjectMeta<ServiceAccount>>,
    ) -> Self {
        let index = Self::new(Metrics::default(), now);
        let guarded = policies.into_iter().map(|p| Stored(Ok(p)));
        index.take_policies(filed(listed(guarded), record::policy));
        index.take_pods(filed(listed(pods), record::pod));
        index.take_service_accounts(filed(listed(service_accounts), record::service_account));
        index.allow(vec![], vec![], vec![]);
        index.revoke(vec![], vec![]);
        index.0.standing.be_current(Instant::now());
        index
    }

    /// The watches have delivered exactly these audiences, issuers and namespaces.
    pub(crate) fn allow(
        &self,
        audiences: Vec<TokenAudience>,
        issuers: Vec<TokenIssuer>,
        namespaces: Vec<PartialObjectMeta<Namespace>>,
    ) {
        let audiences = audiences.into_iter().map(|a| Stored(Ok(a)));
        self.take_audiences(filed(listed(audiences), record::audience));
        let issuers = issuers.into_iter().map(|i| Stored(Ok(i)));
        self.take_issuers(filed(listed(issuers), record::issuer));
        self.take_namespaces(filed(listed(namespaces), record::namespace));
    }

    /// The watch delivers this audience, new or changed.
    pub(crate) fn deliver_audience(&self, audience: TokenAudience) {
        let event = Event::Apply(Stored(Ok(audience)));
        self.take_audiences(filed(vec![event], record::audience));
    }

    /// The watches have delivered exactly these revocations.
    pub(crate) fn revoke(&self, own: Vec<TokenRevocation>, cluster: Vec<ClusterTokenRevocation>) {
        let own = own.into_iter().map(|object| Stored(Ok(object)));
        self.take_revocations(filed(listed(own), Read::of::<TokenRevocation>));
        let cluster = cluster.into_iter().map(|object| Stored(Ok(object)));
        self.take_cluster_revocations(filed(listed(cluster), Read::of::<ClusterTokenRevocation>));
    }

    /// The watch delivers this revocation, new or changed.
    pub(crate) fn deliver_revocation(&self, revocation: TokenRevocation) {
        self.take_revocations(filed(
            vec![Event::Apply(Stored(Ok(revocation)))],
            Read::of::<TokenRevocation>,
        ));
    }

    /// The watch delivers these revocations, new or changed.
    pub(crate) fn deliver_cluster_revocations(&self, all: Vec<ClusterTokenRevocation>) {
        let events = all.into_iter().map(|one| Event::Apply(Stored(Ok(one))));
        self.take_cluster_revocations(filed(events.collect(), Read::of::<ClusterTokenRevocation>));
    }

    /// The watch tells that this revocation was deleted.
    pub(crate) fn delete_cluster_revocation(&self, revocation: ClusterTokenRevocation) {
        self.take_cluster_revocations(filed(
            vec![Event::Delete(Stored(Ok(revocation)))],
            Read::of::<ClusterTokenRevocation>,
        ));
    }

    /// The watch says that this revocation was deleted.
    pub(crate) fn withdraw_revocation(&self, revocation: TokenRevocation) {
        self.take_revocations(filed(
            vec![Event::Delete(Stored(Ok(revocation)))],
            Read::of::<TokenRevocation>,
        ));
    }

    /// The watch delivers a revocation of that name in `shop` that was stored under another schema.
    pub(crate) fn deliver_unreadable_revocation(&self, name: &str) {
        let stored = json!({"metadata": metadata("shop", name), "spec": {"target": "everybody"}});
        let stored = serde_json::from_value(stored).unwrap();
        self.take_revocations(filed(
            vec![Event::Apply(stored)],
            Read::of::<TokenRevocation>,
        ));
    }

    /// The watch delivers this policy, new or changed.
    pub(crate) fn deliver(&self, policy: Stored<TokenPolicy>) {
        self.take_policies(filed(vec![Event::Apply(policy)], record::policy));
    }

    /// The watch tells that this policy was deleted.
    pub(crate) fn delete_policy(&self, policy: TokenPolicy) {
        let event = Event::Delete(Stored(Ok(policy)));
        self.take_policies(filed(vec![event], record::policy));
    }

    /// The watch delivers this pod, new or changed.
    pub(crate) fn deliver_pod(&self, pod: PartialObjectMeta<Pod>) {
        self.take_pods(filed(vec![Event::Apply(pod)], record::pod));
    }
}
