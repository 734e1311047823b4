//! What a pod gives back (RFC 7009).

use hallpass_core::{
    name::IssuerId,
    revocation::MOST_TOKENS_OF_NAMESPACE,
    token::{jwt, opaque},
};
use hallpass_crds::token_revocation::TokenRevocation;
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    fixture::{ASSERTION, FIRST, LEDGER, PAYMENTS, SECOND, Shop, claims, form},
    refusal::is,
};
use crate::{
    api::fixture::{Answer, REVOCATIONS, send, stored_revocation},
    index::fixture::{deep_fields, revocation},
    issuer::fixture::{Reply, now, status},
    keys::Keys,
};

const REVOKE: &str = "/oauth2/revoke";

impl Shop {
    pub(super) async fn give_back(&self, path: &str, identity: &str, token: &str) -> Answer {
        self.post(path, &give_back(identity, token)).await
    }

    /// The pod `orders-0` gives it back, and `watch` tells what becomes of what was stored.
    async fn give_back_watched(&self, token: &str, watch: impl FnOnce()) -> Answer {
        let orders = self.orders();
        let watched = async {
            while self.written().is_empty() {
                tokio::task::yield_now().await;
            }
            watch();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = self.give_back(REVOKE, &orders, token) => answer,
            () = watched => unreachable!("it waits for ever"),
        }
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

/// As many of single tokens as one namespace has at most.
fn many() -> Vec<TokenRevocation> {
    let many = (0..MOST_TOKENS_OF_NAMESPACE as u64).map(|i| {
        let spec = json!({"target": {"tokenID": format!("id-{i}")}});
        revocation(&format!("r-{i}"), i + 1, &spec)
    });
    many.collect()
}

#[tokio::test]
async fn a_pod_gives_back_its_own_token_and_it_is_stored() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let id = claims(FIRST, PAYMENTS, 5).id.to_string();
    let watch = || shop.revoke(70, &json!({"tokenID": id}));
    let answer = shop.give_back_watched(&token, watch).await;
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
    let of_another = shop.signed(SECOND, &claims(SECOND, LEDGER, 5000));
    let signed = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let cut = &signed[..signed.len() - 8];
    for token in ["a", "a.b.c", "hpo_a", &expired, &of_another, cut] {
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
async fn a_token_of_an_audience_that_cannot_be_used_is_given_back_all_the_same() {
    let issued = claims(FIRST, PAYMENTS, 5);
    for form in [Shop::signed, Shop::sealed] {
        let shop = Shop::new().await;
        let token = form(&shop, FIRST, &issued);
        assert!(shop.is_active(&token).await);
        shop.spoil_payments();
        assert!(!shop.is_active(&token).await);
        let watch = || shop.revoke(70, &json!({"tokenID": issued.id.as_str()}));
        let answer = shop.give_back_watched(&token, watch).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(shop.written().len(), 1);
    }
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
    let mut unreadable = stored_revocation("another");
    unreadable["spec"] = json!("none");
    for stores in [
        [status(500, "tokenrevocations", "etcd"), other()],
        [status(403, "tokenrevocations", "no right"), other()],
        [Reply::Silence, other()],
        [taken(), other()],
        [taken(), Reply::Json(200, unreadable)],
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
    let mut before = stored_revocation(&id);
    before["metadata"]["managedFields"] = deep_fields("f:a");
    *shop.operator.stores.lock().unwrap() = [taken(), Reply::Json(200, before)];
    let watch = || shop.revoke(70, &json!({"tokenID": id}));
    let answer = shop.give_back_watched(&token, watch).await;
    assert_eq!(answer.status, StatusCode::OK, "it was stored before");
}

#[tokio::test(start_paused = true)]
async fn t21_what_is_stored_and_not_in_force_is_not_said_to_be_revoked() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    let answer = shop.give_back_watched(&token, || {}).await;
    let unavailable = "temporarily_unavailable";
    is(&answer, 503, unavailable, "Unavailable", "not seen");
    assert_eq!(shop.written().len(), 1);
    let lines = shop.operator.lines.text();
    assert!(lines.contains(r#""event":"TokenRevoked""#), "{lines}");

    let id = claims(FIRST, PAYMENTS, 5).id.to_string();
    let shop = Shop::new().await;
    let overtaken = || {
        shop.index.revoke(many(), vec![]);
        shop.revoke(70_000, &json!({"tokenID": id}));
    };
    let answer = shop.give_back_watched(&token_of(&shop), overtaken).await;
    is(&answer, 503, unavailable, "Unavailable", "no room any more");
}

fn token_of(shop: &Shop) -> String {
    shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5))
}

#[tokio::test(start_paused = true)]
async fn t21_what_something_else_refuses_today_is_revoked_all_the_same() {
    let id = claims(FIRST, PAYMENTS, 5).id.to_string();
    for target in [
        json!({"serviceAccount": "orders"}),
        json!({"pod": "orders-0"}),
    ] {
        let shop = Shop::new().await;
        let token = token_of(&shop);
        let lock = revocation("inc-2", 60, &json!({"target": target, "effect": "Lock"}));
        shop.index.deliver_revocation(lock.clone());
        let watch = || shop.revoke(70, &json!({"tokenID": id}));
        let answer = shop.give_back_watched(&token, watch).await;
        assert_eq!(
            (answer.status, shop.written().len()),
            (StatusCode::OK, 1),
            "{target}"
        );
        shop.index.withdraw_revocation(lock);
        assert!(!shop.is_active(&token).await, "{target}");
    }
}

#[tokio::test]
async fn t23_a_replica_that_cannot_judge_revokes_nothing() {
    for token in ["a", "hpo_a", "valid"] {
        let shop = Shop::new().await;
        let token = match token {
            "valid" => token_of(&shop),
            other => other.to_owned(),
        };
        shop.keys.be_ahead(7);
        let answer = shop.give_back(REVOKE, &shop.orders(), &token).await;
        let unavailable = "temporarily_unavailable";
        is(&answer, 503, unavailable, "Unavailable", "its clock");
        shop.keys.be_ahead(0);
        shop.index
            .standing()
            .be_cut_off(tokio::time::Instant::now());
        let answer = shop.give_back(REVOKE, &shop.orders(), &token).await;
        is(&answer, 503, unavailable, "NotSynced", "it is behind");
        assert_eq!(shop.written().len(), 0);
    }
}

#[tokio::test]
async fn t23_a_token_that_is_not_known_here_is_not_said_to_be_worthless() {
    let shop = Shop::new().await;
    // The same issuer, with a key that this replica has not read.
    let newer = Keys::of(&[FIRST]);
    let ring = newer.ring(&IssuerId::of(FIRST)).unwrap();
    let key = ring.active(now());
    let payments = claims(FIRST, PAYMENTS, 5);
    let nowhere = claims(FIRST, "https://nowhere.example", 5);
    let sealed = opaque::seal(key.sealing(), &payments, rand::random()).unwrap();
    for token in [
        jwt::sign(key.signing(), &payments).unwrap().expose(),
        sealed.expose(),
        &shop.sealed(FIRST, &nowhere),
    ] {
        let answer = shop.give_back(REVOKE, &shop.orders(), token).await;
        is(
            &answer,
            503,
            "temporarily_unavailable",
            "Unavailable",
            token,
        );
    }
    for token in [
        shop.signed(SECOND, &claims(SECOND, LEDGER, 5)),
        shop.sealed(SECOND, &claims(SECOND, LEDGER, 5)),
    ] {
        let answer = shop.give_back(REVOKE, &shop.orders(), &token).await;
        is(&answer, 400, "invalid_grant", "ForeignToken", "its issuer");
    }
    assert_eq!(shop.written().len(), 0);
    // The signature alone proves it.
    let watch = || shop.revoke(70, &json!({"tokenID": nowhere.id.as_str()}));
    let token = shop.signed(FIRST, &nowhere);
    let answer = shop.give_back_watched(&token, watch).await;
    assert_eq!((answer.status, shop.written().len()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn t23_without_room_nothing_is_said_to_be_revoked() {
    let shop = Shop::new().await;
    let token = shop.signed(FIRST, &claims(FIRST, PAYMENTS, 5));
    shop.index.revoke(many(), vec![]);
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
