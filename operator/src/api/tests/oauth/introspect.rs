//! What a token is worth, and for whom.

use hallpass_crds::token_policy::TokenPolicy;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::fixture::{
    EXCHANGE, FIRST, JWT, LEDGER, PAYMENTS, SECOND, Shop, claims, form, issuer, policy, raw,
};
use crate::{
    api::fixture::{Answer, Operator, request, send},
    index::{
        Stored,
        fixture::{pod, service_account},
    },
    issuer::fixture::{START, mint},
    keys::Keys,
    telemetry::Metrics,
};

const PATH: &str = "/oauth2/introspect";
const SECOND_PATH: &str = "/second/oauth2/introspect";

fn active(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json()["active"], true, "{}", answer.json());
    answer.json()
}

pub(super) fn is_inactive(answer: &Answer, what: &str) {
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!(
        (answer.status.as_u16(), text.as_str()),
        (200, r#"{"active":false}"#),
        "{what}"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("etag"), "");
}

impl Shop {
    /// Who checks the tokens of [`PAYMENTS`].
    pub(super) fn payments(&self) -> String {
        self.identity("payments", "payments-0", "payments")
    }

    /// Who checks those of [`LEDGER`].
    pub(super) fn ledger(&self) -> String {
        self.identity("payments", "ledger-0", "ledger")
    }

    async fn issued(&self, path: &str, audience: &str) -> String {
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", &self.orders()),
            ("subject_token_type", JWT),
            ("audience", audience),
        ];
        let answer = self.post(path, &form).await;
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn tells_the_api_what_its_token_says() {
    let shop = Shop::new().await;
    for (path, caller, issuer, audience, scope) in [
        ("/oauth2", shop.payments(), FIRST, PAYMENTS, "read write"),
        ("/second/oauth2", shop.ledger(), SECOND, LEDGER, "read"),
    ] {
        let token = shop.issued(&format!("{path}/token"), audience).await;
        let answer = shop
            .introspect(&format!("{path}/introspect"), &caller, &token)
            .await;
        let mut told = active(&answer);
        let jti = told.as_object_mut().unwrap().remove("jti").unwrap();
        assert_eq!(jti.as_str().unwrap().len(), 36);
        let object = |name: &str, uid: &str| json!({"name": name, "uid": uid});
        assert_eq!(
            told,
            json!({
                "active": true, "token_type": "Bearer", "scope": scope,
                "client_id": "system:serviceaccount:shop:orders",
                "sub": "system:serviceaccount:shop:orders",
                "iss": issuer, "aud": audience, "iat": START, "exp": START + 900,
                "hpp": "orders", "hpe": [0, 0],
                "kubernetes.io": {
                    "namespace": "shop",
                    "serviceaccount": object("orders", "uid-shop-orders"),
                    "pod": object("orders-0", "uid-shop-orders-0"),
                },
                "team": "orders",
            })
        );
    }
}

#[tokio::test]
async fn either_form_is_known_whatever_the_audience_wants_now() {
    let shop = Shop::new().await;
    let now = claims(FIRST, PAYMENTS, 60);
    for token in [shop.signed(FIRST, &now), shop.sealed(FIRST, &now)] {
        active(&shop.introspect(PATH, &shop.payments(), &token).await);
        let hinted = form(
            PATH,
            &[("token", &token), ("token_type_hint", "refresh_token")],
        );
        let (mut parts, body) = hinted.into_parts();
        let bearer = format!("Bearer {}", shop.payments());
        parts
            .headers
            .insert("authorization", bearer.parse().unwrap());
        let answer = send(&shop.router, http::Request::from_parts(parts, body)).await;
        active(&answer);
    }
}

#[tokio::test]
async fn f22_tokens_are_told_of_after_a_panic_amidst_what_was_verified() {
    let shop = Shop::after(vec![issuer("first", FIRST)], Operator::poison).await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 60));
    for _ in 0..2 {
        active(&shop.introspect(PATH, &shop.payments(), &token).await);
    }
}

