use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use hallpass_crds::token_policy::TokenPolicy;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;

const NAME: &str = "tokenpolicies.hallpass.dev";

/// Looks at a definition that an API server answers for in turn, the last for ever: the code and the text, after so
/// many seconds each. Gives how long that took and how many requests, too.
async fn look(answers: Vec<(u64, u16, Value)>) -> (Found, Duration, usize) {
    let (asked, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let service = tower::service_fn({
        let asked = Arc::clone(&asked);
        move |request: Request<Body>| {
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/";
            assert_eq!(request.uri().path(), format!("{path}{NAME}"));
            assert_eq!(request.uri().query(), None, "a cache may be behind");
            let turn = asked.fetch_add(1, SeqCst).min(answers.len() - 1);
            let (seconds, code, text) = answers[turn].clone();
            async move {
                sleep(Duration::from_secs(seconds)).await;
                let body = Body::from(text.to_string().into_bytes());
                Response::builder().status(code).body(body)
            }
        }
    });
    let client = Client::new(service, "default");
    let mut definition = Definition::of::<TokenPolicy>(client);
    let found = definition.look().await;
    (found, start.elapsed(), asked.load(SeqCst))
}

fn object(metadata: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn there() -> Value {
    object(&json!({"name": NAME, "uid": "one"}))
}

fn failure(code: u16, reason: &str, details: Value) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "details": details})
}

fn found() -> Found {
    Found::There("one".into())
}

#[tokio::test(start_paused = true)]
async fn f20_a_definition_that_is_deleted_is_gone_before_it_went() {
    let going = object(
        &json!({"name": NAME, "uid": "one", "deletionTimestamp": "2026-11-01T00:00:00Z",
        "finalizers": ["customresourcecleanup.apiextensions.k8s.io"]}),
    );
    let gone = failure(404, "NotFound", json!({"name": NAME}));
    for (code, text, expected) in [
        (200, there(), found()),
        (200, going, Found::Gone),
        (404, gone, Found::Gone),
    ] {
        let looked = look(vec![(0, code, text)]).await;
        assert_eq!(looked, (expected, Duration::ZERO, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn f20_what_does_not_answer_for_the_definition_does_not_say_that_it_is_gone() {
    for details in [json!(null), json!({"name": "tokenissuers.hallpass.dev"})] {
        let page = failure(404, "NotFound", details);
        let (found, took, _) = look(vec![(0, 404, page)]).await;
        assert_eq!((found, took), (Found::Unknown, Duration::from_secs(1)));
    }
    let (found, took, asked) = look(vec![(60, 200, there())]).await;
    assert_eq!(
        (found, took, asked),
        (Found::Unknown, Duration::from_secs(1), 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_is_waited_out_and_a_missing_right_is_not() {
    let broken = || (0, 500, failure(500, "InternalError", json!(null)));
    let (looked, took, _) = look(vec![broken(), broken(), (0, 200, there())]).await;
    assert_eq!((looked, took), (found(), 2 * AGAIN));
    let refused = failure(403, "Forbidden", json!({"name": NAME}));
    let looked = look(vec![(0, 403, refused)]).await;
    assert_eq!(looked, (Found::Unasked, Duration::ZERO, 1));
}
