use axum::{body::Body, routing::get};
use hallpass_core::wire::ANSWER_WITHIN;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::api::fixture::{Operator, request, send};

#[tokio::test(start_paused = true)]
async fn ends_a_request_that_takes_too_long() {
    let mut operator = Operator::new().await;
    let router = operator.router_with("/never", get(std::future::pending::<StatusCode>));
    let started = tokio::time::Instant::now();
    let answer = send(&router, Request::get("/never").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.code(), (503, "Unavailable".into()));
    assert_eq!(started.elapsed(), ANSWER_WITHIN);
}

#[tokio::test]
async fn names_each_request_itself() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let ask = || {
        let request = Request::get("/")
            .header("x-request-id", "mine")
            .body(Body::empty());
        send(&router, request.unwrap())
    };
    let (one, two) = (ask().await, ask().await);
    assert_eq!(one.header("x-request-id").len(), 32);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    let record = |lines: &str| serde_json::from_str::<Value>(lines).unwrap()["request.id"].clone();
    let bearer = operator.bearer("orders-0", "orders");
    let answer = send(
        &router,
        request("POST", "/v1/tokens", &bearer, r#"{"names":["vault"]}"#),
    )
    .await;
    assert_eq!(
        record(&operator.lines.text()),
        answer.header("x-request-id")
    );
}
