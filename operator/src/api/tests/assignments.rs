use http::StatusCode;
use serde_json::json;

use crate::{
    api::fixture::{Operator, request, send},
    index::fixture::pod,
};

#[tokio::test]
async fn tells_a_pod_what_it_is_to_hold() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let answer = send(&router, request("GET", "/v1/assignments", &bearer, "")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "private, max-age=30");
    assert_eq!(answer.header("content-type"), "application/json");
    let token = |name| json!({"name": name, "audience": format!("https://{name}.example"), "lifetime_seconds": 3600, "required": true});
    assert_eq!(
        answer.json(),
        json!({"tokens": [token("queue"), token("vault")]})
    );
}

#[tokio::test]
async fn lets_a_pod_look_only_so_often() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("idle-0", "idle");
    let look = || send(&router, request("GET", "/v1/assignments", &bearer, ""));
    let mut looks = 0;
    let refused = loop {
        let answer = look().await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        looks += 1;
        assert!(looks <= 300, "nobody needs more at once");
    };
    assert!(looks >= 256, "{looks}");
    assert_eq!(refused.code(), (429, "TooOften".to_owned()));
    assert_eq!(refused.header("retry-after"), "1");
}

#[tokio::test]
async fn tells_a_pod_without_a_policy_so_and_refuses_nothing() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("idle-0", "idle");
    let answer = send(&router, request("GET", "/v1/assignments", &bearer, "")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = answer.json();
    assert_eq!(answer["tokens"], json!([]));
    assert_eq!(answer["notice"]["code"], "NoPolicy");
}

#[tokio::test]
async fn answers_304_to_who_has_the_assignments_already() {
    let mut operator = Operator::new().await;
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let ask = |tags: &[&str]| {
        let mut request = request("GET", "/v1/assignments", &bearer, "");
        for tag in tags {
            request
                .headers_mut()
                .append("if-none-match", tag.parse().unwrap());
        }
        send(&router, request)
    };
    let tag = ask(&[]).await.header("etag").to_owned();
    assert!(
        tag.starts_with('"') && tag.ends_with('"') && tag.len() > 30,
        "{tag}"
    );
    let (weak, list) = (format!("W/{tag}"), format!("\"other\", {tag}"));
    for tags in [
        &[&*tag][..],
        &[&*weak],
        &[&*list],
        &["\"a\"", &*tag],
        &["*"],
    ] {
        let answer = ask(tags).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{tags:?}");
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.header("cache-control"), "private, max-age=30");
        assert!(answer.body.is_empty());
    }
    assert_eq!(ask(&["\"other\""]).await.status, StatusCode::OK);
    let other = operator.bearer("idle-0", "idle");
    let other = send(&router, request("GET", "/v1/assignments", &other, "")).await;
    assert_ne!(other.header("etag"), tag);
}

#[tokio::test]
async fn f11_where_there_are_many_pods_each_asks_more_rarely() {
    let mut operator = Operator::new().await;
    let index = operator.api.as_ref().unwrap().index.clone();
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    for number in 0..16_000 {
        let name = format!("crowd-{number}");
        index.deliver_pod(pod("shop", &name, "idle"));
    }
    let answer = send(&router, request("GET", "/v1/assignments", &bearer, "")).await;
    // 16,000 and those of the fixture, at 500 a second
    assert_eq!(answer.header("cache-control"), "private, max-age=33");
}
