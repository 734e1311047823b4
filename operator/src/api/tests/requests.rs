use axum::{body::Body, routing::get};
use futures::future::join_all;
use hallpass_core::wire::ANSWER_WITHIN;
use http::{Request, StatusCode};
use serde_json::Value;
use tokio::time::{Duration, sleep};

use crate::{
    api::fixture::{Operator, request, send},
    index::{
        Index,
        fixture::{pod, policy, service_account, token},
    },
    issuer::fixture::{Reply, TOKEN_PATH},
};

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

#[tokio::test(start_paused = true)]
async fn f11_whose_token_ends_first_has_the_next_turn_as_its_request_says() {
    let mut policy = policy("shop", "orders", "orders");
    policy.spec.tokens = vec![token("vault")];
    let ordinary: Vec<String> = (0..3 * MINTED_AT_ONCE)
        .map(|n| format!("orders-{n}"))
        .collect();
    let names = ordinary.iter().map(String::as_str);
    let pods = names.chain(["calm", "urgent", "without"]);
    let pods = pods.map(|name| pod("shop", name, "orders")).collect();
    let accounts = vec![service_account("shop", "orders")];
    let index = Index::filled(vec![policy], pods, accounts);
    let mut operator = Operator::with(index, |_| Reply::Silence).await;
    let router = operator.router();
    let ask = async |pod: &str, expires_in: Option<&str>| {
        let bearer = operator.bearer(pod, "orders");
        let mut request = request("POST", "/v1/tokens", &bearer, "{}");
        if let Some(seconds) = expires_in {
            let headers = request.headers_mut();
            headers.insert("hallpass-expires-in", seconds.parse().unwrap());
        }
        send(&router, request).await
    };
    let storm = join_all(ordinary.iter().map(|pod| ask(pod, Some("60"))));
    let late = async {
        sleep(Duration::from_secs(1)).await;
        futures::join!(
            ask("calm", Some("61")),
            ask("urgent", Some("59")),
            ask("without", None)
        );
    };
    let looks = async {
        // The first are cut off after 8 s, and others have their turn.
        sleep(Duration::from_secs(9)).await;
        let calls = operator.server.calls().into_iter();
        let calls = calls.filter(|(call, _)| call == TOKEN_PATH);
        let of = |body: &Value| body["spec"]["boundObjectRef"]["name"].clone();
        calls.map(|(_, body)| of(&body)).collect::<Vec<_>>()
    };
    let (_, (), minted) = futures::join!(storm, late, looks);
    assert_eq!(minted.len(), 2 * MINTED_AT_ONCE);
    let has = ["calm", "urgent", "without"].map(|pod| minted.contains(&pod.into()));
    assert_eq!(has, [false, true, true], "{minted:?}");
}

/// As the reference says.
const MINTED_AT_ONCE: usize = 32;
