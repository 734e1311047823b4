//! Other injectors before and after ours: where the sidecar stands among their containers, and what
//! they may not do to it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, Engine, engine},
    command::{kubectl, kubectl_with},
    injection::Injection,
    manifest::{Manifest, container, container_with, pod},
    remark::remark,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const POLICY: &str = "hallpass-injected";
const BEHIND: &str =
    "init container hallpass must come after istio-proxy, which carries the pod's traffic";

/// An injector that is a policy of the API server, for the pods of one namespace. Policies come in no
/// order, so it waits for the sidecar: then it comes after ours.
struct Injector(String);

impl Injector {
    async fn new(cluster: &Cluster, patch: &str) -> Result<Option<Self>> {
        if engine()? == Engine::Webhook {
            remark(
                "skipped on a cluster without MutatingAdmissionPolicies: an injector after ours",
            );
            return Ok(None);
        }
        let name = format!("mesh-{}", cluster.namespace);
        let mark = "JSONPatch{op: 'add', path: '/metadata/labels/mesh', value: 'seen'}";
        let done = "object.metadata.?labels[?'mesh'].hasValue()";
        let early = "!object.spec.initContainers.exists(c, c.name == 'hallpass')";
        let expression = format!("{done} || {early} ? [] : [{mark}] + {patch}");
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}},
                    "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                },
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name},
        });
        for object in [policy, binding] {
            let said = kubectl_with(&["create", "-f", "-"], &object.to_string()).await?;
            said.success()?;
        }
        Ok(Some(Self(name)))
    }

    /// The pod as it is once this injector is in force.
    async fn seen(&self, cluster: &Cluster, pod: &Manifest) -> Result<Value> {
        until(WHILE, "the other injector", || async {
            let seen = cluster.create(pod).accepted().await?;
            let mark = seen["metadata"]["labels"]["mesh"].clone();
            if mark == "seen" {
                Ok(seen)
            } else {
                Err(not_yet(mark))
            }
        })
        .await
    }

    /// The pod is refused once this injector is in force.
    async fn refused(&self, cluster: &Cluster, pod: &Manifest, why: &[&str]) -> Result<()> {
        until(WHILE, "the other injector", || {
            cluster.create(pod).refused_by(POLICY, why)
        })
        .await
    }

    async fn gone(self) -> Result<()> {
        for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
            kubectl(&["delete", kind, &self.0]).await?.success()?;
        }
        Ok(())
    }
}

/// The mesh's native sidecar at that place, as CEL.
fn proxy_at(place: &str) -> String {
    format!(
        "[JSONPatch{{op: 'add', path: '/spec/initContainers/{place}', value: Object.spec.initContainers{{\
         name: 'istio-proxy', image: 'registry.local/demo-app:e2e', restartPolicy: 'Always'}}}}]"
    )
}

/// A pod with an init container, so that the other injector has a list to add to.
fn shape() -> Manifest {
    pod("shape").with("/spec/initContainers", json!([container("migrate")]))
}

fn inits(pod: &Value) -> Vec<&str> {
    let inits = pod["spec"]["initContainers"].as_array();
    inits
        .into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .collect()
}

#[tokio::test]
async fn the_sidecar_comes_right_after_the_mesh_that_is_there() -> Result<()> {
    let cluster = Cluster::shared("behind").await?;
    let native = |name: &str| container_with(name, json!({"restartPolicy": "Always"}));
    for (before, inits) in [
        (1, json!([native("istio-proxy"), container("migrate")])),
        (
            2,
            json!([
                container("istio-init"),
                native("istio-proxy"),
                container("migrate")
            ]),
        ),
        (
            3,
            json!([
                native("linkerd-proxy"),
                container("migrate"),
                native("istio-proxy")
            ]),
        ),
        // the same names, but nothing that goes on running
        (0, json!([container("istio-proxy"), container("migrate")])),
        (0, json!([native("envoy"), container("migrate")])),
    ] {
        let pod = pod("shape").with("/spec/initContainers", inits.clone());
        let seen = Injection::default().after(before).of(&cluster, &pod).await;
        seen.with_context(|| inits.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn an_injector_after_ours_may_put_its_sidecar_in_front() -> Result<()> {
    let cluster = Cluster::shared("after").await?;
    let Some(mesh) = Injector::new(&cluster, &proxy_at("0")).await? else {
        return Ok(());
    };
    let seen = mesh.seen(&cluster, &shape().injected()).await?;
    let expected = ["istio-proxy", "hallpass", "migrate"];
    ensure!(inits(&seen) == expected, "{:?}", inits(&seen));
    // ours was called again after that, and added nothing twice
    let ours = |list: &str| {
        let list = seen["spec"][list].as_array().into_iter().flatten();
        let names = list.filter_map(|v| v["name"].as_str());
        names.filter(|name| name.starts_with("hallpass")).count()
    };
    ensure!(
        (ours("initContainers"), ours("volumes")) == (1, 4),
        "{seen}"
    );
    mesh.gone().await
}

#[tokio::test]
async fn an_injector_after_ours_may_not_put_its_sidecar_behind() -> Result<()> {
    let cluster = Cluster::shared("wrong").await?;
    let Some(mesh) = Injector::new(&cluster, &proxy_at("-")).await? else {
        return Ok(());
    };
    mesh.refused(&cluster, &shape().injected(), &[BEHIND])
        .await?;
    mesh.gone().await
}

#[tokio::test]
async fn t27_an_injector_after_ours_may_not_damage_the_sidecar() -> Result<()> {
    let cluster = Cluster::shared("damage").await?;
    let damage = "[JSONPatch{op: 'remove', path: '/spec/initContainers/0/startupProbe'}]";
    let Some(mesh) = Injector::new(&cluster, damage).await? else {
        return Ok(());
    };
    let why = [
        "the startupProbe of init container hallpass",
        "a mutating webhook after injection changed it",
    ];
    mesh.refused(&cluster, &shape().injected(), &why).await?;
    mesh.gone().await
}

/// What is taken out altogether is put in again: our policy is called once more.
#[tokio::test]
async fn t27_an_injector_after_ours_that_drops_the_sidecar_has_it_put_in_again() -> Result<()> {
    let cluster = Cluster::shared("drop").await?;
    let undo = "[JSONPatch{op: 'remove', path: '/spec/initContainers/0'}, \
                JSONPatch{op: 'remove', path: '/spec/volumes'}, \
                JSONPatch{op: 'remove', path: '/spec/containers/0/volumeMounts'}, \
                JSONPatch{op: 'remove', path: '/spec/initContainers/0/volumeMounts'}]";
    let Some(mesh) = Injector::new(&cluster, undo).await? else {
        return Ok(());
    };
    let pod = shape()
        .injected()
        .with("/spec/automountServiceAccountToken", json!(false));
    let seen = mesh.seen(&cluster, &pod).await?;
    ensure!(
        inits(&seen) == ["hallpass", "migrate"],
        "{:?}",
        inits(&seen)
    );
    mesh.gone().await
}

const WHILE: Duration = Duration::from_secs(30);
