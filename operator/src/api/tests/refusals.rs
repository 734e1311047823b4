use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use crate::{
    api::fixture::{Operator, identity, request, send},
    index::Index,
    issuer::fixture::mint,
    telemetry::Metrics,
};

#[tokio::test]
async fn challenges_who_brings_no_token_or_a_bad_one() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let none = Request::get("/v1/assignments").body(Body::empty()).unwrap();
    let answer = send(&router, none).await;
    assert_eq!(answer.code(), (401, "NoBearer".into()));
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"hallpass\""
    );
    assert_eq!(answer.header("connection"), "close");

    let mut two = request("GET", "/v1/assignments", "a", "");
    two.headers_mut()
        .append("authorization", "Bearer b".parse().unwrap());
    assert_eq!(
        send(&router, two).await.code(),
        (401, "MalformedBearer".into())
    );

    let mut foreign = identity("orders-0", "orders");
    foreign["aud"] = json!(["https://vault.example"]);
    let foreign = operator.signed(&foreign);
    let answer = send(&router, request("POST", "/v1/tokens", &foreign, "{}")).await;
    assert_eq!(answer.code(), (401, "WrongAudience".into()));
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"invalid_token\", error_description=\"the bearer token was made for somebody else\""
    );
    assert!(operator.lines.text().is_empty());
}

#[tokio::test]
async fn reads_no_body_of_a_stranger() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let unread = futures::stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<Vec<u8>, std::io::Error>>> {
            panic!("somebody read it")
        },
    );
    let answer = send(
        &router,
        request("POST", "/v1/tokens", "a.b.c", Body::from_stream(unread)),
    )
    .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn refuses_what_it_cannot_read() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    for body in [
        "",
        "{",
        "[]",
        r#"{"names":"vault"}"#,
        r#"{"names":["No Label"]}"#,
        r#"{"names":[]}"#,
        "\u{0}",
    ] {
        let answer = send(&router, request("POST", "/v1/tokens", &bearer, body)).await;
        assert_eq!(answer.code(), (400, "MalformedRequest".into()), "{body}");
    }
}

#[tokio::test]
async fn t36_what_cannot_be_read_is_not_quoted() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    for body in [
        r#"{"names":"eyJhbGciOi"}"#,
        r#"{"names":["eyJhbGciOi"]}"#,
        r#"{"names":[1], "eyJhbGciOi": 1}"#,
    ] {
        let answer = send(&router, request("POST", "/v1/tokens", &bearer, body)).await;
        let detail = answer.problem().detail;
        assert!(!detail.contains("eyJ"), "{body}: {detail}");
        assert!(detail.contains("look at line 1, column "), "{detail}");
    }
}

#[tokio::test]
async fn refuses_a_body_or_a_list_that_is_too_large() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let padded = |size: usize| format!("{:size$}", r#"{"names":["vault"]}"#);
    let named = |count: usize| json!({"names": vec!["vault"; count]}).to_string();
    for (body, expected) in [
        (padded(16 * 1024), 200),
        (padded(16 * 1024 + 1), 413),
        (named(64), 200),
        (named(65), 413),
    ] {
        let answer = send(&router, request("POST", "/v1/tokens", &bearer, body)).await;
        assert_eq!(answer.status.as_u16(), expected);
        if expected == 413 {
            assert_eq!(answer.code(), (413, "TooLarge".into()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn does_not_wait_for_a_body_for_ever() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let silent = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let started = tokio::time::Instant::now();
    let answer = send(&router, request("POST", "/v1/tokens", &bearer, silent)).await;
    assert_eq!(answer.code(), (400, "MalformedRequest".into()));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn knows_two_paths_and_their_methods() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    for path in [
        "/",
        "/v1",
        "/v1/tokens/",
        "/v1/tokens/vault",
        "/v2/tokens",
        "/metrics",
        "/%2e%2e",
    ] {
        let answer = send(&router, request("GET", path, &bearer, "")).await;
        assert_eq!(answer.code(), (404, "NoSuchPath".into()), "{path}");
        assert_eq!(answer.header("connection"), "close");
    }
    for (method, path, allow) in [
        ("GET", "/v1/tokens", "POST"),
        ("DELETE", "/v1/tokens", "POST"),
        ("POST", "/v1/assignments", "GET,HEAD"),
    ] {
        let answer = send(&router, request(method, path, &bearer, "")).await;
        assert_eq!(
            answer.code(),
            (405, "WrongMethod".into()),
            "{method} {path}"
        );
        assert_eq!(answer.header("allow"), allow);
    }
}

#[tokio::test]
async fn decides_nothing_before_the_cluster_was_read() {
    let mut operator = Operator::with(
        Index::new(Metrics::new(), crate::issuer::fixture::now),
        mint,
    )
    .await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    for (method, path) in [("GET", "/v1/assignments"), ("POST", "/v1/tokens")] {
        let answer = send(&router, request(method, path, &bearer, "{}")).await;
        assert_eq!(answer.code(), (503, "NotSynced".into()));
        assert_eq!(answer.header("retry-after"), "2");
    }
}
