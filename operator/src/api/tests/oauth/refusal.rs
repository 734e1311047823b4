//! How the token endpoint refuses (RFC 6749 §5.2).

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use super::fixture::{ASSERTION, EXCHANGE, FIRST, JWT, LEDGER, PAYMENTS, Shop, claims, form, raw};
use crate::{
    api::fixture::{Answer, Operator, gzipped, identity, send},
    issuer::fixture::{START, mint},
    keys::Keys,
    telemetry::Metrics,
};

/// Status, `error` and `code`, after what every refusal must be.
fn told(answer: &Answer) -> (u16, String, String) {
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    let document = answer.json();
    let text = |member: &str| document[member].as_str().unwrap().to_owned();
    assert_eq!(text("request_id"), answer.header("x-request-id"));
    let wait = document.get("retry_after_seconds").map(ToString::to_string);
    assert_eq!(wait.unwrap_or_default(), answer.header("retry-after"));
    let described = text("error_description");
    assert!((1..=1000).contains(&described.len()), "{described}");
    let allowed = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(described.bytes().all(allowed), "{described}");
    let challenged = !answer.header("www-authenticate").is_empty();
    assert_eq!(challenged, answer.status == StatusCode::UNAUTHORIZED);
    (answer.status.as_u16(), text("error"), text("code"))
}

pub(super) fn is(answer: &Answer, status: u16, error: &str, code: &str, what: &str) {
    let expected = (status, error.to_owned(), code.to_owned());
    assert_eq!(told(answer), expected, "{what}: {}", answer.json());
}

/// Parameters in the place of those of the same name, and what is said of them.
const MISTAKES: [(&[(&str, &str)], &str); 19] = [
    (&[("grant_type", "")], "invalid_request"),
    (&[("grant_type", "password")], "unsupported_grant_type"),
    (&[("subject_token", "")], "invalid_request"),
    (&[("subject_token_type", "")], "invalid_request"),
    (&[("subject_token_type", ID_TOKEN)], "invalid_request"),
    (&[("subject_token_type", ACCESS_TOKEN)], "invalid_request"),
    (&[("requested_token_type", JWT)], "invalid_request"),
    (&[("actor_token", "a")], "invalid_request"),
    (&[("actor_token_type", JWT)], "invalid_request"),
    (&[("client_assertion", "a")], "invalid_request"),
    (&[("scope", "a"), ("scope", "a")], "invalid_request"),
    (&[("scope", ""), ("scope", "read")], "invalid_request"),
    (&[("later", "1"), ("later", "2")], "invalid_request"),
    (&[("audience", "")], "invalid_target"),
    (
        &[("audience", PAYMENTS), ("audience", PAYMENTS)],
        "invalid_target",
    ),
    (
        &[("audience", PAYMENTS), ("resource", PAYMENTS)],
        "invalid_target",
    ),
    (&[("scope", "read  write")], "invalid_scope"),
    (&[("scope", "read \"write")], "invalid_scope"),
    (&[("scope", "*")], "invalid_scope"),
];

const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

#[tokio::test]
async fn what_is_no_request_is_told_so() {
    let shop = Shop::new().await;
    let identity = shop.orders();
    let base = [
        ("grant_type", EXCHANGE),
        ("subject_token", identity.as_str()),
        ("subject_token_type", JWT),
        ("audience", PAYMENTS),
    ];
    for (instead, error) in MISTAKES {
        let kept = |(name, _): &&(&str, &str)| instead.iter().all(|(other, _)| other != name);
        let mut form: Vec<_> = base.iter().filter(kept).copied().collect();
        form.extend(instead);
        let code = match error {
            "unsupported_grant_type" => "UnsupportedGrantType",
            _ => "MalformedRequest",
        };
        let answer = shop.post("/oauth2/token", &form).await;
        is(&answer, 400, error, code, &format!("{instead:?}"));
    }
    assert!(shop.operator.lines.text().is_empty());
}

#[tokio::test]
async fn only_a_form_is_read() {
    let shop = Shop::new().await;
    let kinds: [&[&str]; 5] = [
        &[],
        &["application/json"],
        &["application/x-www-form-urlencoded-not"],
        &["multipart/form-data"],
        &[
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded",
        ],
    ];
    for kinds in kinds {
        let mut request = Request::post("/oauth2/token");
        for kind in kinds {
            request = request.header("content-type", *kind);
        }
        let answer = send(
            &shop.router,
            request.body(Body::from("grant_type=a")).unwrap(),
        )
        .await;
        is(
            &answer,
            400,
            "invalid_request",
            "MalformedRequest",
            &format!("{kinds:?}"),
        );
    }
    for body in ["", "&&&", "%", "%zz=%", "=", "\u{0}", "\u{ff}=\u{ff}"] {
        let answer = send(&shop.router, raw("/oauth2/token", body)).await;
        is(&answer, 400, "invalid_request", "MalformedRequest", body);
    }
}

