//! Refusals of the token endpoint that have nothing to do with what was asked.

use axum::{body::Body, response::Response};
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    fixture::{PAYMENTS, Shop, raw},
    refusal::is,
};
use crate::{
    api::fixture::{Operator, send},
    index::fixture::pod,
    issuer::fixture::START,
};

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_no_request() {
    let shop = Shop::new().await;
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let answer = send(&shop.router, raw("/oauth2/token", never)).await;
    is(&answer, 400, "invalid_request", "MalformedRequest", "");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_refused_in_the_same_words() {
    let mut operator = Operator::new().await;
    let request = raw("/oauth2/token", "");
    let answer = operator.observed(request, std::future::pending()).await;
    is(&answer, 503, "temporarily_unavailable", "Unavailable", "");
}

#[tokio::test]
async fn a_fault_of_hallpass_is_told_in_the_same_words() {
    async fn panicking() -> Response {
        panic!("injected")
    }
    let mut operator = Operator::new().await;
    let request = raw("/oauth2/token", "");
    let answer = operator.observed(request, panicking()).await;
    is(&answer, 500, "server_error", "Internal", "");
    assert!(!String::from_utf8(answer.body).unwrap().contains("injected"));
}

#[tokio::test]
async fn a_pod_that_is_gone_gets_nothing() {
    let shop = Shop::new().await;
    let mut gone = pod("shop", "orders-0", "orders");
    let due = jiff::Timestamp::from_second(START - 61).unwrap();
    gone.metadata.deletion_timestamp = Some(Time(due));
    shop.index.deliver_pod(gone);
    let more = [("audience", PAYMENTS)];
    let answer = shop.exchange(&shop.orders(), &more).await;
    is(&answer, 400, "invalid_grant", "PodGone", "");
    let answer = shop.credentials(&shop.orders(), &more).await;
    is(&answer, 401, "invalid_client", "PodGone", "");
}

// Time stands still: what a pod may ask for grows with it.
#[tokio::test(start_paused = true)]
async fn a_pod_that_asks_for_anything_waits_in_the_end() {
    let shop = Shop::new().await;
    let (identity, mut asked) = (shop.orders(), 0);
    let answer = loop {
        let answer = shop.exchange(&identity, &[("audience", "made-up")]).await;
        if answer.status != StatusCode::BAD_REQUEST {
            break answer;
        }
        asked += 1;
        assert!(asked <= 300, "nobody needs more at once");
    };
    is(&answer, 429, "temporarily_unavailable", "TooOften", "");
    assert!(shop.operator.lines.text().is_empty());
}
