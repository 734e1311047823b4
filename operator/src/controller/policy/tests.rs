//! The controller against an API server that answers what is expected and notes what is not.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hallpass_crds::token_policy::TokenPolicy;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::{
    index::Stored,
    index::fixture::{pod, policy, service_account, unreadable},
    issuer::kubernetes::OperatorId,
};

/// What the API server does, and what it was asked.
#[derive(Debug)]
struct Server {
    /// Where tokens may be minted: `*` for everywhere.
    granted: Vec<&'static str>,
    /// The code of every answer to a write of a status, instead of success.
    refusal: Option<u16>,
    /// It does not say where tokens may be minted.
    mute: bool,
    patches: Vec<Value>,
    events: Vec<Value>,
    reviews: usize,
    unexpected: Vec<String>,
}

type Shared = Arc<Mutex<Server>>;

impl Server {
    fn granting(granted: &[&'static str]) -> Shared {
        Arc::new(Mutex::new(Self {
            granted: granted.to_vec(),
            refusal: None,
            mute: false,
            patches: vec![],
            events: vec![],
            reviews: 0,
            unexpected: vec![],
        }))
    }

    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match (method, &segments[..]) {
            (
                &Method::POST,
                [
                    "apis",
                    "authorization.k8s.io",
                    "v1",
                    "selfsubjectaccessreviews",
                ],
            ) => {
                self.reviews += 1;
                if self.mute {
                    return failure(500);
                }
                let asked = &body["spec"]["resourceAttributes"];
                assert_eq!(
                    (&asked["verb"], &asked["resource"]),
                    (&json!("create"), &json!("serviceaccounts"))
                );
                assert_eq!(asked["subresource"], "token");
                let namespace = asked["namespace"].as_str().unwrap_or("*");
                let allowed = self.granted.contains(&namespace);
                (
                    201,
                    json!({"spec": body["spec"], "status": {"allowed": allowed}}),
                )
            }
            (
                &Method::PATCH,
                [
                    "apis",
                    "hallpass.dev",
                    "v1alpha1",
                    "namespaces",
                    _,
                    "tokenpolicies",
                    _,
                    "status",
                ],
            ) => {
                self.patches.push(body.clone());
                match self.refusal {
                    Some(code) => failure(code),
                    None => (200, body),
                }
            }
            (&Method::POST, ["apis", "events.k8s.io", "v1", "namespaces", _, "events"]) => {
                self.events.push(body.clone());
                (201, body)
            }
            // What was said in the last minutes is counted up.
            (&Method::PATCH, ["apis", "events.k8s.io", "v1", "namespaces", _, "events", _]) => {
                self.events.push(body.clone());
                (200, body)
            }
            _ => {
                self.unexpected.push(format!("{method} {path}"));
                failure(500)
            }
        }
    }
}

fn failure(code: u16) -> (u16, Value) {
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

fn client(server: &Shared) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let path = head.uri.path();
            let (code, answer) = server.lock().unwrap().answer(&head.method, path, body);
            let body = Body::from(answer.to_string().into_bytes());
            Response::builder().status(code).body(body)
        }
    });
    Client::new(service, "hallpass-system")
}

/// A controller that runs.
struct Running {
    server: Shared,
    index: Index,
    leader: watch::Sender<Tenure>,
    metrics: Metrics,
}

fn noon() -> Timestamp {
    "2026-11-01T12:00:00.25Z".parse().unwrap()
}

fn start(server: &Shared, index: &Index, leads: bool) -> Running {
    let (leader, leads) = watch::channel(Tenure::of(leads));
    let context = Context {
        operator: OperatorId {
            namespace: "hallpass-system".to_owned(),
            name: "hallpass".to_owned(),
        },
        pod: "hallpass-0".to_owned(),
        clock: noon,
    };
    let metrics = Metrics::default();
    tokio::spawn(run(
        index.clone(),
        client(server),
        leads,
        context,
        metrics.clone(),
    ));
    Running {
        server: Arc::clone(server),
        index: index.clone(),
        leader,
        metrics,
    }
}

