//! The webhook, as the API server asks it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{
        Answers as _, Front, Webhook,
        fixture::{Answer, Operator, gzipped, send},
    },
    index::{Index, fixture::policy},
    inject::fixture::{CA, pod, settings},
    issuer::fixture::{mint, now},
    telemetry::Metrics,
};

/// An operator that injects, and knows that much of the cluster.
async fn operator(index: Index, ca: Option<&'static str>) -> Operator {
    let mut operator = Operator::with(index, mint).await;
    let webhook = Webhook::new(settings(), move || ca.map(str::to_owned));
    operator.api.as_mut().unwrap().webhook = Some(webhook);
    operator
}

/// One that has just started: nothing was read yet, and it leads nothing.
async fn starting() -> (Operator, Front) {
    let index = Index::new(Metrics::new(), now);
    let mut operator = operator(index, Some(CA)).await;
    let router = operator.router();
    (operator, router)
}

fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": null,
            "dryRun": false,
        },
    })
}

async fn post(router: &Front, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", "application/json");
    send(router, request.body(body.into()).unwrap()).await
}

/// The response of the review, after what every one of them must be.
fn response(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    let review = answer.json();
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["kind"], "AdmissionReview");
    let response = review["response"].clone();
    assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!(response.get("warnings"), None);
    response
}

async fn ask(router: &Front, path: &str, pod: &Value) -> Value {
    response(&post(router, path, review(pod).to_string()).await)
}

