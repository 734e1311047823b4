//! What a replica says and does that the API server does not answer.

use axum::body::Body;
use http::Request;
use tokio::time::Instant;

use crate::{
    api::fixture::{Operator, request, send},
    index::{
        Index,
        fixture::{pod, policy, service_account},
    },
    issuer::fixture::mint,
};

fn index() -> Index {
    Index::filled(
        vec![policy("shop", "orders", "orders")],
        vec![pod("shop", "orders-0", "orders")],
        vec![service_account("shop", "orders")],
    )
}

fn question(method: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri("/v1/replica");
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn tells_every_other_replica_whether_it_is_behind_and_the_world_nothing() {
    let index = index();
    let mut operator = Operator::with(index.clone(), mint).await;
    let (inside, outside) = operator.routers();
    let answer = send(&inside, question("GET")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, br#"{"behind":false}"#);
    assert_eq!(answer.header("cache-control"), "no-store");
    index.standing().be_cut_off(Instant::now());
    let answer = send(&inside, question("GET")).await;
    assert_eq!(answer.body, br#"{"behind":true}"#);
    let answer = send(&inside, question("POST")).await;
    assert_eq!(answer.code(), (405, "WrongMethod".into()));
    let answer = send(&outside, question("GET")).await;
    assert_eq!(answer.status, 404);
    let metrics = operator.metrics.encode().unwrap();
    let counted = r#"hallpass_requests_total{route="replica",code="OK"} 2"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[tokio::test]
async fn issues_nothing_on_what_another_replica_may_know_better() {
    let index = index();
    let mut operator = Operator::with(index.clone(), mint).await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let answer = send(&router, request("POST", "/v1/tokens", &bearer, "{}")).await;
    assert_eq!(answer.status, 200);
    index.standing().be_cut_off(Instant::now());
    let answer = send(&router, request("POST", "/v1/tokens", &bearer, "{}")).await;
    assert_eq!(answer.code(), (503, "NotSynced".into()));
    assert_eq!(answer.header("retry-after"), "2");
    let detail = answer.problem().detail;
    assert!(
        detail.contains("is 60 s old, and another replica may"),
        "{detail}"
    );
    // Its pods go on knowing what to hold.
    let answer = send(&router, request("GET", "/v1/assignments", &bearer, "")).await;
    assert_eq!(answer.status, 200);
}