#[tokio::test]
async fn t20_nobody_else_learns_anything() {
    let shop = Shop::new().await;
    for (path, issuer, audience) in [(PATH, FIRST, PAYMENTS), (SECOND_PATH, SECOND, LEDGER)] {
        let now = claims(issuer, audience, 60);
        for token in [shop.signed(issuer, &now), shop.sealed(issuer, &now)] {
            for caller in [
                // Who holds it.
                shop.orders(),
                shop.identity("shop", "idle-0", "idle"),
                // A service account of that name in another namespace.
                shop.identity("bank", "payments-0", "payments"),
                // Who checks another audience of the same namespace.
                if audience == PAYMENTS {
                    shop.ledger()
                } else {
                    shop.payments()
                },
            ] {
                is_inactive(&shop.introspect(path, &caller, &token).await, audience);
            }
        }
    }
}

#[tokio::test]
async fn t20_who_brings_no_identity_token_is_asked_for_one() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 60));
    let answer = send(&shop.router, form(PATH, &[("token", &token)])).await;
    assert_eq!(answer.code(), (401, "NoBearer".into()));
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"hallpass\""
    );
    // T10: nor does an access token say who asks.
    for caller in [&token, &shop.sealed(FIRST, &claims(FIRST, PAYMENTS, 60))] {
        let answer = shop.introspect(PATH, caller, &token).await;
        assert_eq!(answer.code(), (401, "MalformedBearer".into()));
    }
}

#[tokio::test]
async fn a_form_without_a_token_is_none() {
    let shop = Shop::new().await;
    let bearer = format!("Bearer {}", shop.payments());
    for (body, expected) in [
        ("".to_owned(), (400, "MalformedRequest")),
        ("token=".to_owned(), (400, "MalformedRequest")),
        ("token=a&token=a".to_owned(), (400, "MalformedRequest")),
        ("x".repeat(1024 * 1024), (413, "TooLarge")),
    ] {
        let mut request = raw(PATH, body);
        request
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        let answer = send(&shop.router, request).await;
        assert_eq!(answer.code(), (expected.0, expected.1.to_owned()));
    }
    let json = request("POST", PATH, &shop.payments(), r#"{"token":"a"}"#);
    assert_eq!(
        send(&shop.router, json).await.code(),
        (400, "MalformedRequest".into())
    );
}

#[tokio::test]
async fn a_token_is_worth_nothing_after_its_time() {
    let shop = Shop::new().await;
    // The end was so many seconds ago; two clocks may be 5 s apart.
    for (after, expected) in [(4, true), (5, false), (6, false), (5000, false)] {
        let then = claims(FIRST, PAYMENTS, 900 + after);
        for token in [shop.signed(FIRST, &then), shop.sealed(FIRST, &then)] {
            let answer = shop.introspect(PATH, &shop.payments(), &token).await;
            if expected {
                active(&answer);
            } else {
                is_inactive(&answer, &after.to_string());
            }
        }
    }
}

#[tokio::test]
async fn a_token_is_worth_nothing_without_its_pod() {
    let shop = Shop::new().await;
    let old = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 60));
    let tell = async || shop.introspect(PATH, &shop.payments(), &old).await;
    active(&tell().await);
    let due = |ago: i64| {
        let mut pod = pod("shop", "orders-0", "orders");
        let due = Timestamp::from_second(START - ago).unwrap();
        pod.metadata.deletion_timestamp = Some(Time(due));
        pod
    };
    shop.index.deliver_pod(due(60));
    active(&tell().await);
    shop.index.deliver_pod(due(61));
    is_inactive(&tell().await, "deleted");
    let mut another = pod("shop", "orders-0", "orders");
    another.metadata.uid = Some("another".to_owned());
    shop.index.deliver_pod(another);
    is_inactive(&tell().await, "another pod of that name");
}