impl Running {
    /// Lets so much time pass; returns the writes of a status in it, which the watch brings back.
    async fn after(&self, seconds: u64) -> Vec<Value> {
        let mut patches = vec![];
        for _ in 0..seconds * 10 {
            sleep(Duration::from_millis(100)).await;
            let sent = std::mem::take(&mut self.server.lock().unwrap().patches);
            if self.server.lock().unwrap().refusal.is_none() {
                sent.iter().for_each(|patch| self.bring_back(patch));
            }
            patches.extend(sent);
        }
        assert_eq!(self.server.lock().unwrap().unexpected, [] as [&str; 0]);
        patches
    }

    fn bring_back(&self, patch: &Value) {
        let name = patch["metadata"]["name"].as_str().unwrap();
        if name == "broken" {
            self.index.deliver(unreadable("shop", name));
            return;
        }
        let mut stored: TokenPolicy = policy("shop", name, "orders");
        stored.metadata.resource_version = Some("2".to_owned());
        stored.status = serde_json::from_value(patch["status"].clone()).unwrap();
        self.index.deliver(Stored(Ok(stored)));
    }

    fn events(&self) -> Vec<String> {
        let events = std::mem::take(&mut self.server.lock().unwrap().events);
        let line = |e: &Value| {
            format!(
                "{} {} {}",
                text(&e["type"]),
                text(&e["reason"]),
                text(&e["regarding"]["name"])
            )
        };
        events.iter().map(line).collect()
    }

