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
async fn says_and_issues_nothing_that_another_replica_may_know_better() {
    let index = index();
    let mut operator = Operator::with(index.clone(), mint).await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let questions = [("GET", "/v1/assignments"), ("POST", "/v1/tokens")];
    let ask = async |(method, path)| send(&router, request(method, path, &bearer, "{}")).await;
    let has = ask(questions[0]).await.header("etag").to_owned();
    for question in questions {
        assert_eq!(ask(question).await.status, 200, "{question:?}");
    }
    index.standing().be_cut_off(Instant::now());
    for question in questions {
        let answer = ask(question).await;
        assert_eq!(answer.code(), (503, "NotSynced".into()), "{question:?}");
        assert_eq!(answer.header("retry-after"), "2", "{question:?}");
        let detail = answer.problem().detail;
        assert!(
            detail.contains("is 60 s old, and another replica may"),
            "{question:?}: {detail}"
        );
    }
    // Nor that what the pod has is what it is to hold.
    let mut again = request("GET", "/v1/assignments", &bearer, "");
    let headers = again.headers_mut();
    headers.insert("if-none-match", has.parse().unwrap());
    let answer = send(&router, again).await;
    assert_eq!(answer.code(), (503, "NotSynced".into()));
}

/// The API server answers no replica: nobody knows better, and pods go on learning what they are to hold.
#[tokio::test]
async fn f01_goes_on_saying_what_to_hold_while_the_api_server_answers_no_replica() {
    let index = index();
    let mut operator = Operator::with(index.clone(), mint).await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    index.standing().be_cut_off_with_all_others(Instant::now());
    for (method, path) in [("GET", "/v1/assignments"), ("POST", "/v1/tokens")] {
        let answer = send(&router, request(method, path, &bearer, "{}")).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}
