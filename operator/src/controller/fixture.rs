//! Objects and an API server for the tests of the controllers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hallpass_core::{issuer::Issuer, token::signing::Algorithm};
use hallpass_crds::{
    token_audience::TokenAudience,
    token_issuer::{KeyState, TokenIssuer},
    token_policy::TokenPolicy,
};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Client, client::Body, core::PartialObjectMeta};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::pods::Pods;
use super::{
    Context,
    issuer::keys::{IssuerKeys, ReportedKey},
};
use crate::issuer::kubernetes::OperatorId;

pub(super) mod pods;

pub(super) const NOON: &str = "2026-11-01T12:00:00Z";
pub(super) const LATER: &str = "2026-11-01T13:00:00Z";

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Not a whole second, as no time that is read from a clock is one.
pub(super) fn noon() -> Timestamp {
    time(NOON) + Duration::from_millis(250)
}

fn metadata(namespace: &str, name: &str) -> Value {
    json!({
        "namespace": namespace, "name": name, "uid": format!("uid-{namespace}-{name}"),
        "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
    })
}

/// An audience of namespace payments that allows shop/orders the scope `read`.
pub(super) fn audience(name: &str) -> TokenAudience {
    let from = json!({
        "namespaceSelector": {"matchLabels": {"team": "shop"}}, "serviceAccounts": ["orders"],
    });
    serde_json::from_value(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenAudience",
        "metadata": metadata("payments", name),
        "spec": {
            "audience": format!("https://{name}.payments.svc"),
            "issuerRef": {"name": "hallpass"},
            "scopes": [{"name": "read"}, {"name": "write"}],
            "allow": [{"from": from, "scopes": ["read"]}],
            "contact": "#payments",
        },
    }))
    .unwrap()
}

pub(super) fn issuer(name: &str) -> TokenIssuer {
    let mut metadata = metadata("", name);
    metadata.as_object_mut().unwrap().remove("namespace");
    serde_json::from_value(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenIssuer",
        "metadata": metadata,
        "spec": {"hallpass": {"issuerURL": format!("https://{name}.example")}},
    }))
    .unwrap()
}

/// A namespace with that label.
pub(super) fn namespace(name: &str, label: (&str, &str)) -> PartialObjectMeta<Namespace> {
    let metadata = json!({"name": name, "labels": BTreeMap::from([label])});
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

/// A policy that asks for one token of payments/payments with those scopes for each account.
pub(super) fn asking(namespace: &str, name: &str, accounts: &[&str], scopes: &str) -> TokenPolicy {
    let subjects = accounts.iter().map(|a| json!({"serviceAccount": a}));
    let scopes: Vec<&str> = scopes.split(' ').collect();
    let audience = json!({"namespace": "payments", "name": "payments"});
    serde_json::from_value(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenPolicy",
        "metadata": metadata(namespace, name),
        "spec": {
            "subjects": subjects.collect::<Vec<_>>(),
            "tokens": [{"name": "pay", "audienceRef": audience, "scopes": scopes}],
        },
    }))
    .unwrap()
}

pub(super) fn key(kid: &str, state: KeyState, since: &str, until: Option<&str>) -> ReportedKey {
    ReportedKey {
        kid: kid.into(),
        state,
        algorithm: Algorithm::Es256,
        since: time(since),
        until: until.map(time),
    }
}

/// An active key and the next one, as every issuer has them before long.
pub(super) fn two_keys(_: &Issuer, _: Timestamp) -> IssuerKeys {
    IssuerKeys {
        keys: vec![
            key("a", KeyState::Active, "2026-10-15T00:00:00.25Z", None),
            key("b", KeyState::Next, "2026-10-15T00:00:00.25Z", None),
        ],
        next_rotation: Some(time("2026-11-14T00:00:00.25Z")),
    }
}

pub(super) fn context() -> Context {
    Context {
        operator: OperatorId {
            namespace: "hallpass-system".to_owned(),
            name: "hallpass".to_owned(),
        },
        pod: "hallpass-0".to_owned(),
        clock: noon,
    }
}

/// What the API server was asked, and what it stores.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// The writes of a status.
    pub(super) statuses: Vec<Value>,
    pub(super) events: Vec<Value>,
    /// The code of every answer to such a write, instead of success.
    pub(super) status_refusal: Option<u16>,
    /// The deletions: the path, and what is a precondition.
    pub(super) deletions: Vec<(String, Value)>,
    /// The TokenIssuer `hallpass`.
    pub(super) issuer: Option<Value>,
    /// The writes of it.
    pub(super) writes: Vec<Value>,
    /// How often it was read.
    pub(super) reads: usize,
    /// The code of every answer to a write of it, instead of success.
    pub(super) refusal: Option<u16>,
    /// The managed fields in every answer to a write of it.
    pub(super) answers_managed: Option<Value>,
    pub(super) pods: Pods,
    pub(super) unexpected: Vec<String>,
}

