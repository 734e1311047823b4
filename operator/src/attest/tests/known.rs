//! A token that was accepted once is no better than one that is shown for the first time.

use super::*;

#[tokio::test(start_paused = true)]
async fn t41_a_known_token_ends_when_it_says() {
    let cluster = Cluster::new(index()).await;
    cluster
        .fake
        .answer(REVIEW, reviewed(json!({"authenticated": false})));
    let token = cluster.signer.token();
    for _ in 0..2 {
        assert!(cluster.attest_at(&token, at(END + 4)).await.is_ok());
    }
    let late = cluster.attest_at(&token, at(END + 5)).await;
    assert_eq!(late.unwrap_err(), Code::ExpiredBearer);
    let early = cluster.attest_at(&token, at(START - 6)).await;
    assert_eq!(early.unwrap_err(), Code::ExpiredBearer);
}

#[tokio::test(start_paused = true)]
async fn a_known_token_is_of_no_use_to_another_with_the_same_claims() {
    let cluster = Cluster::new(index()).await;
    let token = cluster.signer.token();
    assert!(cluster.attest(&token).await.is_ok());
    let (signed, signature) = token.expose().rsplit_once('.').unwrap();
    let longer = Secret::new(format!("{signed}.{signature}A"));
    for forged in [Signer::new("first").token(), longer] {
        let refused = cluster.attest(&forged).await;
        assert_eq!(refused.unwrap_err(), Code::BadSignature);
    }
    assert!(cluster.attest(&token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_known_for_as_long_as_the_same_keys_are_published() {
    let cluster = Cluster::new(index()).await;
    let token = cluster.signer.token();
    assert!(cluster.attest(&token).await.is_ok());
    let known = || {
        let trust = cluster.attestor.keys.current().unwrap();
        trust.known.find(&Fingerprint::of(&token)).is_some()
    };
    let minute = async || {
        advance(Duration::from_secs(60)).await;
        cluster.attestor.keys.renew().await;
    };
    minute().await;
    assert_eq!(cluster.fake.calls(JWKS), 2);
    assert!(known());
    let second = Signer::new("second");
    cluster.fake.answer(JWKS, jwks(&[&cluster.signer, &second]));
    minute().await;
    assert!(!known());
    assert!(cluster.attest(&token).await.is_ok());
}
