//! What is revoked or locked, and what a pod gives back.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    fixture::{ASSERTION, FIRST, LEDGER, PAYMENTS, Shop, claims, form},
    introspect::is_inactive,
    refusal::is,
};
use crate::{
    api::fixture::{Answer, REVOCATIONS, send, stored_revocation},
    index::fixture::{cluster_revocation, revocation},
    issuer::fixture::{Reply, status},
};

const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";

impl Shop {
    async fn is_active(&self, token: &str) -> bool {
        let answer = self.introspect(INTROSPECT, &self.payments(), token).await;
        assert_eq!(answer.status, StatusCode::OK);
        let active = answer.json()["active"].as_bool().unwrap();
        if !active {
            is_inactive(&answer, "revoked");
        }
        active
    }

    fn revoke(&self, version: u64, target: &Value) {
        self.index
            .deliver_revocation(revocation("inc-1", version, &json!({"target": target})));
    }

    async fn give_back(&self, path: &str, identity: &str, token: &str) -> Answer {
        self.post(path, &give_back(identity, token)).await
    }

    /// How often something was written to the API server.
    fn written(&self) -> Vec<Value> {
        let calls = self.operator.server.calls().into_iter();
        let written = calls.filter(|(call, _)| call == REVOCATIONS);
        written.map(|(_, body)| body).collect()
    }
}

fn give_back<'a>(identity: &'a str, token: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("client_assertion", identity),
        ("client_assertion_type", ASSERTION),
        ("token", token),
    ]
}

#[tokio::test]
async fn t21_what_is_revoked_is_inactive_though_it_was_verified_a_moment_ago() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    assert!(shop.is_active(&token).await);
    shop.revoke(70, &json!({"serviceAccount": "orders"}));
    assert!(!shop.is_active(&token).await);
    let answer = shop
        .exchange(&shop.orders(), &[("audience", PAYMENTS)])
        .await;
    let fresh = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert!(
        shop.is_active(&fresh).await,
        "what is issued since knows of it"
    );
}

#[tokio::test]
async fn t21_each_kind_of_target_refuses_its_tokens() {
    let token_of = |shop: &Shop| shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let kid = |shop: &Shop| {
        let ring = shop
            .keys
            .ring(&hallpass_core::name::IssuerId::of(FIRST))
            .unwrap();
        ring.active(crate::issuer::fixture::now())
            .signing()
            .kid()
            .to_owned()
    };
    let id = claims(FIRST, PAYMENTS, 5).id.to_string();
    for target in [
        json!({"pod": "orders-0"}),
        json!({"serviceAccount": "orders"}),
        json!({"policy": "orders"}),
        json!({"tokenID": id}),
    ] {
        let shop = Shop::new().await;
        shop.revoke(70, &target);
        assert!(!shop.is_active(&token_of(&shop)).await, "{target}");
    }
    let shop = Shop::new().await;
    let mut targets = vec![
        json!({"namespace": "shop"}),
        json!({"audience": PAYMENTS}),
        json!({"issuer": "first"}),
    ];
    targets.push(json!({"key": kid(&shop)}));
    for target in targets {
        let spec = json!({"target": target});
        shop.index
            .revoke(vec![], vec![cluster_revocation("inc-1", 70, &spec)]);
        assert!(!shop.is_active(&token_of(&shop)).await, "{target}");
        let deleted = cluster_revocation("inc-1", 70, &spec);
        shop.index.delete_cluster_revocation(deleted);
        assert!(shop.is_active(&token_of(&shop)).await, "{target}");
    }
}

#[tokio::test]
async fn a_locked_subject_is_told_the_message_of_its_lock() {
    let shop = Shop::new().await;
    let spec = json!({
        "target": {"serviceAccount": "orders"}, "effect": "Lock", "message": "INC-123",
    });
    shop.index
        .deliver_revocation(revocation("inc-1", 70, &spec));
    for answer in [
        shop.exchange(&shop.orders(), &[("audience", PAYMENTS)])
            .await,
        shop.credentials(&shop.orders(), &[("audience", PAYMENTS)])
            .await,
    ] {
        is(&answer, 400, "access_denied", "Locked", "a lock");
        let told = answer.json()["error_description"]
            .as_str()
            .unwrap()
            .to_owned();
        let detail = "service account 'orders' is locked by TokenRevocation shop/inc-1: INC-123";
        assert_eq!(told, detail);
    }
    let lines = shop.operator.lines.text();
    assert!(!lines.contains("TokenIssued"), "{lines}");
}

