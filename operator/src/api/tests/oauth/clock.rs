//! A replica whose clock is set while it runs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fixture::{EXCHANGE, FIRST, JWT, PAYMENTS, Shop, claims};
use crate::{
    api::fixture::{Answer, identity, request, send, set_clock},
    issuer::fixture::START,
};

/// The identity token of that pod, made so long ago that no clock of these tests is before it.
fn aged(shop: &Shop, pod: &str, account: &str, namespace: &str) -> String {
    let mut claims = identity(pod, account);
    let of = |what: &str| json!(format!("uid-{namespace}-{what}"));
    claims["iat"] = json!(START - 3_000);
    claims["nbf"] = claims["iat"].clone();
    claims["sub"] = json!(format!("system:serviceaccount:{namespace}:{account}"));
    let kubernetes = &mut claims["kubernetes.io"];
    kubernetes["namespace"] = json!(namespace);
    kubernetes["pod"]["uid"] = of(pod);
    kubernetes["serviceaccount"]["uid"] = of(account);
    shop.operator.signed(&claims)
}

/// What it answers who asks for a token, about one, and who gives one back.
async fn asked(shop: &Shop) -> [Answer; 3] {
    let orders = aged(shop, "orders-0", "orders", "shop");
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 700));
    let exchange = [
        ("grant_type", EXCHANGE),
        ("subject_token", orders.as_str()),
        ("subject_token_type", JWT),
        ("audience", PAYMENTS),
    ];
    let payments = aged(shop, "payments-0", "payments", "payments");
    [
        shop.post("/oauth2/token", &exchange).await,
        shop.introspect("/oauth2/introspect", &payments, &token)
            .await,
        shop.give_back("/oauth2/revoke", &orders, "unknown").await,
    ]
}

/// The token of that name by the sidecars' way.
async fn fetched(shop: &Shop, name: &str) -> Answer {
    let orders = aged(shop, "orders-0", "orders", "shop");
    let body = format!(r#"{{"names":["{name}"]}}"#);
    send(&shop.router, request("POST", "/v1/tokens", &orders, body)).await
}

fn apart(answer: &Answer) -> (u16, &'static str) {
    let words = "the clocks of this replica and of the API server are ";
    let said: Value = answer.json();
    let said = [&said["detail"], &said["error_description"]];
    let why = said
        .iter()
        .any(|said| said.as_str().is_some_and(|said| said.contains(words)));
    (answer.status.as_u16(), if why { "apart" } else { "" })
}

#[tokio::test]
async fn f06_a_replica_whose_clock_is_set_is_done_at_once_and_serves_as_soon_as_it_is_right() {
    let shop = Shop::new().await;
    shop.keys.be_ahead(0);
    for off in [600, -600] {
        set_clock(off);
        for answer in asked(&shop).await {
            assert_eq!(apart(&answer), (503, "apart"), "{off}: {answer:?}");
        }
        let answer = fetched(&shop, "payments").await;
        assert_eq!(answer.code(), (503, "Unavailable".into()), "{off}");
        for slewed in [0, 5, -5] {
            set_clock(slewed);
            for answer in asked(&shop).await {
                assert_eq!(answer.status, 200, "{off}, {slewed}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn f06_a_token_of_the_api_server_that_only_the_clock_speaks_against_is_no_wrong_one() {
    let shop = Shop::new().await;
    shop.keys.be_ahead(0);
    set_clock(-600);
    let answer = fetched(&shop, "vault").await;
    assert_eq!(apart(&answer), (503, "apart"), "{answer:?}");
    set_clock(600);
    let answer = fetched(&shop, "vault").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let time = |member: &str| -> Timestamp {
        let told = &answer.json()["tokens"][0][member];
        told.as_str().unwrap().parse().unwrap()
    };
    let told = (
        time("issued_at").as_second(),
        time("expires_at").as_second(),
    );
    assert_eq!(told, (START, START + 3_600), "the API server's");
}
