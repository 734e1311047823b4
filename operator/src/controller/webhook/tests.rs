use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hallpass_core::name::Namespace;

use super::*;
use crate::issuer::fixture::{ApiServer, Reply, status};

const GUARANTEED: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hallpass-inject";
const BY_POLICY: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hallpass-inject-by-policy";

/// A configuration with two webhooks, as the chart writes it.
fn chart(name: &str) -> Value {
    let webhook = |name: &str| {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "hallpass", "namespace": "hallpass-system", "path": "/inject/pod"}},
        })
    };
    json!({
        "metadata": {"name": name, "resourceVersion": "7"},
        "webhooks": [webhook("pod.inject.hallpass.dev"), webhook("namespace.inject.hallpass.dev")],
    })
}

type Stored = Arc<Mutex<Value>>;

/// An API server that applies a patch to the `caBundle`s, as far as it is of the version that is stored.
fn server(stored: &Stored) -> ApiServer {
    let (read, written) = (Arc::clone(stored), Arc::clone(stored));
    let script = ApiServer::default()
        .on(leak("GET", GUARANTEED), move |_| {
            Reply::Json(200, read.lock().unwrap().clone())
        })
        .on(leak("GET", BY_POLICY), |_| absent());
    script.on(leak("PATCH", GUARANTEED), move |patch| {
        let mut stored = written.lock().unwrap();
        if patch["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"] {
            return status(409, "mutatingwebhookconfigurations", "changed");
        }
        for (webhook, patch) in stored["webhooks"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .zip(patch["webhooks"].as_array().unwrap())
        {
            assert_eq!(webhook["name"], patch["name"]);
            webhook["clientConfig"]["caBundle"] = patch["clientConfig"]["caBundle"].clone();
        }
        stored["metadata"]["resourceVersion"] = json!("8");
        Reply::Json(200, stored.clone())
    })
}

/// As an API server words it: the code alone does not say it to a client.
fn absent() -> Reply {
    Reply::Json(
        404,
        json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}),
    )
}

fn leak(method: &str, path: &str) -> &'static str {
    format!("{method} {path}").leak()
}

fn registration(server: &ApiServer) -> Registration {
    let name = |text| Namespace::parse(text).unwrap();
    let names = Names::new(name("hallpass"), name("hallpass-system"));
    Registration::new(server.client(), names)
}

fn writes(server: &ApiServer) -> Vec<Value> {
    let calls = server.calls().into_iter();
    let writes = calls.filter(|(call, _)| call.starts_with("PATCH"));
    writes.map(|(_, body)| body).collect()
}

#[tokio::test]
async fn f13_says_the_ca_of_every_webhook_that_there_is_and_nothing_else() {
    let stored = Stored::new(Mutex::new(chart("hallpass-inject")));
    let server = server(&stored);
    let registration = registration(&server);
    let found = registration.find().await.unwrap();
    assert!(!found.says("two CAs"));
    assert!(found.publish("two CAs").await.unwrap());
    let ca = json!({"caBundle": STANDARD.encode("two CAs")});
    let expected = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "hallpass-inject", "resourceVersion": "7"},
        "webhooks": [
            {"name": "pod.inject.hallpass.dev", "clientConfig": ca},
            {"name": "namespace.inject.hallpass.dev", "clientConfig": ca},
        ],
    });
    assert_eq!(writes(&server), [expected]);
}

#[tokio::test]
async fn f13_writes_only_where_it_differs_and_puts_right_what_somebody_changed() {
    let stored = Stored::new(Mutex::new(chart("hallpass-inject")));
    let server = server(&stored);
    let registration = registration(&server);
    registration
        .find()
        .await
        .unwrap()
        .publish("ca")
        .await
        .unwrap();
    let found = registration.find().await.unwrap();
    assert!(found.says("ca"));
    assert!(!found.publish("ca").await.unwrap());
    assert_eq!(writes(&server).len(), 1);
    stored.lock().unwrap()["webhooks"][1]["clientConfig"]["caBundle"] = json!("");
    let found = registration.find().await.unwrap();
    assert!(!found.says("ca"));
    assert!(found.publish("ca").await.unwrap());
    assert!(registration.find().await.unwrap().says("ca"));
}

#[tokio::test]
async fn f03_a_leader_of_before_does_not_undo_what_is_registered_now() {
    let stored = Stored::new(Mutex::new(chart("hallpass-inject")));
    let server = server(&stored);
    let registration = registration(&server);
    let late = registration.find().await.unwrap();
    registration
        .find()
        .await
        .unwrap()
        .publish("new")
        .await
        .unwrap();
    assert!(!late.publish("old").await.unwrap());
    assert!(registration.find().await.unwrap().says("new"));
}

#[tokio::test]
async fn f13_a_release_without_the_webhook_is_told() {
    let missing = |_: &Value| absent();
    let server = ApiServer::default().on(leak("GET", GUARANTEED), missing);
    let error = registration(&server).find().await.unwrap_err();
    assert!(
        matches!(&error, RegistrationError::Missing(name) if name == "hallpass-inject"),
        "{error:?}"
    );
}

#[tokio::test]
async fn both_configurations_are_kept_where_there_are_two() {
    let guaranteed = Stored::new(Mutex::new(chart("hallpass-inject")));
    let server = server(&guaranteed)
        .on(leak("GET", BY_POLICY), |_| {
            Reply::Json(200, chart("hallpass-inject-by-policy"))
        })
        .on(leak("PATCH", BY_POLICY), |_| {
            Reply::Json(200, chart("hallpass-inject-by-policy"))
        });
    let found = registration(&server).find().await.unwrap();
    assert!(found.publish("ca").await.unwrap());
    let written: Vec<_> = writes(&server);
    let names: Vec<_> = written
        .iter()
        .map(|body| body["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["hallpass-inject", "hallpass-inject-by-policy"]);
}