#[tokio::test]
async fn a_pod_gives_back_its_own_token_and_it_is_stored() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let id = claims(FIRST, PAYMENTS, 5).id.to_string();
    let orders = shop.orders();
    let answer = shop.give_back(REVOKE, &orders, &token);
    // The watch brings it back, as it would.
    let (answer, ()) = tokio::join!(answer, async {
        while shop.written().is_empty() {
            tokio::task::yield_now().await;
        }
        shop.revoke(70, &json!({"tokenID": id}));
    });
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    assert_eq!(answer.header("cache-control"), "no-store");
    let [stored] = <[Value; 1]>::try_from(shop.written()).unwrap();
    assert_eq!(stored["metadata"]["name"], format!("token-{id}"));
    assert_eq!(stored["metadata"]["ownerReferences"][0]["uid"], "uid-role");
    let spec = json!({"target": {"tokenID": id}, "ttlSecondsAfterExpired": 0});
    assert_eq!(stored["spec"], spec);
    assert!(!shop.is_active(&token).await);
    let lines = shop.operator.lines.text();
    assert!(
        lines.contains(r#""event":"TokenRevoked""#) && lines.contains(&id),
        "{lines}"
    );
    assert!(!lines.contains(&token));
    // Once more: it is worth nothing already.
    let again = shop.give_back(REVOKE, &shop.orders(), &token).await;
    assert_eq!((again.status, shop.written().len()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn what_is_no_valid_token_is_given_back_without_a_word() {
    let shop = Shop::new().await;
    let expired = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5000));
    let elsewhere = shop.sealed(
        super::fixture::SECOND,
        &claims(super::fixture::SECOND, LEDGER, 5),
    );
    for token in ["a", "hpo_a", &expired, &elsewhere] {
        let answer = shop.give_back(REVOKE, &shop.orders(), token).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (StatusCode::OK, 0),
            "{token}"
        );
    }
    assert_eq!(shop.written().len(), 0);
}

#[tokio::test]
async fn the_token_of_another_pod_is_left_alone() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let idle = shop.identity("shop", "idle-0", "idle");
    let answer = shop.give_back(REVOKE, &idle, &token).await;
    is(&answer, 400, "invalid_grant", "ForeignToken", "another pod");
    assert_eq!(shop.written().len(), 0);
    assert!(shop.is_active(&token).await);
}

#[tokio::test(start_paused = true)]
async fn t21_what_could_not_be_stored_is_not_said_to_be_revoked() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let taken = || status(409, "tokenrevocations", "already exists");
    let other = || Reply::Json(200, stored_revocation("another"));
    for stores in [
        [status(500, "tokenrevocations", "etcd"), other()],
        [status(403, "tokenrevocations", "no right"), other()],
        [Reply::Silence, other()],
        [taken(), other()],
        [taken(), status(404, "tokenrevocations", "gone")],
    ] {
        *shop.operator.stores.lock().unwrap() = stores;
        let answer = shop.give_back(REVOKE, &shop.orders(), &token).await;
        is(
            &answer,
            503,
            "temporarily_unavailable",
            "Unavailable",
            "not stored",
        );
        assert!(shop.is_active(&token).await);
    }
    let id = claims(FIRST, PAYMENTS, 5).id.to_string();
    *shop.operator.stores.lock().unwrap() = [taken(), Reply::Json(200, stored_revocation(&id))];
    let answer = shop.give_back(REVOKE, &shop.orders(), &token).await;
    assert_eq!(answer.status, StatusCode::OK, "it was stored before");
}

#[tokio::test]
async fn t23_without_room_nothing_is_said_to_be_revoked() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let many = (0..hallpass_core::revocation::MOST_OF_NAMESPACE as u64).map(|i| {
        revocation(
            &format!("r-{i}"),
            i + 1,
            &json!({"target": {"policy": format!("p-{i}")}}),
        )
    });
    shop.index.revoke(many.collect(), vec![]);
    let answer = shop.give_back(REVOKE, &shop.orders(), &token).await;
    is(
        &answer,
        503,
        "temporarily_unavailable",
        "Unavailable",
        "no room",
    );
    assert_eq!(shop.written().len(), 0);
}

#[tokio::test]
async fn who_gives_back_says_who_it_is_and_what_is_meant() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let orders = shop.orders();
    let whole = give_back(&orders, &token);
    let without = |name: &str| {
        let left = whole.iter().filter(|(n, _)| *n != name);
        left.copied().collect::<Vec<_>>()
    };
    let answer = shop.post(REVOKE, &without("token")).await;
    is(
        &answer,
        400,
        "invalid_request",
        "MalformedRequest",
        "no token",
    );
    let answer = shop.post(REVOKE, &without("client_assertion")).await;
    is(&answer, 401, "invalid_client", "NoBearer", "no client");
    let answer = shop.give_back(REVOKE, "a.b.c", &token).await;
    is(
        &answer,
        401,
        "invalid_client",
        "MalformedBearer",
        "no identity",
    );
    let twice = [&whole[..], &[("token", &token)]].concat();
    let answer = shop.post(REVOKE, &twice).await;
    is(&answer, 400, "invalid_request", "MalformedRequest", "twice");
    assert_eq!(shop.written().len(), 0);
    let outside = send(&shop.outside, form(REVOKE, &whole)).await;
    assert_eq!(outside.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_gives_back_too_often_waits() {
    let shop = Shop::new().await;
    let mut refused = 0;
    for _ in 0..9 {
        let answer = shop.give_back(REVOKE, &shop.orders(), "a").await;
        if answer.status != StatusCode::OK {
            is(
                &answer,
                429,
                "temporarily_unavailable",
                "TooOften",
                "the ninth",
            );
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
}