#[tokio::test]
async fn t39_a_large_body_is_not_read_to_its_end() {
    let shop = Shop::new().await;
    for size in [16 * 1024 + 1, 1024 * 1024] {
        let answer = send(&shop.router, raw("/oauth2/token", "a".repeat(size))).await;
        is(&answer, 413, "invalid_request", "TooLarge", "");
    }
    let answer = send(&shop.router, raw("/oauth2/token", "&".repeat(16 * 1024))).await;
    is(&answer, 400, "invalid_request", "MalformedRequest", "");
}

#[tokio::test]
async fn an_identity_token_that_is_not_accepted_has_a_word_for_each_grant() {
    let shop = Shop::new().await;
    let changed = |pointer: &str, value: serde_json::Value| {
        let mut claims = identity("orders-0", "orders");
        *claims.pointer_mut(pointer).unwrap() = value;
        shop.operator.signed(&claims)
    };
    let valid = shop.orders();
    let (signed, _) = valid.rsplit_once('.').unwrap();
    let unsigned = format!("{signed}.{}", "A".repeat(86));
    let own = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 0));
    let sealed = shop.sealed(FIRST, &claims(FIRST, PAYMENTS, 0));
    for (token, code) in [
        (
            changed("/aud", json!(["https://vault.example"])),
            "WrongAudience",
        ),
        (
            changed("/kubernetes.io/pod", json!(null)),
            "MalformedBearer",
        ),
        (changed("/exp", json!(START - 5)), "ExpiredBearer"),
        (changed("/iss", json!(FIRST)), "UnknownKey"),
        (unsigned, "BadSignature"),
        ("nothing".into(), "MalformedBearer"),
        ("a b".into(), "MalformedBearer"),
        (format!("{valid}\u{e9}"), "MalformedBearer"),
        ("a.".repeat(4097), "MalformedBearer"),
        // T10: tokens of Hallpass's own are no identity tokens.
        (own, "MalformedBearer"),
        (sealed, "MalformedBearer"),
    ] {
        let more = [("audience", PAYMENTS)];
        let short: String = token.chars().take(60).collect();
        is(
            &shop.exchange(&token, &more).await,
            400,
            "invalid_grant",
            code,
            &short,
        );
        let answer = shop.credentials(&token, &more).await;
        is(&answer, 401, "invalid_client", code, &short);
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"hallpass\""
        );
        assert_eq!(answer.header("connection"), "close");
        // T36: no part of it comes back.
        let body = String::from_utf8(answer.body).unwrap();
        for part in token.split('.').filter(|part| part.len() > 7) {
            assert!(!body.contains(part), "{body}");
        }
    }
}

#[tokio::test]
async fn a_client_that_says_less_or_another_name_is_no_client() {
    let shop = Shop::new().await;
    let identity = shop.orders();
    for (form, code) in [
        (vec![("client_assertion_type", ASSERTION)], "NoBearer"),
        (vec![("client_assertion", identity.as_str())], "NoBearer"),
        (vec![("client_id", "a"), ("client_secret", "b")], "NoBearer"),
        (
            vec![
                ("client_assertion", identity.as_str()),
                ("client_assertion_type", "saml"),
            ],
            "MalformedRequest",
        ),
    ] {
        let grant = [("grant_type", "client_credentials"), ("audience", PAYMENTS)];
        let form = [&grant[..], &form].concat();
        let answer = shop.post("/oauth2/token", &form).await;
        is(&answer, 401, "invalid_client", code, &format!("{form:?}"));
    }
    for client in [
        "orders",
        "system:serviceaccount:shop:idle",
        "system:serviceaccount:bank:orders",
    ] {
        let more = [("audience", PAYMENTS), ("client_id", client)];
        let answer = shop.credentials(&identity, &more).await;
        is(&answer, 401, "invalid_client", "MalformedRequest", client);
        let answer = shop.exchange(&identity, &more).await;
        is(&answer, 401, "invalid_client", "MalformedRequest", client);
    }
}

#[tokio::test]
async fn an_audience_that_is_not_to_be_had_is_no_target() {
    let shop = Shop::new().await;
    for (audience, code) in [
        ("https://vault.example", "NoPolicy"),
        ("https://payments.payments.svc/", "NoPolicy"),
        ("hallpass.dev/hallpass-system", "NoPolicy"),
        ("no\r\nX-Header: 1\u{e9}\"\\", "NoPolicy"),
        ("closed.payments.svc", "SubjectNotAllowed"),
        ("lost.payments.svc", "IssuerMissing"),
        // T42: the second issuer's.
        (LEDGER, "AudienceMissing"),
    ] {
        for answer in [
            shop.exchange(&shop.orders(), &[("audience", audience)])
                .await,
            shop.credentials(&shop.orders(), &[("resource", audience)])
                .await,
        ] {
            is(&answer, 400, "invalid_target", code, audience);
        }
    }
    let idle = shop.identity("shop", "idle-0", "idle");
    let answer = shop.exchange(&idle, &[("audience", PAYMENTS)]).await;
    is(&answer, 400, "invalid_target", "NoPolicy", "idle");
    shop.spoil_payments();
    let answer = shop
        .exchange(&shop.orders(), &[("audience", PAYMENTS)])
        .await;
    is(&answer, 400, "invalid_target", "AudienceMissing", "spoilt");
    // Nothing was asked of the API server, and nothing minted.
    let calls = shop.operator.server.calls();
    assert!(
        calls.iter().all(|(call, _)| call.starts_with("GET ")),
        "{calls:?}"
    );
}

