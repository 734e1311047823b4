use std::time::Duration;

use hallpass_core::name::Uid;
use serde_json::{Value, json};
use tokio::time::advance;

use super::{fixture::*, *};
use crate::index::fixture as objects;

mod api_server;
mod keys;
mod known;
mod liveness;

#[tokio::test(start_paused = true)]
async fn a_pod_of_ours_is_who_its_token_says() {
    let cluster = Cluster::new(index()).await;
    let attested = cluster.attest(&cluster.signer.token()).await.unwrap();
    let subject = attested.subject();
    assert_eq!(name(&attested), "shop/orders/orders-0");
    assert_eq!(subject.pod_uid, Uid::parse("uid-shop-orders-0").unwrap());
    assert_eq!(
        subject.service_account_uid,
        Uid::parse("uid-shop-orders").unwrap()
    );
    assert_eq!(subject.labels.get("app"), Some("orders"));
    assert_eq!(cluster.fake.calls(JWKS), 1);
    assert!(cluster.shows("hallpass_keys 1"));
}

#[tokio::test(start_paused = true)]
async fn every_fault_of_a_token_has_its_code_and_asks_nobody() {
    let cluster = Cluster::new(index()).await;
    let none = cluster.attestor.attest(None, now()).await.unwrap_err();
    assert_eq!(none.code, Code::NoBearer);
    let refused = |claims: Value| cluster.signer.sign(&claims);
    for (token, code) in [
        (Secret::new(String::new()), Code::MalformedBearer),
        (
            Secret::new("planted-secret".to_owned()),
            Code::MalformedBearer,
        ),
        (Secret::new("x".repeat(9000)), Code::MalformedBearer),
        (Signer::new("first").token(), Code::BadSignature),
        (
            refused(with("/aud", "https://vault.example")),
            Code::WrongAudience,
        ),
        (refused(with("/aud", json!([]))), Code::WrongAudience),
        (
            refused(with("/sub", "system:serviceaccount:shop:admin")),
            Code::MalformedBearer,
        ),
        (refused(with("/exp", "never")), Code::MalformedBearer),
        (
            refused(with("/kubernetes.io", json!({"namespace": "shop"}))),
            Code::WrongAudience,
        ),
    ] {
        assert_eq!(cluster.attest(&token).await.unwrap_err(), code);
    }
    assert_eq!(cluster.fake.calls(JWKS), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_before_the_index_and_the_keys_are_there() {
    let fake = Fake::default();
    let token = Signer::new("first").token();
    for index in [Index::new(Metrics::default(), now), index()] {
        let audience = AUDIENCE.to_owned();
        let attestor = Attestor::new(index, fake.client(), audience, Metrics::default());
        assert!(!attestor.ready());
        let rejection = attestor.attest(Some(&token), now()).await.unwrap_err();
        assert_eq!(rejection.code, Code::NotSynced);
        let rejection = attestor.attest(None, now()).await.unwrap_err();
        assert_eq!(rejection.code, Code::NoBearer);
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_not_synced_comes_before_every_other_question() {
    let cluster = Cluster::new(Index::new(Metrics::default(), now)).await;
    let late = at(END + 30);
    for token in [
        Secret::new("no token".to_owned()),
        Signer::new("unheard-of").token(),
        cluster.signer.token(),
    ] {
        let rejected = cluster.attest_at(&token, late).await;
        assert_eq!(rejected.unwrap_err(), Code::NotSynced);
    }
    assert_eq!(cluster.fake.calls(JWKS), 1);
}

#[tokio::test(start_paused = true)]
async fn t36_prints_nothing_of_a_token() {
    let cluster = Cluster::new(index()).await;
    let token = cluster.signer.token();
    let attested = cluster.attest(&token).await.unwrap();
    let text = format!(
        "{:?} {:?} {:?}",
        cluster.attestor,
        attested,
        Fingerprint::of(&token)
    );
    for part in token.expose().split('.') {
        assert!(!text.contains(part));
    }
}

/// A request's state is made and moved for every request, and what it may ask the API server for is large.
#[tokio::test(start_paused = true)]
async fn who_asks_nobody_carries_no_room_for_questions() {
    let cluster = Cluster::new(index()).await;
    let token = cluster.signer.token();
    let size = size_of_val(&cluster.attestor.attest(Some(&token), now()));
    assert!(size < 1024, "{size} bytes");
}
