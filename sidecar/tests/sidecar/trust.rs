//! Whom the sidecar trusts, and as whom it comes.

use std::time::Duration;

use crate::support::{Plan, Pod, eventually, operator::foreign_ca, pass, read};

#[tokio::test(start_paused = true)]
async fn an_operator_of_another_authority_gets_nothing_until_the_bundle_says_so() {
    let plan = Plan {
        trusted: false,
        ..Plan::default()
    };
    let pod = Pod::planned(plan, |operator| operator.assign("vault", "a", 600)).await;
    let bundle = pod.directory.path().join("ca.pem");
    let reason = async || pod.get("/readyz").await.detail();
    eventually("a reason", async || reason().await.contains("Unavailable")).await;
    let told = reason().await;
    assert!(told.contains("the trust bundle is not there yet"), "{told}");

    std::fs::write(&bundle, foreign_ca()).unwrap();
    pass(Duration::from_secs(3)).await;
    eventually("another reason", async || {
        reason().await.contains("invalid peer certificate")
    })
    .await;
    assert_eq!(pod.operator.asked("/v1/assignments"), []);

    std::fs::write(&bundle, pod.operator.ca()).unwrap();
    let (token, ()) = tokio::join!(pod.token("vault"), pass(Duration::from_secs(9)));
    assert_eq!(token, "planted.vault.1");
}

#[tokio::test(start_paused = true)]
async fn the_identity_is_read_again_for_each_request() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    let path = pod.directory.path().join("token");
    std::fs::write(path.with_extension("new"), "second-identity\n").unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
    pass(Duration::from_secs(33)).await;
    eventually("polled", async || {
        pod.operator.asked("/v1/assignments").len() == 2
    })
    .await;
    let asked = pod.operator.asked("/v1/assignments");
    let bearers: Vec<_> = asked.iter().map(|asked| asked.bearer.as_str()).collect();
    assert_eq!(bearers, ["first-identity", "second-identity"]);
}

/// A pod whose trust bundle is given in its environment, with a cache.
async fn given() -> Pod {
    let plan = Plan {
        trusted: false,
        cached: true,
        given: true,
        ..Plan::default()
    };
    Pod::planned(plan, |operator| operator.assign("vault", "a", 600)).await
}

/// The bundle in the cache.
fn kept(pod: &Pod) -> String {
    let text = read(&pod.cache());
    let (_, body) = text.split_once('\n').unwrap();
    let document: serde_json::Value = serde_json::from_str(body).unwrap();
    document["trust"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_was_given_is_renewed_in_band_and_outlives_a_crash() {
    let mut pod = given().await;
    pod.token("vault").await;
    assert_eq!(pod.operator.asked("/v1/trust"), [], "nothing is announced");
    let both = pod.operator.ca().to_owned() + &pod.operator.next_ca();
    pod.operator.announce(&both, &both);
    pass(Duration::from_secs(33)).await;
    eventually("renewed", async || kept(&pod) == both).await;
    pass(Duration::from_secs(33)).await;
    assert_eq!(pod.operator.asked("/v1/trust").len(), 1, "once");

    // From now on only the renewed bundle vouches for the operator.
    pod.operator.use_next_ca();
    pass(Duration::from_secs(33)).await;
    let polls = pod.operator.asked("/v1/assignments").len();
    pod.kill().await;
    let again = pod.again_with(|plan| plan.given = true).await;
    eventually("polled", async || {
        again.operator.asked("/v1/assignments").len() > polls
    })
    .await;
    assert_eq!(again.token("vault").await, "planted.vault.1");
}

#[tokio::test(start_paused = true)]
async fn where_no_operator_fits_the_cached_bundle_the_given_one_has_its_turn() {
    let mut pod = given().await;
    pod.token("vault").await;
    let next = pod.operator.next_ca();
    pod.operator.announce(&next, &next);
    pass(Duration::from_secs(33)).await;
    eventually("renewed", async || kept(&pod) == next).await;
    let polls = pod.operator.asked("/v1/assignments").len();
    pod.kill().await;
    // The operator has gone back to where it was when the pod was injected.
    let ca = pod.operator.ca().to_owned();
    pod.operator.announce(&ca, &ca);
    let again = pod.again_with(|plan| plan.given = true).await;
    pass(Duration::from_secs(5)).await;
    eventually("polled", async || {
        again.operator.asked("/v1/assignments").len() > polls
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_is_not_the_announced_one_or_none_at_all_is_not_used() {
    let pod = given().await;
    pod.token("vault").await;
    let ca = pod.operator.ca().to_owned();
    let large = ca + &"\n".repeat(64 * 1024);
    for (announced, told) in [("this", "that"), ("none", "none"), (&*large, &*large)] {
        let asked = pod.operator.asked("/v1/trust").len();
        pod.operator.announce(announced, told);
        pass(Duration::from_secs(33)).await;
        eventually("asked", async || {
            pod.operator.asked("/v1/trust").len() > asked
        })
        .await;
        assert_eq!(kept(&pod), "");
    }
    assert_eq!(pod.get("/readyz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn with_a_file_nothing_is_renewed_in_band() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.operator.announce("else", "else");
    pod.token("vault").await;
    pass(Duration::from_secs(33)).await;
    eventually("polled", async || {
        pod.operator.asked("/v1/assignments").len() == 2
    })
    .await;
    assert_eq!(pod.operator.asked("/v1/trust"), []);
}