#[tokio::test]
async fn a_scope_that_is_not_to_be_had_is_named() {
    let shop = Shop::new().await;
    for (scope, code) in [
        ("admin", "ScopeNotAllowed"),
        ("read admin", "ScopeNotAllowed"),
        ("READ", "ScopeNotAllowed"),
        ("r\u{e9}ad", "MalformedRequest"),
    ] {
        let more = [("audience", PAYMENTS), ("scope", scope)];
        let answer = shop.exchange(&shop.orders(), &more).await;
        is(&answer, 400, "invalid_scope", code, scope);
        let described = answer.json()["error_description"].to_string();
        let named = scope.split(' ').next_back().unwrap().replace('\u{e9}', "");
        assert!(described.contains(&named), "{described}");
    }
}

#[tokio::test]
async fn what_may_pass_says_when_to_come_again() {
    let shop = Shop::new().await;
    let mut operator =
        Operator::with_keys(shop.index.clone(), Keys::new(Metrics::new()), mint).await;
    let identity = operator.bearer("orders-0", "orders");
    let request = form(
        "/oauth2/token",
        &[
            ("grant_type", EXCHANGE),
            ("subject_token", &identity),
            ("subject_token_type", JWT),
            ("audience", PAYMENTS),
        ],
    );
    let answer = send(&operator.router(), request).await;
    is(
        &answer,
        503,
        "temporarily_unavailable",
        "IssuerNotReady",
        "",
    );
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn a_replica_that_another_one_may_know_more_than_neither_exchanges_nor_introspects() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 0));
    let exchange = async || {
        let answer = shop
            .exchange(&shop.orders(), &[("audience", PAYMENTS)])
            .await;
        answer.status.as_u16()
    };
    let introspect = async || {
        let caller = shop.payments();
        let asked = shop.introspect("/oauth2/introspect", &caller, &token);
        asked.await.status.as_u16()
    };
    assert_eq!((exchange().await, introspect().await), (200, 200));
    shop.index.standing().be_cut_off(Instant::now());
    assert_eq!((exchange().await, introspect().await), (503, 503));
}

/// Nobody can revoke meanwhile; where the API server answers somebody after all, a token must not be called active that
/// was revoked long ago.
#[tokio::test(start_paused = true)]
async fn f01_long_into_an_outage_tokens_are_issued_and_none_is_called_active() {
    for (minutes, expected) in [
        (14, (200, 200)),
        (16, (200, 503)),
        (59, (200, 503)),
        (61, (503, 503)),
    ] {
        let shop = Shop::new().await;
        let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 0));
        let standing = shop.index.standing();
        standing.be_cut_off(Instant::now());
        tokio::time::advance(Duration::from_secs((minutes - 1) * 60)).await;
        standing.hear_that_all_others_are(Instant::now());
        let exchanged = shop
            .exchange(&shop.orders(), &[("audience", PAYMENTS)])
            .await;
        let caller = shop.payments();
        let introspected = shop.introspect("/oauth2/introspect", &caller, &token).await;
        let seen = (exchanged.status.as_u16(), introspected.status.as_u16());
        assert_eq!(seen, expected, "after {minutes} minutes");
    }
}

#[tokio::test]
async fn t39_a_compressed_form_is_not_unpacked() {
    let shop = Shop::new().await;
    let orders = shop.orders();
    let parameters = [
        ("grant_type", "client_credentials"),
        ("client_assertion", orders.as_str()),
        ("client_assertion_type", ASSERTION),
        ("audience", PAYMENTS),
        ("scope", "read"),
        ("later", ""),
    ];
    let mut body = form_urlencoded::Serializer::new(String::new());
    let body = body.extend_pairs(parameters).finish();
    let mut request = raw("/oauth2/token", gzipped(body.as_bytes()));
    let encoding = "gzip".parse().unwrap();
    request.headers_mut().insert("content-encoding", encoding);
    let answer = send(&shop.router, request).await;
    is(
        &answer,
        400,
        "invalid_request",
        "MalformedRequest",
        "compressed",
    );
    let answer = send(&shop.router, raw("/oauth2/token", body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
}
