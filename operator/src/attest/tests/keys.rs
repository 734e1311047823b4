//! Which keys count, and how often they are read.

use super::*;

/// Lets the task that reads the keys finish what it can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn pass(time: Duration) {
    advance(time).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_key_counts_at_once_and_a_removed_one_within_a_minute_no_more() {
    let cluster = Cluster::new(index()).await;
    let second = Signer::new("second");
    pass(Duration::from_secs(10)).await;
    cluster.fake.answer(JWKS, jwks(&[&cluster.signer, &second]));
    assert!(cluster.attest(&second.token()).await.is_ok());
    assert_eq!(cluster.fake.calls(JWKS), 2);
    assert!(cluster.shows("hallpass_keys 2"));

    cluster.fake.answer(JWKS, jwks(&[&second]));
    cluster
        .fake
        .answer(REVIEW, reviewed(json!({"authenticated": false})));
    pass(Duration::from_secs(59)).await;
    assert!(cluster.attest(&cluster.signer.token()).await.is_ok());
    pass(Duration::from_secs(1)).await;
    let removed = cluster.attest(&cluster.signer.token()).await;
    assert_eq!(removed.unwrap_err(), Code::UnknownKey);
    assert!(cluster.attest(&second.token()).await.is_ok());
    assert_eq!(cluster.fake.calls(JWKS), 3);
    assert!(cluster.shows("hallpass_keys 1"));
}

#[tokio::test(start_paused = true)]
async fn the_issuer_is_read_with_the_keys() {
    let cluster = Cluster::new(index()).await;
    let moved = cluster.signer.sign(&with("/iss", "https://new.example"));
    pass(Duration::from_secs(10)).await;
    cluster.fake.answer(
        DISCOVERY,
        Answer::ok(json!({"issuer": "https://new.example"})),
    );
    assert!(cluster.attest(&moved).await.is_ok());
    // The old one was never given up by the API server: it alone can say so.
    cluster.fake.answer(REVIEW, reviewed(vouched()));
    assert!(cluster.attest(&cluster.signer.token()).await.is_ok());
    assert_eq!(cluster.fake.calls(REVIEW), 1);
    let refused = json!({"authenticated": false, "error": "invalid bearer token"});
    cluster.fake.answer(REVIEW, reviewed(refused));
    let foreign = cluster.signer.sign(&with("/iss", "https://other.example"));
    assert_eq!(
        cluster.attest(&foreign).await.unwrap_err(),
        Code::UnknownKey
    );
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_fails_keeps_the_keys_of_before() {
    let cluster = Cluster::new(index()).await;
    let key = json!({"kid": "twice", "kty": "oct"});
    for broken in [
        Answer::failure(503, "ServiceUnavailable"),
        Answer::Silence,
        Answer::ok(json!("no key set")),
        Answer::ok(json!({"keys": [key, key]})),
    ] {
        cluster.fake.answer(JWKS, broken);
        let before = cluster.fake.calls(JWKS);
        pass(Duration::from_secs(60)).await;
        pass(Duration::from_secs(5)).await;
        assert!(cluster.fake.calls(JWKS) > before);
        assert!(cluster.attest(&cluster.signer.token()).await.is_ok());
    }
    cluster.fake.answer(JWKS, jwks(&[&cluster.signer]));
    cluster
        .fake
        .answer(DISCOVERY, Answer::ok(json!({"issuer": 7})));
    pass(Duration::from_secs(60)).await;
    assert!(cluster.attest(&cluster.signer.token()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_that_could_not_be_read_are_tried_again_after_seconds() {
    let fake = Fake::default();
    fake.answer(JWKS, Answer::failure(403, "Forbidden"));
    fake.answer(DISCOVERY, Answer::ok(json!({ "issuer": ISSUER })));
    let attestor = Attestor::new(
        index(),
        fake.client(),
        AUDIENCE.to_owned(),
        Metrics::default(),
    );
    let attestor = Arc::new(attestor);
    let mut run = tokio::task::JoinSet::new();
    run.spawn(Arc::clone(&attestor).run());
    settle().await;
    let signer = Signer::new("first");
    let rejection = attestor
        .attest(Some(&signer.token()), now())
        .await
        .unwrap_err();
    assert_eq!((rejection.code, attestor.ready()), (Code::NotSynced, false));
    fake.answer(JWKS, jwks(&[&signer]));
    pass(Duration::from_secs(5)).await;
    assert!(attestor.ready());
    assert!(attestor.attest(Some(&signer.token()), now()).await.is_ok());
    assert_eq!(fake.calls(JWKS), 2);
}

#[tokio::test(start_paused = true)]
async fn t06_unknown_keys_at_once_cost_one_reading_and_few_reviews() {
    let cluster = Cluster::new(index()).await;
    cluster
        .fake
        .answer(REVIEW, reviewed(json!({"authenticated": false})));
    pass(Duration::from_secs(10)).await;
    let signer = Signer::new("unheard-of");
    let tokens: Vec<_> = (0..100)
        .map(|i| signer.sign(&with("/jti", i.to_string())))
        .collect();
    let all = || futures::future::join_all(tokens.iter().map(|token| cluster.attest(token)));
    for code in all().await {
        assert_eq!(code.unwrap_err(), Code::UnknownKey);
    }
    assert_eq!(
        (cluster.fake.calls(JWKS), cluster.fake.calls(REVIEW)),
        (2, 10)
    );
    // Those that were reviewed are remembered, the others find the bucket empty.
    for code in all().await {
        assert_eq!(code.unwrap_err(), Code::UnknownKey);
    }
    assert_eq!(
        (cluster.fake.calls(JWKS), cluster.fake.calls(REVIEW)),
        (2, 10)
    );
    assert!(cluster.shows(r#"hallpass_token_reviews_total{outcome="Refused"} 10"#));
    assert!(cluster.shows(r#"hallpass_token_reviews_total{outcome="Limited"} 180"#));
    // A token of a known key does not suffer.
    assert!(cluster.attest(&cluster.signer.token()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn t06_a_flood_of_unknown_keys_reads_no_more_than_every_five_seconds() {
    let cluster = Cluster::new(index()).await;
    cluster
        .fake
        .answer(REVIEW, reviewed(json!({"authenticated": false})));
    let signer = Signer::new("unheard-of");
    let before = cluster.fake.calls(JWKS);
    for i in 0..500 {
        let token = signer.sign(&with("/jti", i.to_string()));
        assert_eq!(cluster.attest(&token).await.unwrap_err(), Code::UnknownKey);
        pass(Duration::from_millis(100)).await;
    }
    let read = cluster.fake.calls(JWKS) - before;
    assert!((8..=10).contains(&read), "{read} readings in 50 s");
    let reviews = cluster.fake.calls(REVIEW);
    assert!((240..=260).contains(&reviews), "{reviews} reviews in 50 s");
}
