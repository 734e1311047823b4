//! What is revoked or locked.

use hallpass_core::name::IssuerId;
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    fixture::{FIRST, PAYMENTS, SECOND, Shop, claims},
    introspect::is_inactive,
    refusal::is,
};
use crate::{
    index::fixture::{cluster_revocation, revocation},
    issuer::fixture::now,
};

const INTROSPECT: &str = "/oauth2/introspect";

impl Shop {
    pub(super) async fn is_active(&self, token: &str) -> bool {
        let answer = self.introspect(INTROSPECT, &self.payments(), token).await;
        assert_eq!(answer.status, StatusCode::OK);
        let active = answer.json()["active"].as_bool().unwrap();
        if !active {
            is_inactive(&answer, "revoked");
        }
        active
    }

    pub(super) fn revoke(&self, version: u64, target: &Value) {
        self.index
            .deliver_revocation(revocation("inc-1", version, &json!({"target": target})));
    }
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
        let ring = shop.keys.ring(&IssuerId::of(FIRST)).unwrap();
        ring.active(now()).signing().kid().to_owned()
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
async fn t21_a_revoked_key_signs_nothing_though_no_other_one_signs_yet() {
    for (of, status) in [
        (FIRST, StatusCode::SERVICE_UNAVAILABLE),
        (SECOND, StatusCode::OK),
    ] {
        let shop = Shop::new().await;
        let ring = shop.keys.ring(&IssuerId::of(of)).unwrap();
        let kid = ring.active(now()).signing().kid();
        let spec = json!({"target": {"key": kid}});
        let revoked = cluster_revocation("inc-1", 70, &spec);
        shop.index.revoke(vec![], vec![revoked]);
        let orders = shop.orders();
        let answer = shop.exchange(&orders, &[("audience", PAYMENTS)]).await;
        assert_eq!(answer.status, status, "{of}");
        if of == FIRST {
            let unavailable = "temporarily_unavailable";
            is(&answer, 503, unavailable, "IssuerNotReady", "its key");
        }
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
