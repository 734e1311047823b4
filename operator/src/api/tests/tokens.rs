use http::StatusCode;

use crate::{
    api::fixture::{Operator, request, send},
    issuer::fixture::{PLANTED, REVIEW_PATH, START, status},
};

#[tokio::test]
async fn issues_the_tokens_that_are_asked_for() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let body = r#"{"names":["vault","queue","vault"],"later":1}"#;
    let answer = send(&router, request("POST", "/v1/tokens", &bearer, body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = answer.json();
    let names: Vec<_> = answer["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["name"])
        .collect();
    assert_eq!(names, ["vault", "queue"]);
    let vault = &answer["tokens"][0];
    assert!(vault["token"].as_str().unwrap().ends_with(PLANTED));
    assert_eq!(vault["audience"], "https://vault.example");
    let time = |member: &str| {
        vault[member]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_second()
    };
    assert_eq!(
        (time("issued_at"), time("expires_at")),
        (START, START + 3600)
    );
    assert!(!operator.lines.text().contains(PLANTED));
    assert_eq!(operator.lines.text().lines().count(), 2);
}

#[tokio::test]
async fn a_request_without_names_gets_every_token() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let answer = send(&router, request("POST", "/v1/tokens", &bearer, "{}")).await;
    assert_eq!(answer.json()["tokens"].as_array().unwrap().len(), 2);
    let idle = operator.bearer("idle-0", "idle");
    let answer = send(&router, request("POST", "/v1/tokens", &idle, "{}")).await;
    assert_eq!(answer.code(), (403, "NoPolicy".into()));
}

#[tokio::test]
async fn a_mixed_answer_is_200_and_one_of_refusals_has_the_first_ones_status() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let mixed = send(
        &router,
        request(
            "POST",
            "/v1/tokens",
            &bearer,
            r#"{"names":["none","vault"]}"#,
        ),
    )
    .await;
    assert_eq!(mixed.status, StatusCode::OK);
    let mixed = mixed.json();
    assert_eq!(mixed["tokens"][0]["problem"]["code"], "NoPolicy");
    assert!(mixed["tokens"][1]["token"].is_string());
    let refused = send(
        &router,
        request("POST", "/v1/tokens", &bearer, r#"{"names":["none","nil"]}"#),
    )
    .await;
    assert_eq!(refused.code(), (403, "NoPolicy".into()));
    let problem = refused.problem();
    assert_eq!(
        problem.detail,
        "no TokenPolicy in namespace \"shop\" gives pod \"orders-0\" the token \"none\"; this pod may have: queue, vault"
    );
    let names: Vec<_> = problem
        .tokens
        .iter()
        .map(|t| (t.name.as_str(), t.problem.status))
        .collect();
    assert_eq!(names, [("none", 403), ("nil", 403)]);
}

#[tokio::test(start_paused = true)]
async fn too_often_is_429_with_the_time_to_wait() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let ask = || {
        send(
            &router,
            request("POST", "/v1/tokens", &bearer, r#"{"names":["vault"]}"#),
        )
    };
    assert_eq!(ask().await.status, StatusCode::OK);
    assert_eq!(ask().await.status, StatusCode::OK);
    let refused = ask().await;
    assert_eq!(refused.code(), (429, "TooOften".into()));
    assert_eq!(refused.header("retry-after"), "10");
    assert_eq!(
        refused.problem().tokens[0].problem.retry_after_seconds,
        Some(10)
    );
}

#[tokio::test]
async fn what_the_api_server_refuses_has_a_code_each() {
    for (code, kind, expected) in [
        (404, "pods", (403, "PodGone")),
        (404, "serviceaccounts", (403, "ServiceAccountGone")),
        (422, "", (403, "MintRefused")),
        (500, "", (503, "Unavailable")),
    ] {
        let mut operator = Operator::minting(move |_| status(code, kind, "words")).await;
        let router = operator.router();
        let bearer = operator.bearer("orders-0", "orders");
        let answer = send(&router, request("POST", "/v1/tokens", &bearer, "{}")).await;
        assert_eq!(answer.code(), (expected.0, expected.1.into()));
        assert_eq!(answer.header("retry-after").is_empty(), expected.0 != 503);
        assert!(
            operator
                .server
                .calls()
                .iter()
                .all(|(call, _)| call != REVIEW_PATH)
        );
    }
}

#[tokio::test]
async fn without_an_audit_record_no_token_leaves() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    operator.lines.fail_after(10);
    let bearer = operator.bearer("orders-0", "orders");
    let answer = send(&router, request("POST", "/v1/tokens", &bearer, "{}")).await;
    assert_eq!(answer.code(), (500, "Internal".into()));
    assert!(!String::from_utf8(answer.body).unwrap().contains(PLANTED));
}
