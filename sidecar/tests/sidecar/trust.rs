//! Whom the sidecar trusts, and as whom it comes.

use std::time::Duration;

use crate::support::{Plan, Pod, eventually, operator::foreign_ca, pass};

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
