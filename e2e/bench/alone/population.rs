//! The objects that the operator watches.

use hallpass_crds::manifest;
use hallpass_e2e::cluster::RELEASE;
use serde_json::{Value, json};

use crate::standin::store::Store;

/// The path of the policies.
pub(crate) const POLICIES: &str = "hallpass.dev/v1alpha1/tokenpolicies";
/// The path of the audiences.
pub(crate) const AUDIENCES: &str = "hallpass.dev/v1alpha1/tokenaudiences";
/// The tokens of a policy, each of an audience of its own.
pub(crate) const TOKENS: usize = 10;
/// The namespaces of the policies.
const NAMESPACES: usize = 100;
/// The namespace of the audiences.
const APIS: &str = "apis";

/// How many there are of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Population {
    /// Each for a service account of its own.
    pub(crate) policies: usize,
    pub(crate) pods: usize,
}

/// A pod, and whose it is.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) account: String,
    pub(crate) account_uid: String,
}

/// The name of a token within its policy.
pub(crate) fn token_name(number: usize) -> String {
    format!("t{number}")
}

impl Population {
    /// The pod of that number.
    pub(crate) fn pod(&self, number: usize) -> Pod {
        let policy = number % self.policies;
        Pod {
            namespace: namespace_of(policy),
            name: format!("consumer-{policy}-{number}"),
            uid: uid(1, number),
            account: account(policy),
            account_uid: uid(2, policy),
        }
    }

    /// Puts what is there before policies and pods are: what the chart makes, and the audiences.
    pub(super) fn begin(&self, store: &Store) {
        release(store);
        let namespaces = (0..NAMESPACES.min(self.policies)).map(namespace_of);
        for namespace in namespaces.chain([APIS, RELEASE].map(ToOwned::to_owned)) {
            let metadata = json!({"name": namespace, "labels": {"bench": "consumers"}});
            store.put(
                "v1/namespaces",
                "",
                object("v1", "Namespace", metadata, json!({})),
            );
        }
        for number in 0..TOKENS {
            store.put(AUDIENCES, APIS, audience(number));
        }
    }

    /// Puts policies and pods.
    pub(super) fn put(&self, store: &Store) {
        for policy in 0..self.policies {
            let metadata = json!({"name": account(policy), "uid": uid(2, policy)});
            let account = object("v1", "ServiceAccount", metadata, json!({}));
            store.put("v1/serviceaccounts", &namespace_of(policy), account);
            store.put(POLICIES, &namespace_of(policy), self::policy(policy));
        }
        for number in 0..self.pods {
            let pod = self.pod(number);
            let namespace = pod.namespace.clone();
            store.put("v1/pods", &namespace, running(pod));
        }
    }
}

/// What the chart makes.
fn release(store: &Store) {
    for manifest in manifest::all() {
        let name = json!({"name": format!("{}.hallpass.dev", manifest.plural)});
        let version = "apiextensions.k8s.io/v1";
        store.put(
            &format!("{version}/customresourcedefinitions"),
            "",
            object(version, "CustomResourceDefinition", name, json!({})),
        );
    }
    let version = "rbac.authorization.k8s.io/v1";
    let role = object(
        version,
        "ClusterRole",
        json!({"name": "hallpass-operator"}),
        json!({}),
    );
    store.put("rbac.authorization.k8s.io/v1/clusterroles", "", role);
    let lease = object(
        "coordination.k8s.io/v1",
        "Lease",
        json!({"name": "hallpass"}),
        json!({"spec": {}}),
    );
    store.put("coordination.k8s.io/v1/leases", RELEASE, lease);
    let more = json!({"type": "hallpass.dev/serving"});
    let secret = object("v1", "Secret", json!({"name": "hallpass-serving"}), more);
    store.put("v1/secrets", RELEASE, secret);
}

fn object(version: &str, kind: &str, metadata: Value, mut rest: Value) -> Value {
    rest["apiVersion"] = json!(version);
    rest["kind"] = json!(kind);
    rest["metadata"] = metadata;
    rest
}

fn audience(number: usize) -> Value {
    let spec = json!({
        "audience": format!("https://api-{number}.{APIS}.svc"), "issuerRef": {"name": "hallpass"},
        "format": "JWT", "scopes": [{"name": "read"}, {"name": "write"}], "maxLifetime": "1h",
        "allow": [{
            "from": {"namespaceSelector": {"matchLabels": {"bench": "consumers"}}, "serviceAccounts": ["*"]},
            "scopes": ["read"],
        }],
    });
    let metadata = json!({"name": format!("api-{number}")});
    object(
        "hallpass.dev/v1alpha1",
        "TokenAudience",
        metadata,
        json!({"spec": spec}),
    )
}

fn policy(number: usize) -> Value {
    let token = |number: usize| {
        json!({
            "name": token_name(number), "scopes": ["read"],
            "audienceRef": {"namespace": APIS, "name": format!("api-{number}")},
        })
    };
    let tokens: Vec<Value> = (0..TOKENS).map(token).collect();
    let spec = json!({"subjects": [{"serviceAccount": account(number)}], "tokens": tokens});
    let metadata = json!({"name": account(number)});
    object(
        "hallpass.dev/v1alpha1",
        "TokenPolicy",
        metadata,
        json!({"spec": spec}),
    )
}

/// With what the API server keeps of who wrote which field: of a pod's metadata that is most.
fn running(pod: Pod) -> Value {
    let Pod {
        name, uid, account, ..
    } = pod;
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": account, "uid": uid, "controller": true,
    });
    let metadata = json!({
        "name": name, "uid": uid, "generateName": format!("{account}-"), "ownerReferences": [owner],
        "labels": {
            "app": account, "pod-template-hash": "7d4b9c5f6d", "app.kubernetes.io/part-of": "bench",
            "hallpass.dev/inject": "true", "hallpass.dev/injected": "true",
        },
        "annotations": {"hallpass.dev/service-account": account},
        "managedFields": [
            managed("kube-controller-manager", "", MADE), managed("kubelet", "status", TOLD),
        ],
    });
    object(
        "v1",
        "Pod",
        metadata,
        json!({"status": {"phase": "Running"}}),
    )
}

fn managed(manager: &str, subresource: &str, fields: &str) -> Value {
    let fields = fields.split(' ').map(|field| (field.to_owned(), json!({})));
    json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "subresource": subresource, "time": "2026-01-01T00:00:00Z",
        "fieldsV1": fields.collect::<serde_json::Map<_, _>>(),
    })
}

fn namespace_of(policy: usize) -> String {
    format!("bench-{}", policy % NAMESPACES)
}

fn account(policy: usize) -> String {
    format!("consumer-{policy}")
}

fn uid(kind: usize, number: usize) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

const MADE: &str = "f:metadata f:generateName f:labels f:app f:pod-template-hash f:ownerReferences f:spec \
     f:containers f:image f:imagePullPolicy f:name f:resources f:terminationMessagePath f:env f:ports \
     f:terminationMessagePolicy f:dnsPolicy f:enableServiceLinks f:restartPolicy f:schedulerName \
     f:securityContext f:serviceAccountName f:terminationGracePeriodSeconds";
const TOLD: &str = "f:status f:conditions f:lastProbeTime f:lastTransitionTime f:status f:type f:containerStatuses \
     f:hostIP f:phase f:podIP f:podIPs f:startTime f:initContainerStatuses";
