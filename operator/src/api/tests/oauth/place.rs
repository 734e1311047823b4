//! Which issuer a request is for.

use axum::body::Body;
use http::{Request, StatusCode};

use super::fixture::{FIRST, SECOND, Shop, form, get, issuer};
use crate::{
    api::fixture::{Answer, send},
    api::{self},
};

async fn named(shop: &Shop, path: &str, host: &str) -> String {
    let request = Request::get(path).header("host", host);
    let answer = send(&shop.router, request.body(Body::empty()).unwrap()).await;
    if answer.status != StatusCode::OK {
        return answer.code().1;
    }
    answer.json()["issuer"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_path_alone_is_enough_whatever_the_host() {
    let shop = Shop::new().await;
    for host in [
        "id.example",
        "10.0.0.1:8443",
        "localhost",
        "[::1]:1",
        "\"",
        "",
    ] {
        let discovery = "/.well-known/openid-configuration";
        assert_eq!(named(&shop, discovery, host).await, FIRST, "{host}");
        let inserted = "/.well-known/oauth-authorization-server/second";
        assert_eq!(named(&shop, inserted, host).await, SECOND, "{host}");
    }
}

#[tokio::test]
async fn the_host_tells_issuers_with_one_path_apart() {
    let urls = [
        "https://a.example/x",
        "https://b.example/x",
        "https://a.example:8443/x",
        "https://a.example:443/x",
    ];
    let issuers = urls.iter().enumerate();
    let shop = Shop::with(
        issuers
            .map(|(i, url)| issuer(&format!("i{i}"), url))
            .collect(),
    )
    .await;
    let path = "/x/.well-known/openid-configuration";
    for (host, expected) in [
        ("a.example", urls[0]),
        ("A.Example", urls[0]),
        ("b.example", urls[1]),
        ("b.example:443", urls[1]),
        ("a.example:8443", urls[2]),
        ("a.example:443", urls[3]),
        ("b.example:8443", "NoSuchPath"),
        ("c.example", "NoSuchPath"),
        ("", "NoSuchPath"),
    ] {
        assert_eq!(named(&shop, path, host).await, expected, "{host}");
    }
    let absolute = "https://b.example/x/.well-known/openid-configuration";
    assert_eq!(named(&shop, absolute, "a.example").await, urls[1]);
    let mut two = Request::get(path)
        .header("host", "a.example")
        .body(Body::empty())
        .unwrap();
    two.headers_mut()
        .append("host", "b.example".parse().unwrap());
    assert_eq!(
        send(&shop.router, two).await.code(),
        (404, "NoSuchPath".into())
    );
}

#[tokio::test]
async fn t33_there_is_nothing_at_any_other_path() {
    let shop = Shop::new().await;
    for path in [
        "/",
        "/jwks/",
        "//jwks",
        "/third/jwks",
        "/second/jwk%73",
        "/secondjwks",
        "/Second/jwks",
        "/second/../jwks",
        "/second/%2e%2e/jwks",
        "/second//jwks",
        "/.well-known/oauth-authorization-server/",
        "/.well-known/oauth-authorization-serversecond",
        "/second/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration/second",
    ] {
        for router in [&shop.router, &shop.outside] {
            assert_eq!(
                get(router, path).await.code(),
                (404, "NoSuchPath".into()),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn another_method_is_told_which_ones_there_are() {
    let shop = Shop::new().await;
    let ask = async |method: &str, path: &str| -> Answer {
        let request = Request::builder().method(method).uri(path);
        send(&shop.router, request.body(Body::empty()).unwrap()).await
    };
    for (method, path, allow) in [
        ("GET", "/oauth2/token", "POST"),
        ("HEAD", "/second/oauth2/introspect", "POST"),
        ("PUT", "/second/oauth2/token", "POST"),
        ("POST", "/jwks", "GET,HEAD"),
        ("DELETE", "/.well-known/openid-configuration", "GET,HEAD"),
    ] {
        let answer = ask(method, path).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn the_world_has_no_other_route() {
    let shop = Shop::new().await;
    let identity = shop.identity("payments", "payments-0", "payments");
    for (method, path) in [
        ("GET", "/v1/assignments"),
        ("POST", "/v1/tokens"),
        ("POST", "/oauth2/introspect"),
        ("GET", "/healthz"),
        ("GET", "/metrics"),
    ] {
        let request = api::fixture::request(method, path, &identity, "token=a");
        let answer = send(&shop.outside, request).await;
        assert_eq!(answer.code(), (404, "NoSuchPath".into()), "{path}");
    }
    assert_eq!(
        get(&shop.outside, "/second/jwks").await.status,
        StatusCode::OK
    );
    let token = send(&shop.outside, form("/oauth2/token", &[])).await;
    assert_eq!(token.json()["error"], "invalid_request");
}

#[tokio::test]
async fn before_the_cluster_is_read_nobody_is_told_that_there_is_nothing() {
    let index = crate::index::Index::new(
        crate::telemetry::Metrics::new(),
        crate::issuer::fixture::now,
    );
    let mut operator = api::fixture::Operator::with(index, crate::issuer::fixture::mint).await;
    let (router, outside) = operator.routers();
    for router in [&router, &outside] {
        assert_eq!(get(router, "/jwks").await.code(), (503, "NotSynced".into()));
        assert_eq!(get(router, "/x").await.code(), (404, "NoSuchPath".into()));
        let token = send(router, form("/oauth2/token", &[])).await;
        assert_eq!(token.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(token.json()["error"], "temporarily_unavailable");
        assert_eq!(token.header("retry-after"), "2");
    }
}

#[tokio::test]
async fn every_endpoint_is_counted_by_its_kind() {
    let shop = Shop::new().await;
    for path in [
        "/oauth2/token",
        "/second/oauth2/introspect",
        "/jwks",
        "/.well-known/openid-configuration",
    ] {
        get(&shop.router, path).await;
    }
    let metrics = shop.operator.metrics.encode().unwrap();
    for line in [
        "hallpass_requests_total{route=\"token\",code=\"WrongMethod\"} 1",
        "hallpass_requests_total{route=\"introspect\",code=\"WrongMethod\"} 1",
        "hallpass_requests_total{route=\"jwks\",code=\"OK\"} 1",
        "hallpass_requests_total{route=\"metadata\",code=\"OK\"} 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
}
