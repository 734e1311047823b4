//! An injector of somebody else's, for the pods of one namespace. It is of the sort that ours is, a policy of the API
//! server or a webhook, and comes after ours.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use axum::{Json, Router, extract::State, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hallpass_e2e::{
    cluster::{Cluster, Engine, engine},
    command::{kubectl, kubectl_with},
    https::{Https, Serving},
    manifest::Manifest,
    state,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

/// One step of what it does to a pod.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// The mesh's native sidecar comes at that place of the init containers.
    ProxyAt(&'static str),
    /// What is at that path is taken out.
    Remove(&'static str),
}

pub(super) struct Injector {
    /// Its objects, each with its kind.
    objects: Vec<(&'static str, String)>,
    _server: Option<Serving>,
}

impl Injector {
    /// [`None`], with a remark, where the API server cannot ask this process.
    pub(super) async fn new(cluster: &Cluster, changes: &[Change]) -> Result<Option<Self>> {
        let namespace = &cluster.namespace;
        let (objects, server) = match engine()? {
            Engine::AdmissionPolicy => (policy(namespace, changes).to_vec(), None),
            Engine::Webhook => {
                if state::folder("an injector after ours").is_none() {
                    return Ok(None);
                }
                let (object, server) = webhook(namespace, changes).await?;
                (vec![object], Some(server))
            }
        };
        let mut created = Vec::new();
        for (kind, object) in objects {
            let said = kubectl_with(&["create", "-f", "-"], &object.to_string()).await?;
            said.success()?;
            created.push((kind, name(namespace)));
        }
        Ok(Some(Self {
            objects: created,
            _server: server,
        }))
    }

    /// The pod as it is once this injector is in force.
    pub(super) async fn seen(&self, cluster: &Cluster, pod: &Manifest) -> Result<Value> {
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

    /// The pod is refused by that policy of ours once this injector is in force.
    pub(super) async fn refused(
        &self,
        cluster: &Cluster,
        pod: &Manifest,
        policy: &str,
        why: &[&str],
    ) -> Result<()> {
        until(WHILE, "the other injector", || {
            cluster.create(pod).refused_by(policy, why)
        })
        .await
    }

    pub(super) async fn gone(self) -> Result<()> {
        for (kind, name) in self.objects.iter().rev() {
            kubectl(&["delete", kind, name]).await?.success()?;
        }
        Ok(())
    }
}

/// Of its objects. Webhooks are asked in the order of their names: this one's comes after ours.
fn name(namespace: &str) -> String {
    format!("mesh-{namespace}")
}

/// Policies come in no order, so this one waits for the sidecar: then it comes after ours.
fn policy(namespace: &str, changes: &[Change]) -> [(&'static str, Value); 2] {
    let name = name(namespace);
    let mark = "JSONPatch{op: 'add', path: '/metadata/labels/mesh', value: 'seen'}";
    let done = "object.metadata.?labels[?'mesh'].hasValue()";
    let early = "!object.spec.initContainers.exists(c, c.name == 'hallpass')";
    let steps = changes.iter().map(|change| change.in_cel());
    let steps: Vec<_> = [mark.to_owned()].into_iter().chain(steps).collect();
    let expression = format!("{done} || {early} ? [] : [{}]", steps.join(", "));
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {"namespaceSelector": only(namespace), "resourceRules": pods()},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name},
    });
    [
        ("mutatingadmissionpolicy", policy),
        ("mutatingadmissionpolicybinding", binding),
    ]
}

/// It answers from this process.
async fn webhook(namespace: &str, changes: &[Change]) -> Result<((&'static str, Value), Serving)> {
    let https = Https::open().await?;
    let (url, authority) = (format!("https://{}/", https.address), &https.authority);
    let object = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name(namespace)},
        "webhooks": [{
            "name": "mesh.injector.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(authority)},
            "namespaceSelector": only(namespace), "rules": pods(),
        }],
    });
    let changes: Arc<[Change]> = changes.into();
    let router = Router::new().route("/", post(review)).with_state(changes);
    Ok((
        ("mutatingwebhookconfiguration", object),
        https.serve(router),
    ))
}

async fn review(State(changes): State<Arc<[Change]>>, Json(review): Json<Value>) -> Json<Value> {
    let pod = &review["request"]["object"];
    let inits = pod["spec"]["initContainers"].as_array();
    let early = !inits.into_iter().flatten().any(|c| c["name"] == "hallpass");
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    if pod["metadata"]["labels"]["mesh"].is_null() && !early {
        let mark = json!({"op": "add", "path": "/metadata/labels/mesh", "value": "seen"});
        let steps = changes.iter().map(|change| change.in_json());
        let patch: Vec<_> = [mark].into_iter().chain(steps).collect();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(json!(patch).to_string()));
    }
    Json(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    }))
}

fn only(namespace: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}})
}

fn pods() -> Value {
    json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}])
}

impl Change {
    fn in_cel(self) -> String {
        match self {
            Self::ProxyAt(place) => format!(
                "JSONPatch{{op: 'add', path: '/spec/initContainers/{place}', value: Object.spec.initContainers{{\
                 name: 'istio-proxy', image: '{IMAGE}', restartPolicy: 'Always'}}}}"
            ),
            Self::Remove(path) => format!("JSONPatch{{op: 'remove', path: '{path}'}}"),
        }
    }

    fn in_json(self) -> Value {
        match self {
            Self::ProxyAt(place) => json!({
                "op": "add", "path": format!("/spec/initContainers/{place}"),
                "value": {"name": "istio-proxy", "image": IMAGE, "restartPolicy": "Always"},
            }),
            Self::Remove(path) => json!({"op": "remove", "path": path}),
        }
    }
}

const IMAGE: &str = "registry.local/demo-app:e2e";
const WHILE: Duration = Duration::from_secs(30);
