//! What only the API server can decide: keys that it does not publish, and time.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_token_of_an_unpublished_key_is_decided_by_a_review() {
    let cluster = Cluster::new(index()).await;
    cluster.fake.answer(REVIEW, reviewed(vouched()));
    let token = Signer::new("unpublished").token();
    let attested = cluster.attest(&token).await.unwrap();
    assert_eq!(name(&attested), "shop/orders/orders-0");
    let asked = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token.expose(), "audiences": [AUDIENCE]},
    });
    assert_eq!(cluster.fake.bodies(), [asked]);
    assert!(cluster.shows(r#"hallpass_token_reviews_total{outcome="Accepted"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn a_review_says_no_for_a_reason_and_is_remembered() {
    for (status, code) in [
        (json!({"authenticated": false}), Code::UnknownKey),
        (json!({"authenticated": true}), Code::WrongAudience),
        (
            json!({"authenticated": true, "audiences": [AUDIENCE]}),
            Code::UnknownKey,
        ),
    ] {
        let cluster = Cluster::new(index()).await;
        cluster.fake.answer(REVIEW, reviewed(status));
        let token = Signer::new("unpublished").token();
        assert_eq!(cluster.attest(&token).await.unwrap_err(), code);
        // Whatever the API server would say now.
        cluster.fake.answer(REVIEW, reviewed(vouched()));
        advance(Duration::from_millis(4999)).await;
        assert_eq!(cluster.attest(&token).await.unwrap_err(), code);
        assert_eq!(cluster.fake.calls(REVIEW), 1);
        advance(Duration::from_millis(1)).await;
        assert!(cluster.attest(&token).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn time_alone_is_decided_by_the_clock_of_the_api_server() {
    let cluster = Cluster::new(index()).await;
    let token = cluster.signer.token();
    cluster.fake.answer(REVIEW, reviewed(vouched()));
    for second in [START - 30, END + 30] {
        assert!(cluster.attest_at(&token, at(second)).await.is_ok());
    }
    assert_eq!(cluster.fake.calls(REVIEW), 2);
    assert_eq!(cluster.fake.calls(JWKS), 1, "the key is known");
    cluster
        .fake
        .answer(REVIEW, reviewed(json!({"authenticated": false})));
    let late = cluster.attest_at(&token, at(END + 30)).await;
    assert_eq!(late.unwrap_err(), Code::ExpiredBearer);
    // With anything else wrong as well, nobody is asked.
    let wrong = cluster.signer.sign(&with("/aud", "https://vault.example"));
    let wrong = cluster.attest_at(&wrong, at(END + 30)).await;
    assert_eq!(wrong.unwrap_err(), Code::WrongAudience);
    assert_eq!(cluster.fake.calls(REVIEW), 3);
}

#[tokio::test(start_paused = true)]
async fn over_the_limit_a_token_past_its_time_is_past_its_time() {
    let cluster = Cluster::new(index()).await;
    cluster.fake.answer(REVIEW, reviewed(vouched()));
    let token = cluster.signer.token();
    for _ in 0..10 {
        assert!(cluster.attest_at(&token, at(END + 30)).await.is_ok());
    }
    let limited = cluster.attest_at(&token, at(END + 30)).await;
    assert_eq!(limited.unwrap_err(), Code::ExpiredBearer);
    assert_eq!(cluster.fake.calls(REVIEW), 10);
    advance(Duration::from_millis(200)).await;
    assert!(cluster.attest_at(&token, at(END + 30)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_review_that_names_another_pod_than_the_token_is_a_no() {
    let cluster = Cluster::new(index()).await;
    let mut other = vouched();
    other["user"]["extra"]["authentication.kubernetes.io/pod-uid"] = json!(["uid-other"]);
    cluster.fake.answer(REVIEW, reviewed(other));
    let late = cluster
        .attest_at(&cluster.signer.token(), at(END + 30))
        .await;
    assert_eq!(late.unwrap_err(), Code::ExpiredBearer);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_refuses_nobody() {
    for answer in [
        Answer::failure(500, "InternalError"),
        Answer::failure(403, "Forbidden"),
        Answer::failure(429, "TooManyRequests"),
        Answer::failure(404, "NotFound"),
        Answer::ok(json!({"kind": "TokenReview"})),
        Answer::Silence,
    ] {
        let cluster = Cluster::new(index()).await;
        cluster.fake.answer(REVIEW, answer);
        let token = Signer::new("unpublished").token();
        assert_eq!(cluster.attest(&token).await.unwrap_err(), Code::Unavailable);
        assert!(cluster.shows(r#"hallpass_token_reviews_total{outcome="Failed"} 1"#));
        // It is no answer that could be remembered.
        cluster.fake.answer(REVIEW, reviewed(vouched()));
        assert!(cluster.attest(&token).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn t06_strangers_leave_the_pods_their_reviews() {
    let cluster = Cluster::new(index()).await;
    cluster.fake.answer(REVIEW, reviewed(vouched()));
    let token = Signer::new("unpublished").token();
    for _ in 0..100 {
        let refused = cluster.attestor.attest_from_outside(Some(&token), now());
        assert_eq!(refused.await.unwrap_err().code, Code::UnknownKey);
    }
    assert_eq!(cluster.fake.calls(REVIEW), 0);
    assert!(cluster.attest(&token).await.is_ok(), "a pod is still heard");
    let good = cluster.signer.token();
    let known = cluster.attestor.attest_from_outside(Some(&good), now());
    assert!(
        known.await.is_ok(),
        "and so is a stranger with a token that is known"
    );
}
