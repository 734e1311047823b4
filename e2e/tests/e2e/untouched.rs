//! The usual pod costs one expression: of one that is as injection leaves it nothing more is asked.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    command::{kubectl, kubectl_with},
    manifest::{Manifest, container, container_with, pod},
    wait::until,
};
use serde_json::{Value, json};

const POLICY: &str = "hallpass-injected";
const CONDITION: &str = "touched";

type Shape = (&'static str, fn() -> Manifest);

#[rustfmt::skip]
const USUAL: &[Shape] = &[
    ("one container", || pod("shape").injected()),
    ("several", || {
        let inits = json!([container("early"), container_with("beside", json!({"restartPolicy": "Always"}))]);
        pod("shape").injected().with("/spec/initContainers", inits).with("/spec/containers/-", container("side"))
    }),
    ("a mesh before it", || {
        let mesh = container_with("istio-proxy", json!({"restartPolicy": "Always"}));
        pod("shape").injected().with("/spec/initContainers", json!([mesh, container("early")]))
    }),
    ("no API token", || pod("shape").injected().with("/spec/automountServiceAccountToken", json!(false))),
    ("annotations of others", || pod("shape").injected().annotation("example.com/a", "b")),
    ("resources", || {
        let same = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
        pod("shape").injected().with("/spec/containers/0/resources", same)
    }),
];

#[rustfmt::skip]
const OTHERS: &[Shape] = &[
    ("a wish", || pod("shape").injected().annotation("hallpass.dev/start", "Immediate")),
    ("a user", || pod("shape").injected().annotation("hallpass.dev/run-as-user", "1000")),
];

#[tokio::test]
async fn of_a_pod_as_injection_leaves_it_nothing_more_is_asked() -> Result<()> {
    let cluster = Cluster::shared("untouched").await?;
    let get = ["get", "validatingadmissionpolicy", POLICY, "-o", "json"];
    let policy: Value = serde_json::from_str(&kubectl(&get).await?.success()?)?;
    let conditions = policy["spec"]["matchConditions"].as_array();
    let mut conditions = conditions.context("its conditions")?.iter();
    let touched = conditions.find(|condition| condition["name"] == CONDITION);
    let touched = touched.with_context(|| format!("condition {CONDITION}"))?;
    let asking = Asking::made(&cluster, touched).await?;
    let told = tells_apart(&cluster, &asking.0).await;
    asking.gone().await?;
    told
}

async fn tells_apart(cluster: &Cluster, asking: &str) -> Result<()> {
    for (what, shape) in OTHERS {
        let pod = shape();
        until(
            Duration::from_secs(30),
            "refused by whoever asks more",
            || cluster.create(&pod).refused_by(asking, &["more is asked"]),
        )
        .await
        .context(*what)?;
    }
    for (what, shape) in USUAL {
        let accepted = cluster.create(&shape()).accepted().await;
        accepted.context(*what)?;
    }
    Ok(())
}

/// A policy that refuses every pod of the test's namespace on which that condition holds.
struct Asking(String);

impl Asking {
    async fn made(cluster: &Cluster, condition: &Value) -> Result<Self> {
        let name = cluster.namespace.clone();
        let metadata = json!({"name": name});
        let version = "admissionregistration.k8s.io/v1";
        let policy = json!({
            "apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": metadata,
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                    "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                },
                "matchConditions": [condition],
                "validations": [{"expression": "false", "message": "more is asked"}],
            },
        });
        let binding = json!({
            "apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        let both = format!("{policy}\n---\n{binding}");
        kubectl_with(&["create", "-f", "-"], &both)
            .await?
            .success()?;
        Ok(Self(name))
    }

    async fn gone(self) -> Result<()> {
        for kind in [
            "validatingadmissionpolicybinding",
            "validatingadmissionpolicy",
        ] {
            kubectl(&["delete", kind, &self.0]).await?.success()?;
        }
        Ok(())
    }
}