/// The names of what the patch adds to the init containers.
fn added(response: &Value) -> Vec<String> {
    assert_eq!(response["allowed"], true, "{response}");
    let Some(patch) = response["patch"].as_str() else {
        return Vec::new();
    };
    assert_eq!(response["patchType"], "JSONPatch");
    let patch: Value = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
    let inits = patch.as_array().unwrap().iter();
    let inits = inits.filter(|o| o["path"] == "/spec/initContainers/0");
    inits
        .map(|o| o["value"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn unlabelled() -> Value {
    let mut pod = pod();
    pod["metadata"]["labels"] = json!({});
    pod["spec"]["serviceAccountName"] = json!("orders");
    pod
}

fn counted(operator: &Operator, outcome: &str, times: u64) {
    let metrics = operator.metrics.encode().unwrap();
    let line = format!("hallpass_injections_total{{outcome=\"{outcome}\"}} {times}");
    assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
}

#[tokio::test]
async fn a_pod_that_asks_gets_the_sidecar_from_a_replica_that_knows_nothing_yet() {
    let (operator, router) = starting().await;
    // The API server says by the query how long it waits.
    let by_pod = ask(&router, "/inject/pod?timeout=5s", &pod()).await;
    assert_eq!(added(&by_pod), ["hallpass"]);
    let by_namespace = ask(&router, "/inject/namespace", &unlabelled()).await;
    assert_eq!(added(&by_namespace), ["hallpass"]);
    let mut out = pod();
    out["metadata"]["labels"]["hallpass.dev/inject"] = json!("false");
    for path in ["/inject/pod", "/inject/namespace", "/inject/policy"] {
        assert_eq!(added(&ask(&router, path, &out).await), [""; 0], "{path}");
    }
    let unknown = ask(&router, "/inject/policy", &unlabelled()).await;
    assert_eq!(added(&unknown), [""; 0]);
    counted(&operator, "Injected", 2);
    counted(&operator, "Exempt", 3);
    counted(&operator, "NotSynced", 1);
    let metrics = operator.metrics.encode().unwrap();
    let route = r#"hallpass_requests_total{route="inject",code="OK"} 6"#;
    assert!(metrics.lines().any(|line| line == route), "{metrics}");
}

#[tokio::test]
async fn a_pod_that_a_policy_selects_gets_the_sidecar_and_is_never_refused() {
    let index = Index::filled(vec![policy("shop", "orders", "orders")], vec![], vec![]);
    let mut operator = operator(index, Some(CA)).await;
    let router = operator.router();
    let selected = ask(&router, "/inject/policy", &unlabelled()).await;
    assert_eq!(added(&selected), ["hallpass"]);
    let mut other = unlabelled();
    other["spec"]["serviceAccountName"] = json!("idle");
    let not_selected = ask(&router, "/inject/policy", &other).await;
    assert_eq!(added(&not_selected), [""; 0]);
    let mut elsewhere = review(&unlabelled());
    elsewhere["request"]["namespace"] = json!("elsewhere");
    let elsewhere = post(&router, "/inject/policy", elsewhere.to_string()).await;
    assert_eq!(added(&response(&elsewhere)), [""; 0]);
    let mut unfit = unlabelled();
    unfit["spec"]["dnsPolicy"] = json!("Default");
    let unfit = ask(&router, "/inject/policy", &unfit).await;
    assert_eq!(added(&unfit), [""; 0]);
    for (outcome, times) in [("Injected", 1), ("NotAsked", 2), ("Unfit", 1)] {
        counted(&operator, outcome, times);
    }
}

#[tokio::test]
async fn a_refusal_says_what_to_do_about_the_pod() {
    let (operator, router) = starting().await;
    let mut unfit = pod();
    unfit["spec"]["dnsPolicy"] = json!("Default");
    let refused = ask(&router, "/inject/pod", &unfit).await;
    assert_eq!(refused["allowed"], false);
    assert_eq!(refused.get("patch"), None);
    let status = &refused["status"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(422), &json!("Invalid"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("dnsPolicy: Default is that of its node"),
        "{message}"
    );
    counted(&operator, "Refused", 1);
}

#[tokio::test]
async fn without_a_ca_nothing_is_injected_and_who_must_have_the_sidecar_is_refused() {
    let index = Index::filled(vec![policy("shop", "orders", "orders")], vec![], vec![]);
    let mut operator = operator(index, None).await;
    let router = operator.router();
    let refused = ask(&router, "/inject/pod", &pod()).await;
    assert_eq!(
        (&refused["allowed"], &refused["status"]["code"]),
        (&json!(false), &json!(503))
    );
    let by_policy = ask(&router, "/inject/policy", &unlabelled()).await;
    assert_eq!(added(&by_policy), [""; 0]);
    counted(&operator, "NoTrust", 2);
}

#[tokio::test]
async fn is_not_there_without_this_engine_nor_for_the_world() {
    let mut plain = Operator::new().await;
    let answer = post(&plain.router(), "/inject/pod", review(&pod()).to_string()).await;
    assert_eq!(answer.code(), (404, "NoSuchPath".into()));
    let index = Index::new(Metrics::new(), now);
    let (inside, outside) = operator(index, Some(CA)).await.routers();
    let answer = post(&outside, "/inject/pod", review(&pod()).to_string()).await;
    assert_eq!(answer.code(), (404, "NoSuchPath".into()));
    let answer = post(&inside, "/inject", review(&pod()).to_string()).await;
    assert_eq!(answer.code(), (404, "NoSuchPath".into()));
    let get = Request::get("/inject/pod").body(Body::empty()).unwrap();
    let answer = send(&inside, get).await;
    assert_eq!(answer.code(), (405, "WrongMethod".into()));
}

#[tokio::test]
async fn t31_what_is_no_review_of_a_new_pod_is_answered_with_nothing() {
    let (operator, router) = starting().await;
    let with = |pointer: &str, value: Value| {
        let mut review = review(&pod());
        *review.pointer_mut(pointer).unwrap() = value;
        review.to_string()
    };
    for unnamed in [
        String::new(),
        "[]".into(),
        "{".into(),
        json!({"request": {"uid": "1"}}).to_string(),
        with("/request", json!(null)),
        with("/request", json!({})),
        with("/request/uid", json!(7)),
    ] {
        let answer = post(&router, "/inject/pod", unnamed.clone()).await;
        assert_eq!(answer.code(), (400, "MalformedRequest".into()), "{unnamed}");
    }
    let bad = [
        with("/apiVersion", json!("admission.k8s.io/v1beta1")),
        with("/kind", json!("Pod")),
        with("/request/operation", json!("UPDATE")),
        with("/request/resource/resource", json!("deployments")),
        with("/request/resource/group", json!("apps")),
        with("/request/object", json!(null)),
        with("/request/object", json!([])),
        with("/request/object/spec", json!({})),
        with("/request/object/spec/containers", json!([{"name": 7}])),
        with(
            "/request/object/metadata/labels",
            json!({"hallpass.dev/inject": true}),
        ),
        with("/request/namespace", json!(null)),
    ];
    for review in &bad {
        // A failed call, which this registration ignores.
        let by_policy = post(&router, "/inject/policy", review.clone()).await;
        assert_eq!(
            by_policy.code(),
            (400, "MalformedRequest".into()),
            "{review}"
        );
        for path in ["/inject/pod", "/inject/namespace"] {
            let answer = response(&post(&router, path, review.clone()).await);
            assert_eq!(answer["allowed"], false, "{review}");
            assert_eq!(answer["status"]["code"], 400, "{review}");
            assert_eq!(answer.get("patch"), None, "{review}");
        }
    }
    let mut status = review(&pod());
    status["request"]["subResource"] = json!("ephemeralcontainers");
    let answer = response(&post(&router, "/inject/pod", status.to_string()).await);
    assert_eq!(answer["status"]["code"], 400);
    counted(&operator, "Malformed", 3 * bad.len() as u64 + 1);
    counted(&operator, "Injected", 0);
}

#[tokio::test]
async fn a_large_pod_is_taken_and_what_no_pod_is_as_large_as_is_not() {
    let (_operator, router) = starting().await;
    let mut large = pod();
    large["metadata"]["annotations"] = json!({"a": "x".repeat(3 * 1024 * 1024)});
    let answer = ask(&router, "/inject/pod", &large).await;
    assert_eq!(added(&answer), ["hallpass"]);
    large["metadata"]["annotations"] = json!({"a": "x".repeat(8 * 1024 * 1024)});
    let answer = post(&router, "/inject/pod", review(&large).to_string()).await;
    assert_eq!(answer.code(), (413, "TooLarge".into()));
}

#[tokio::test(start_paused = true)]
async fn t31_who_sends_slowly_is_let_go_of_after_3_s() {
    let (_operator, router) = starting().await;
    let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let started = tokio::time::Instant::now();
    let answer = post(&router, "/inject/pod", Body::from_stream(never)).await;
    assert_eq!(answer.code(), (400, "MalformedRequest".into()));
    assert_eq!(started.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn t31_an_address_that_sends_slowly_keeps_out_itself_alone() {
    let (_operator, router) = starting().await;
    let from = |last: u8, body: Body| {
        let request = Request::post("/inject/pod").body(body).unwrap();
        let router = router.clone().asked_from([10, 0, 0, last].into());
        async move { send(&router, request).await }
    };
    let of = |mib: usize| " ".repeat(mib * 1024 * 1024) + &review(&pod()).to_string();
    let begun = futures::stream::iter([Ok::<_, std::io::Error>(of(7))]);
    let never_done = begun.chain(futures::stream::pending());
    let slow = tokio::spawn(from(1, Body::from_stream(never_done)));
    tokio::task::yield_now().await;
    let large = from(1, of(2).into()).await;
    assert_eq!(large.code(), (503, "Unavailable".into()));
    let ordinary = from(1, of(0).into()).await;
    assert_eq!(added(&response(&ordinary)), ["hallpass"]);
    let other = from(2, of(2).into()).await;
    assert_eq!(added(&response(&other)), ["hallpass"]);
    let slow = slow.await.unwrap();
    assert_eq!(slow.code(), (400, "MalformedRequest".into()));
}

#[tokio::test]
async fn t39_a_compressed_review_is_not_unpacked() {
    let (operator, router) = starting().await;
    let review = review(&pod()).to_string();
    let request = |body: Vec<u8>| {
        let request = Request::post("/inject/pod").header("content-encoding", "gzip");
        request.body(Body::from(body)).unwrap()
    };
    let answer = send(&router, request(gzipped(review.as_bytes()))).await;
    assert_eq!(answer.code(), (400, "MalformedRequest".into()));
    counted(&operator, "Injected", 0);
    assert_eq!(added(&ask(&router, "/inject/pod", &pod()).await).len(), 1);
}