pub(super) type Shared = Arc<Mutex<Server>>;

impl Server {
    fn answer(&mut self, method: &Method, path: &str, query: &str, body: Value) -> (u16, Value) {
        let forced = query.contains("force=true");
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        if let ["api", "v1", path @ ..] = &segments[..]
            && let Some(answer) = self.pods.serve(method, path, query, &body)
        {
            return answer;
        }
        match (method.as_str(), &segments[..]) {
            ("PATCH", ["apis", "hallpass.dev", "v1alpha1", .., _, "status"]) if forced => {
                let kind = segments[segments.len() - 3];
                let sent = json!({"kind": kind, "query": query, "body": body});
                self.statuses.push(sent);
                self.status_refusal.map_or((200, body), failure)
            }
            ("DELETE", ["apis", "hallpass.dev", "v1alpha1", ..]) => {
                let preconditions = body["preconditions"].clone();
                self.deletions.push((path.to_owned(), preconditions));
                (
                    200,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
                )
            }
            (
                "GET",
                [
                    "apis",
                    "hallpass.dev",
                    "v1alpha1",
                    "tokenissuers",
                    "hallpass",
                ],
            ) => {
                self.reads += 1;
                let found = self.issuer.clone();
                found.map_or_else(|| failure(404), |found| (200, found))
            }
            (
                "PATCH",
                [
                    "apis",
                    "hallpass.dev",
                    "v1alpha1",
                    "tokenissuers",
                    "hallpass",
                ],
            ) if !forced => self.apply_issuer(body),
            ("GET", [.., "clusterroles", "hallpass-operator"]) => {
                let metadata = json!({"name": "hallpass-operator", "uid": "role"});
                (200, json!({"metadata": metadata}))
            }
            ("POST" | "PATCH", ["apis", "events.k8s.io", "v1", ..]) => {
                self.events.push(body.clone());
                (201, body)
            }
            ("POST", [.., "selfsubjectaccessreviews"]) => allowed(),
            _ => {
                self.unexpected.push(format!("{method} {path}?{query}"));
                failure(500)
            }
        }
    }
}

impl Server {
    fn apply_issuer(&mut self, applied: Value) -> (u16, Value) {
        self.writes.push(applied.clone());
        if let Some(code) = self.refusal {
            return failure(code);
        }
        let mut answer = stored(applied);
        self.issuer = Some(answer.clone());
        if let Some(managed) = &self.answers_managed {
            answer["metadata"]["managedFields"] = managed.clone();
        }
        (200, answer)
    }
}

/// What an API server adds to the issuer that the operator applied.
pub(super) fn stored(mut applied: Value) -> Value {
    let spec = json!({"f:hallpass": {"f:issuerURL": {}}});
    applied["metadata"]["uid"] = json!("uid--hallpass");
    applied["metadata"]["resourceVersion"] = json!("7");
    applied["metadata"]["managedFields"] = json!([
        {"manager": "hallpass-operator", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": spec}},
        {"manager": "x", "operation": "Update", "subresource": "status", "fieldsType": "FieldsV1",
         "fieldsV1": {"f:spec": {}, "f:status": {}}},
    ]);
    applied
}

/// The operator may do what it asks about.
fn allowed() -> (u16, Value) {
    (201, json!({"spec": {}, "status": {"allowed": true}}))
}

pub(super) fn failure(code: u16) -> (u16, Value) {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}),
    )
}

pub(super) fn client(server: &Shared) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
            let answer = server
                .lock()
                .unwrap()
                .answer(&head.method, path, query, body);
            let body = Body::from(answer.1.to_string().into_bytes());
            Response::builder().status(answer.0).body(body)
        }
    });
    Client::new(service, "hallpass-system")
}

/// Lets so much time pass and returns the writes of a status in it, each as `name ready reason`.
pub(super) async fn after(server: &Shared, seconds: u64) -> Vec<String> {
    sleep(Duration::from_secs(seconds)).await;
    let mut server = server.lock().unwrap();
    assert_eq!(server.unexpected, [] as [&str; 0]);
    let sent = std::mem::take(&mut server.statuses);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |sent: &Value| {
        let condition = &sent["body"]["status"]["conditions"][0];
        let name = text(&sent["body"]["metadata"]["name"]);
        format!(
            "{name} {} {}",
            text(&condition["status"]),
            text(&condition["reason"])
        )
    };
    sent.iter().map(line).collect()
}
