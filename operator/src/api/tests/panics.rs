//! A panic in the midst of a request.

use std::process::Command;

use axum::{body::Body, routing::get};
use hallpass_core::decide::Scene;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use crate::{
    api::fixture::{Answer, Operator, request, send},
    index::{
        Index,
        fixture::{pod, policy, revocation, service_account},
    },
    issuer::fixture::{mint, now},
    telemetry::log,
};

async fn panicking() -> StatusCode {
    panic!("injected")
}

async fn panicked(router: &crate::api::Front) -> Answer {
    let answer = send(router, Request::get("/panic").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.code(), (500, "Internal".into()));
    assert!(!answer.problem().detail.contains("injected"));
    answer
}

#[tokio::test]
async fn f22_a_handler_that_panics_ends_its_own_request_alone() {
    let mut operator = Operator::new().await;
    let router = operator.router_with("/panic", get(panicking));
    panicked(&router).await;
    let bearer = operator.bearer("orders-0", "orders");
    let answer = send(&router, request("POST", "/v1/tokens", &bearer, "{}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let metrics = operator.metrics.encode().unwrap();
    assert!(metrics.contains("hallpass_panics_total 1\n"), "{metrics}");
    assert!(
        metrics.contains("hallpass_requests_total{route=\"tokens\",code=\"OK\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("hallpass_requests_total{route=\"other\",code=\"Internal\"} 1\n"),
        "{metrics}"
    );
}

/// The locks that it held are open to the next one, who reads and who writes.
#[tokio::test]
async fn f22_nobody_waits_for_what_a_handler_that_panicked_had_locked() {
    let index = Index::filled(
        vec![policy("shop", "orders", "orders")],
        vec![pod("shop", "orders-0", "orders")],
        vec![service_account("shop", "orders")],
    );
    let mut operator = Operator::with(index.clone(), mint).await;
    let looked = index.clone();
    let amidst = async move || -> StatusCode {
        let snapshot = looked.snapshot().unwrap();
        snapshot.look_at_pod("shop", "orders-0", |_| {
            snapshot.decide(now(), |_: Scene<'_>| panic!("injected"))
        });
        StatusCode::OK
    };
    let router = operator.router_with("/panic", get(amidst));
    panicked(&router).await;
    let bearer = operator.bearer("orders-0", "orders");
    let ask = async || send(&router, request("POST", "/v1/tokens", &bearer, "{}")).await;
    assert_eq!(ask().await.status, StatusCode::OK);
    // What is stored then is in force.
    let lock = json!({"target": {"serviceAccount": "orders"}, "effect": "Lock"});
    index.deliver_revocation(revocation("orders", 2, &lock));
    assert_eq!(ask().await.code(), (403, "Locked".into()));
    index.deliver_pod(pod("shop", "orders-1", "orders"));
    assert!(index.snapshot().unwrap().pod("shop", "orders-1").is_some());
}

/// What [`f22_a_panic_is_logged_by_its_place_and_its_request_alone`] looks at.
#[tokio::test]
#[ignore = "the log and what is done at a panic are a process's: another test runs this as one of its own"]
async fn in_a_process_with_a_log() {
    let mut operator = Operator::new().await;
    let _log = log::start(LevelFilter::INFO, operator.metrics.clone()).unwrap();
    let router = operator.router_with("/panic", get(panicking));
    let answer = panicked(&router).await;
    println!("{}", answer.header("x-request-id"));
}

/// One line says where, and one in which request; neither says what the panic did, which may be anything.
#[test]
fn f22_a_panic_is_logged_by_its_place_and_its_request_alone() {
    let name = "api::tests::panics::in_a_process_with_a_log";
    let mut own = Command::new(std::env::current_exe().unwrap());
    let ran = own.args(["--exact", name, "--ignored", "--nocapture"]);
    let ran = ran.output().unwrap();
    let (said, log) = (ran.stdout, String::from_utf8(ran.stderr).unwrap());
    assert!(ran.status.success(), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let place = lines.iter().find_map(|l| l["panic.location"].as_str());
    assert!(
        place.is_some_and(|p| p.contains("tests/panics.rs:")),
        "{log}"
    );
    let handler = lines.iter().find(|l| l["message"] == "a handler panicked");
    let request = handler.unwrap()["request.id"].as_str().unwrap();
    assert!(String::from_utf8(said).unwrap().contains(request), "{log}");
    assert!(!log.contains("injected"), "{log}");
}