#[tokio::test]
async fn f20_a_token_is_worth_nothing_without_a_policy_that_gives_it() {
    let shop = Shop::new().await;
    let old = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 60));
    let sealed = shop.sealed(FIRST, &claims(FIRST, PAYMENTS, 60));
    let just_made = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 10));
    let tell = async |token: &str| shop.introspect(PATH, &shop.payments(), token).await;
    // It says now that this pod gets nothing: that counts when the next token is made.
    let mut edited = policy();
    edited.spec.tokens.clear();
    shop.index.deliver(Stored(Ok(edited)));
    active(&tell(&old).await);

    shop.index.delete_policy(policy());
    for token in [&old, &sealed] {
        is_inactive(&tell(token).await, "its policy was deleted");
    }
    // Another replica may have made it by a policy that this one has not read of.
    active(&tell(&just_made).await);

    let named = |name: &str, change: fn(&mut TokenPolicy)| {
        let mut policy = policy();
        policy.metadata.name = Some(name.to_owned());
        policy.metadata.uid = Some(format!("uid-shop-{name}"));
        change(&mut policy);
        policy
    };
    let others = [
        (
            "of another account",
            named("other", |policy| {
                policy.spec.subjects[0].service_account = "idle".to_owned();
            }),
        ),
        (
            "of fewer scopes",
            named("other", |policy| {
                policy.spec.tokens[0].scopes = Some(vec!["read".to_owned()]);
            }),
        ),
        (
            "of another audience",
            named("other", |policy| drop(policy.spec.tokens.remove(0))),
        ),
    ];
    for (what, other) in others {
        shop.index.deliver(Stored(Ok(other.clone())));
        is_inactive(&tell(&old).await, what);
        shop.index.delete_policy(other);
    }
    let again = named("orders", |policy| {
        policy.metadata.creation_timestamp = Some(Time(Timestamp::from_second(START).unwrap()));
        policy.spec.subjects[0].service_account = "idle".to_owned();
    });
    shop.index.deliver(Stored(Ok(again)));
    is_inactive(&tell(&old).await, "another one of that name");
    shop.index.deliver(Stored(Ok(named("other", |_| ()))));
    for token in [&old, &sealed] {
        active(&tell(token).await);
    }
}

#[tokio::test]
async fn who_is_not_known_yet_has_a_moment_and_who_is_gone_does_not_come_back() {
    let shop = Shop::new().await;
    for (ago, expected) in [(0, true), (10, true), (11, false), (800, false)] {
        let mut unknown = claims(FIRST, PAYMENTS, ago);
        unknown.pod_uid = hallpass_core::name::Uid::parse("later").unwrap();
        let mut stranger = claims(FIRST, PAYMENTS, ago);
        stranger.service_account_uid = hallpass_core::name::Uid::parse("later").unwrap();
        for claims in [unknown, stranger] {
            let token = shop.sealed(FIRST, &claims);
            let answer = shop.introspect(PATH, &shop.payments(), &token).await;
            if expected {
                active(&answer);
            } else {
                is_inactive(&answer, &ago.to_string());
            }
        }
    }
    // The account is another one of that name now.
    let mut another = service_account("shop", "orders");
    another.metadata.uid = Some("another".to_owned());
    let pods = vec![
        pod("shop", "orders-0", "orders"),
        pod("payments", "payments-0", "payments"),
    ];
    let accounts = vec![another, service_account("payments", "payments")];
    shop.index.relist(pods, accounts);
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 60));
    is_inactive(
        &shop.introspect(PATH, &shop.payments(), &token).await,
        "another account",
    );
}

#[tokio::test]
async fn a_replica_that_has_no_key_cannot_tell_and_says_so_of_every_token() {
    let shop = Shop::new().await;
    let mut operator =
        Operator::with_keys(shop.index.clone(), Keys::new(Metrics::new()), mint).await;
    let bearer = operator.bearer("orders-0", "orders");
    let router = operator.router();
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 60));
    for token in [token.as_str(), "nothing"] {
        let mut request = form(PATH, &[("token", token)]);
        let bearer = format!("Bearer {bearer}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let answer = send(&router, request).await;
        assert_eq!(answer.code(), (503, "IssuerNotReady".into()));
    }
}

#[tokio::test]
async fn t41_a_replica_whose_clock_is_off_issues_nothing_and_judges_nothing() {
    for (ahead, status) in [(5, 200), (-5, 200), (7, 503), (-7, 503), (600, 503)] {
        let shop = Shop::new().await;
        let token = shop.issued("/oauth2/token", PAYMENTS).await;
        shop.keys.be_ahead(ahead);
        let told = shop.introspect(PATH, &shop.payments(), &token).await;
        assert_eq!(told.status, status, "{ahead} s");
        let asked = shop
            .exchange(&shop.orders(), &[("audience", PAYMENTS)])
            .await;
        assert_eq!(asked.status, status, "{ahead} s");
    }
}
