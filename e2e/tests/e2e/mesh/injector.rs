//! An injector of somebody else's, for the pods of one namespace: a policy of the API server or a webhook, which comes before
//! ours or after it.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use axum::{Json, Router, extract::State, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hallpass_e2e::{
    cluster::{Cluster, Engine, engine},
    command::{kubectl, kubectl_with},
    https::{Https, Serving},
    manifest::Manifest,
    remark::remark,
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

/// Of what sort it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Policy,
    /// As those of meshes are.
    Webhook,
}

/// When it does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As soon as it is asked: before ours, where the API server asks in that order.
    Before,
    /// Once the sidecar is there.
    After,
}

pub(super) const CASES: [(Kind, Order); 4] = [
    (Kind::Policy, Order::Before),
    (Kind::Policy, Order::After),
    (Kind::Webhook, Order::Before),
    (Kind::Webhook, Order::After),
];

pub(super) struct Injector {
    kind: Kind,
    order: Order,
    /// Its objects, each with its kind.
    objects: Vec<(&'static str, String)>,
    _server: Option<Serving>,
}

/// What it does, to whose pods.
#[derive(Debug, Clone)]
struct Work {
    name: String,
    namespace: String,
    mark: String,
    order: Order,
    changes: Arc<[Change]>,
}

impl Injector {
    /// [`None`], with a remark, where the API server has no such policies or cannot ask this process.
    pub(super) async fn new(
        cluster: &Cluster,
        (kind, order): (Kind, Order),
        changes: &[Change],
    ) -> Result<Option<Self>> {
        let (namespace, mark) = (&cluster.namespace, mark(kind, order));
        // webhooks are asked in the order of their names, and ours is hallpass-inject
        let first = if order == Order::Before { "a-" } else { "" };
        let work = Work {
            name: format!("{first}mesh-{mark}-{namespace}"),
            namespace: namespace.clone(),
            mark,
            order,
            changes: changes.into(),
        };
        let (objects, server) = match kind {
            Kind::Policy => {
                let version = ["get", "--raw", "/apis/admissionregistration.k8s.io/v1"];
                let resources = kubectl(&version).await?.success()?;
                if !resources.contains("\"mutatingadmissionpolicies\"") {
                    remark(
                        "skipped on a cluster that has no such policies: an injector that is one",
                    );
                    return Ok(None);
                }
                (policy(&work).to_vec(), None)
            }
            Kind::Webhook => {
                if state::folder("an injector that is a webhook").is_none() {
                    return Ok(None);
                }
                let (object, server) = webhook(&work).await?;
                (vec![object], Some(server))
            }
        };
        let mut created = Vec::new();
        for (kind, object) in objects {
            let said = kubectl_with(&["create", "-f", "-"], &object.to_string()).await?;
            said.success()?;
            created.push((kind, work.name.clone()));
        }
        Ok(Some(Self {
            kind,
            order,
            objects: created,
            _server: server,
        }))
    }

    /// Whether it has done its work when ours is asked first; [`None`] where that is left to the API server.
    pub(super) fn comes_first(&self) -> Result<Option<bool>> {
        Ok(match (self.order, self.kind, engine()?) {
            (Order::After, _, _) => Some(false),
            // policies come in no order
            (Order::Before, Kind::Policy, Engine::AdmissionPolicy) => None,
            // and all of them before any webhook
            (Order::Before, Kind::Webhook, Engine::AdmissionPolicy) => Some(false),
            (Order::Before, _, Engine::Webhook) => Some(true),
        })
    }

    /// The pod as it is once this injector is in force.
    pub(super) async fn seen(&self, cluster: &Cluster, pod: &Manifest) -> Result<Value> {
        until(WHILE, "the other injector", || async {
            let seen = cluster.create(pod).accepted().await?;
            let found = seen["metadata"]["labels"]["mesh"].clone();
            ensure!(found == mark(self.kind, self.order), not_yet(found));
            Ok(seen)
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

    /// Takes it away, and waits until that pod is none of its business.
    pub(super) async fn gone(self, cluster: &Cluster, pod: &Manifest) -> Result<()> {
        for (kind, name) in self.objects.iter().rev() {
            kubectl(&["delete", kind, name]).await?.success()?;
        }
        until(WHILE, "the other injector is gone", || async {
            let seen = cluster.create(pod).accepted().await?;
            let found = &seen["metadata"]["labels"]["mesh"];
            ensure!(found.is_null(), not_yet(found));
            Ok(())
        })
        .await
    }
}

/// The value of the label by which it is known.
fn mark(kind: Kind, order: Order) -> String {
    format!("{kind:?}-{order:?}").to_lowercase()
}

/// Policies come in no order, so one that is to come after ours waits for the sidecar.
fn policy(work: &Work) -> [(&'static str, Value); 2] {
    let name = &work.name;
    let mark = format!(
        "JSONPatch{{op: 'add', path: '/metadata/labels/mesh', value: '{}'}}",
        work.mark
    );
    let done = "object.metadata.?labels[?'mesh'].hasValue()";
    let early = match work.order {
        Order::Before => "false",
        Order::After => "!object.spec.initContainers.exists(c, c.name == 'hallpass')",
    };
    let steps = work.changes.iter().map(|change| change.in_cel());
    let steps: Vec<_> = [mark].into_iter().chain(steps).collect();
    let expression = format!("{done} || {early} ? [] : [{}]", steps.join(", "));
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {"namespaceSelector": only(&work.namespace), "resourceRules": pods()},
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
async fn webhook(work: &Work) -> Result<((&'static str, Value), Serving)> {
    let https = Https::open().await?;
    let (url, authority) = (format!("https://{}/", https.address), &https.authority);
    let object = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": work.name},
        "webhooks": [{
            "name": "mesh.injector.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(authority)},
            "namespaceSelector": only(&work.namespace), "rules": pods(),
        }],
    });
    let router = Router::new().route("/", post(review));
    Ok((
        ("mutatingwebhookconfiguration", object),
        https.serve(router.with_state(work.clone())),
    ))
}

async fn review(State(work): State<Work>, Json(review): Json<Value>) -> Json<Value> {
    let pod = &review["request"]["object"];
    let inits = pod["spec"]["initContainers"].as_array();
    let there = inits.into_iter().flatten().any(|c| c["name"] == "hallpass");
    let early = work.order == Order::After && !there;
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    if pod["metadata"]["labels"]["mesh"].is_null() && !early {
        let mark = json!({"op": "add", "path": "/metadata/labels/mesh", "value": work.mark});
        let steps = work.changes.iter().map(|change| change.in_json());
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
