//! Tokens for those who may have them.

use http::StatusCode;
use serde_json::json;

use super::fixture::{EXCHANGE, FIRST, JWT, LEDGER, PAYMENTS, Shop, form, raw};
use crate::{
    api::fixture::{Answer, send},
    issuer::fixture::START,
};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a token says, without a look at its signature.
fn said(answer: &Answer) -> serde_json::Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    serde_json::from_slice(&payload.unwrap()).unwrap()
}

fn is_issued(answer: &Answer, scope: &str, kind: Option<&str>) {
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    assert_eq!(answer.header("content-type"), "application/json");
    let mut rest = answer.json();
    let members = rest.as_object_mut().unwrap();
    assert!(members.remove("access_token").is_some());
    let mut expected = json!({"token_type": "Bearer", "expires_in": 900, "scope": scope});
    if let Some(kind) = kind {
        expected["issued_token_type"] = kind.into();
    }
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let shop = Shop::new().await;
    let answer = shop
        .exchange(&shop.orders(), &[("audience", PAYMENTS)])
        .await;
    is_issued(&answer, "read write", Some(ACCESS_TOKEN));
    let said = said(&answer);
    assert_eq!(said["iss"], FIRST);
    assert_eq!(said["aud"], PAYMENTS);
    assert_eq!(said["client_id"], "system:serviceaccount:shop:orders");
    assert_eq!(
        (&said["iat"], &said["exp"]),
        (&START.into(), &(START + 900).into())
    );
    assert_eq!(said["kubernetes.io"]["pod"]["uid"], "uid-shop-orders-0");
    let lines = shop.operator.lines.text();
    assert_eq!(lines.lines().count(), 1);
    assert!(lines.contains("TokenIssued"), "{lines}");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert!(!lines.contains(&token) && !lines.contains(token.rsplit('.').next().unwrap()));
}

#[tokio::test]
async fn an_identity_token_authenticates_a_client() {
    let shop = Shop::new().await;
    for more in [
        &[("audience", PAYMENTS)][..],
        &[("resource", PAYMENTS), ("scope", "write")],
        &[
            ("audience", PAYMENTS),
            ("client_id", "system:serviceaccount:shop:orders"),
        ],
        &[
            ("audience", PAYMENTS),
            ("scope", ""),
            ("resource", ""),
            ("unheard-of", "x"),
        ],
    ] {
        let shop = Shop::new().await;
        let answer = shop.credentials(&shop.orders(), more).await;
        let scope = if more.contains(&("scope", "write")) {
            "write"
        } else {
            "read write"
        };
        is_issued(&answer, scope, None);
    }
    let wanted = [
        ("audience", PAYMENTS),
        ("requested_token_type", ACCESS_TOKEN),
    ];
    is_issued(
        &shop.exchange(&shop.orders(), &wanted).await,
        "read write",
        Some(ACCESS_TOKEN),
    );
}

#[tokio::test]
async fn a_token_has_the_scopes_that_were_asked_for_and_no_more() {
    let shop = Shop::new().await;
    let more = [("audience", PAYMENTS), ("scope", "read")];
    let answer = shop.exchange(&shop.orders(), &more).await;
    is_issued(&answer, "read", Some(ACCESS_TOKEN));
    assert_eq!(said(&answer)["scope"], "read");
}

#[tokio::test]
async fn an_opaque_token_comes_from_its_issuer() {
    let shop = Shop::new().await;
    let form = [
        ("grant_type", EXCHANGE),
        ("subject_token", &shop.orders()),
        ("subject_token_type", JWT),
        ("resource", LEDGER),
    ];
    let answer = shop.post("/second/oauth2/token", &form).await;
    is_issued(&answer, "read", Some(ACCESS_TOKEN));
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("hpo_"), "{token}");
}

#[tokio::test]
async fn a_pod_may_ask_from_outside_too() {
    let shop = Shop::new().await;
    let parameters = [
        ("grant_type", EXCHANGE),
        ("subject_token", &shop.orders()),
        ("subject_token_type", JWT),
        ("audience", PAYMENTS),
    ];
    let answer = send(&shop.outside, form("/oauth2/token", &parameters)).await;
    is_issued(&answer, "read write", Some(ACCESS_TOKEN));
}

#[tokio::test]
async fn the_header_authorization_is_not_used() {
    let shop = Shop::new().await;
    let body = format!(
        "grant_type=client_credentials&client_assertion={}&client_assertion_type={}&audience={PAYMENTS}",
        shop.orders(),
        "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    );
    for authorization in ["Basic YTpi", "Bearer nothing", "Bearer a, b"] {
        let shop_request = || {
            let mut request = raw("/oauth2/token", body.clone());
            let value = authorization.parse().unwrap();
            request.headers_mut().insert("authorization", value);
            request
        };
        let answer = send(&Shop::new().await.router, shop_request()).await;
        // Another cluster's key: what counts is what is said of it.
        assert_eq!(answer.json()["error"], "invalid_client");
        let scheme = if authorization.starts_with("Basic") {
            "Basic"
        } else {
            "Bearer"
        };
        let challenge = format!("{scheme} realm=\"hallpass\"");
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
    let mut request = raw("/oauth2/token", body);
    let own = format!("Bearer {}", shop.identity("shop", "idle-0", "idle"));
    request
        .headers_mut()
        .insert("authorization", own.parse().unwrap());
    is_issued(&send(&shop.router, request).await, "read write", None);
}

#[tokio::test(start_paused = true)]
async fn the_third_token_at_once_waits() {
    let shop = Shop::new().await;
    let identity = shop.orders();
    for _ in 0..2 {
        let answer = shop.exchange(&identity, &[("audience", PAYMENTS)]).await;
        is_issued(&answer, "read write", Some(ACCESS_TOKEN));
    }
    let answer = shop.exchange(&identity, &[("audience", PAYMENTS)]).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.header("retry-after"), "10");
    let told = answer.json();
    assert_eq!(told["error"], "temporarily_unavailable");
    assert_eq!(
        (&told["code"], &told["retry_after_seconds"]),
        (&"TooOften".into(), &10.into())
    );
}

#[tokio::test]
async fn without_an_audit_record_no_token_leaves() {
    let shop = Shop::new().await;
    shop.operator.lines.fail_after(0);
    let answer = shop
        .exchange(&shop.orders(), &[("audience", PAYMENTS)])
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.json()["error"], "server_error");
    assert_eq!(answer.json().get("access_token"), None);
}