    fn counted(&self, line: &str) -> bool {
        self.metrics.encode().unwrap().lines().any(|l| l == line)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn shop() -> Index {
    Index::filled(
        vec![policy("shop", "orders", "orders")],
        vec![pod("shop", "orders-1", "orders")],
        vec![service_account("shop", "orders")],
    )
}

fn reasons(patches: &[Value]) -> Vec<&str> {
    patches
        .iter()
        .map(|p| text(&p["status"]["conditions"][0]["reason"]))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_once_and_then_left_alone() {
    let running = start(&Server::granting(&["*"]), &shop(), true);
    let patches = running.after(1).await;
    assert_eq!(
        patches,
        [json!({
            "apiVersion": "hallpass.dev/v1alpha1",
            "kind": "TokenPolicy",
            "metadata": {"name": "orders", "uid": "uid-shop-orders", "resourceVersion": "1"},
            "status": {
                "observedGeneration": 1,
                "pods": 1,
                "tokensReady": "1/1",
                "tokens": [{"name": "vault", "ready": "True", "reason": "Ready", "message": "can be issued"}],
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Ready", "message": "every token can be issued",
                    "observedGeneration": 1, "lastTransitionTime": "2026-11-01T12:00:00Z",
                }],
            },
        })]
    );
    assert_eq!(running.events(), ["Normal Ready orders"]);
    // The pass of every five minutes is among these.
    assert_eq!(running.after(400).await, [] as [Value; 0]);
    assert_eq!(running.events(), [] as [&str; 0]);
    assert!(running.counted(r#"hallpass_status_writes_total{outcome="Written"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let running = start(&Server::granting(&["*"]), &shop(), false);
    assert_eq!(running.after(60).await, [] as [Value; 0]);
    assert_eq!(running.server.lock().unwrap().reviews, 0);
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(running.after(1).await.len(), 1);
    running.leader.send_replace(Tenure::of(false));
    running.index.deliver_pod(pod("shop", "orders-2", "orders"));
    assert_eq!(running.after(60).await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_given_back_turns_the_status_within_ten_seconds() {
    let running = start(&Server::granting(&[]), &shop(), true);
    assert_eq!(reasons(&running.after(1).await), ["MintForbidden"]);
    assert_eq!(running.after(20).await, [] as [Value; 0]);
    running.server.lock().unwrap().granted = vec!["shop"];
    assert_eq!(reasons(&running.after(10).await), ["Ready"]);
    running.server.lock().unwrap().granted = vec!["*"];
    assert_eq!(running.after(40).await, [] as [Value; 0]);
    running.server.lock().unwrap().granted = vec![];
    assert_eq!(reasons(&running.after(36).await), ["MintForbidden"]);
    assert_eq!(
        running.events(),
        [
            "Warning MintForbidden orders",
            "Normal Ready orders",
            "Warning MintForbidden orders",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_right_that_can_not_be_told_leaves_the_last_status() {
    let running = start(&Server::granting(&["*"]), &shop(), true);
    assert_eq!(running.after(1).await.len(), 1);
    running.server.lock().unwrap().mute = true;
    assert_eq!(running.after(120).await, [] as [Value; 0]);
    // A new leader knows no more than that.
    running.leader.send_replace(Tenure::of(false));
    sleep(Duration::from_millis(1)).await;
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(running.after(120).await, [] as [Value; 0]);
    running.server.lock().unwrap().mute = false;
    assert_eq!(running.after(60).await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_tried_again_ever_more_rarely() {
    let running = start(&Server::granting(&["*"]), &shop(), true);
    running.server.lock().unwrap().refusal = Some(500);
    let tries = running.after(60).await.len();
    assert!((5..=9).contains(&tries), "{tries} tries");
    assert_eq!(running.events(), [] as [&str; 0]);
    running.server.lock().unwrap().refusal = None;
    assert_eq!(running.after(61).await.len(), 1);
    assert_eq!(running.events(), ["Normal Ready orders"]);
    assert!(running.counted(&format!(
        r#"hallpass_status_writes_total{{outcome="Failed"}} {tries}"#
    )));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_was_deleted_meanwhile_is_no_failure() {
    for code in [404, 409] {
        let running = start(&Server::granting(&["*"]), &shop(), true);
        running.server.lock().unwrap().refusal = Some(code);
        let tries = running.after(30).await.len();
        assert!((1..=7).contains(&tries), "{tries} tries");
        assert_eq!(running.events(), [] as [&str; 0]);
        let gone = format!(r#"hallpass_status_writes_total{{outcome="Gone"}} {tries}"#);
        assert!(running.counted(&gone));
        assert!(running.counted(r#"hallpass_status_writes_total{outcome="Failed"} 0"#));
    }
}

#[tokio::test(start_paused = true)]
async fn new_pods_are_counted_at_most_every_ten_seconds() {
    let running = start(&Server::granting(&["*"]), &shop(), true);
    assert_eq!(running.after(1).await.len(), 1);
    let mut counts = vec![];
    for second in 0..30 {
        running
            .index
            .deliver_pod(pod("shop", &format!("more-{second}"), "orders"));
        counts.extend(running.after(1).await);
    }
    counts.extend(running.after(11).await);
    assert!((3..=4).contains(&counts.len()), "{} writes", counts.len());
    assert_eq!(counts.last().unwrap()["status"]["pods"], 31);
    assert_eq!(running.events(), ["Normal Ready orders"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_told_once() {
    let index = Index::filled(vec![], vec![], vec![]);
    index.deliver(unreadable("shop", "broken"));
    let running = start(&Server::granting(&["*"]), &index, true);
    assert_eq!(reasons(&running.after(400).await), ["Invalid"]);
    assert_eq!(running.events(), ["Warning Invalid broken"]);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_somebody_else_changed_is_put_right() {
    let running = start(&Server::granting(&["*"]), &shop(), true);
    assert_eq!(running.after(10).await.len(), 1);
    let mut changed = policy("shop", "orders", "orders");
    changed.metadata.resource_version = Some("3".to_owned());
    changed.status = Some(TokenPolicyStatus::default());
    running.index.deliver(Stored(Ok(changed)));
    assert_eq!(reasons(&running.after(1).await), ["Ready"]);
}

mod turns;
