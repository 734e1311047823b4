//! What is held, over time.

use std::{os::unix::fs::MetadataExt, time::Duration};

use hallpass_sidecar::surroundings::Jitter;
use serde_json::json;

use crate::support::{Plan, Pod, eventually, operator::problem, pass, read};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_ahead_of_its_expiry_on_the_socket_and_in_the_file() {
    let pod = Pod::with_tokens(&["vault"]).await;
    assert_eq!(pod.token("vault").await, "planted.vault.1");
    let inode = pod.file("app", "vault").metadata().unwrap().ino();
    // The first one goes at 20 to 80 % of its life: with this jitter at half of it.
    pass(Duration::from_secs(295)).await;
    assert_eq!(pod.operator.asked("/v1/tokens").len(), 1);
    pass(Duration::from_secs(10)).await;
    eventually("replaced", async || {
        pod.token("vault").await == "planted.vault.2"
    })
    .await;
    assert_eq!(read(&pod.file("app", "vault")), "planted.vault.2");
    assert_ne!(pod.file("app", "vault").metadata().unwrap().ino(), inode);
    // The next ones at 50 to 80 %: at 65 %.
    pass(Duration::from_secs(375)).await;
    assert_eq!(pod.operator.asked("/v1/tokens").len(), 2);
    pass(Duration::from_secs(20)).await;
    eventually("replaced", async || {
        pod.token("vault").await == "planted.vault.3"
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_first_refreshes_lie_between_a_fifth_and_four_fifths_of_the_life() {
    for (jitter, early, late) in [(0.0, 119, 122), (1.0, 479, 482)] {
        let plan = Plan {
            jitter: Jitter::new(move || jitter),
            ..Plan::default()
        };
        let pod = Pod::planned(plan, |operator| operator.assign("vault", "a", 600)).await;
        pod.token("vault").await;
        pass(Duration::from_secs(early)).await;
        assert_eq!(pod.operator.asked("/v1/tokens").len(), 1, "{jitter}");
        pass(Duration::from_secs(late - early)).await;
        eventually("replaced", async || {
            pod.token("vault").await == "planted.vault.2"
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn f11_a_refresh_tells_the_operator_for_how_long_the_token_in_hand_is_good() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pass(Duration::from_secs(299)).await;
    let left = pod.get("/v1/tokens/vault").await.json()["expires_in"].as_u64();
    assert_eq!(left, Some(300));
    pass(Duration::from_secs(1)).await;
    let asked = || pod.operator.asked("/v1/tokens");
    eventually("refreshed", async || asked().len() == 2).await;
    let told: Vec<_> = asked().iter().map(|asked| asked.left).collect();
    assert_eq!(told, [Some(0), Some(299)]);
}

#[tokio::test(start_paused = true)]
async fn while_the_operator_is_away_what_is_valid_is_served_as_stale_with_the_reason() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pod.operator.away(true);
    pass(6 * MINUTE).await;
    let token = pod.get("/v1/tokens/vault").await.json();
    assert_eq!(
        (&token["access_token"], &token["state"]),
        (&json!("planted.vault.1"), &json!("stale"))
    );
    let list = pod.get("/v1/tokens").await.json();
    let error = &list["tokens"][0]["last_error"];
    assert_eq!(error["code"], "Unavailable");
    assert!(
        error["detail"]
            .as_str()
            .unwrap()
            .starts_with("cannot agree on TLS with 127.0.0.1:"),
        "{error}"
    );
    assert!(error["age_seconds"].as_u64().unwrap() <= 30, "{error}");
    let readiness = pod.get("/readyz").await;
    assert_eq!(readiness.status, 200);
    let said = readiness.body;
    assert!(
        said.ends_with(" s ago\ntoken vault: stale (Unavailable)\n"),
        "{said}"
    );
    let metrics = pod.get("/metrics").await.body;
    let line = r#"hallpass_sidecar_token_state{token="vault",state="stale",code="Unavailable"} 1"#;
    assert!(metrics.lines().any(|l| l == line), "{metrics}");

    pod.operator.away(false);
    pass(MINUTE / 2).await;
    eventually("fresh again", async || pod.state("vault").await == "fresh").await;
}

#[tokio::test(start_paused = true)]
async fn a_token_past_its_time_is_served_nowhere() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pod.operator.away(true);
    pass(Duration::from_secs(598)).await;
    assert_eq!(pod.token("vault").await, "planted.vault.1");
    assert_eq!(read(&pod.file("app", "vault")), "planted.vault.1");
    pass(Duration::from_secs(3)).await;
    let answer = pod.get("/v1/tokens/vault").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "Expired"));
    let detail = answer.detail();
    assert!(
        detail.starts_with("token 'vault' is past its time and is not served; the last try, "),
        "{detail}"
    );
    assert!(
        detail.contains(" s ago, failed with Unavailable: "),
        "{detail}"
    );
    assert!(!pod.file("app", "vault").exists());
    let readiness = pod.get("/readyz").await;
    assert_eq!(readiness.status, 503);
    let states = json!([{"name": "vault", "state": "expired", "code": "Unavailable"}]);
    assert_eq!(readiness.json()["states"], states);
    let ago = readiness.json()["answered_seconds_ago"].as_u64().unwrap();
    assert!((570..=601).contains(&ago), "{ago}");

    pod.operator.away(false);
    pass(Duration::from_secs(11)).await;
    eventually("fresh again", async || pod.state("vault").await == "fresh").await;
    assert_eq!(read(&pod.file("app", "vault")), "planted.vault.2");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_operator_asks_for_is_kept() {
    let pod = Pod::with_tokens(&["vault"]).await;
    let mut often = problem("TooOften", 429, "one per 10 s");
    often["retry_after_seconds"] = json!(60);
    pod.operator.refuse("vault", often);
    eventually("asked", async || {
        pod.operator.asked("/v1/tokens").len() == 1
    })
    .await;
    let waiting = async { pod.get("/v1/tokens/vault").await };
    let (answer, ()) = tokio::join!(waiting, pass(Duration::from_secs(58)));
    assert_eq!(answer.code(), "Pending");
    assert_eq!(
        pod.operator.asked("/v1/tokens").len(),
        1,
        "although somebody waited"
    );
    pod.operator.relent("vault");
    pass(Duration::from_secs(4)).await;
    assert_eq!(pod.token("vault").await, "planted.vault.1");
}

#[tokio::test(start_paused = true)]
async fn too_often_does_not_hide_the_reason_that_came_before() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.operator
        .refuse("vault", problem("MintForbidden", 403, "bind the role"));
    eventually("asked", async || {
        pod.operator.asked("/v1/tokens").len() == 1
    })
    .await;
    pod.operator
        .refuse("vault", problem("TooOften", 429, "one per 10 s"));
    pass(Duration::from_secs(25)).await;
    eventually("asked", async || {
        pod.operator.asked("/v1/tokens").len() >= 2
    })
    .await;
    let entry = pod.get("/readyz").await.json()["tokens"][0].clone();
    assert_eq!(entry["problem"]["code"], "MintForbidden");
    assert_eq!(entry["problem"]["status"], 403);
    // Word for word what the operator said, however long ago: an event says the same at each try.
    assert_eq!(entry["problem"]["detail"], "bind the role");
}

#[tokio::test(start_paused = true)]
async fn a_token_assigned_later_appears_within_one_poll() {
    let pod = Pod::with_tokens(&["bank"]).await;
    pod.token("bank").await;
    pod.operator.assign("vault", "a", 600);
    pass(Duration::from_secs(33)).await;
    eventually("there", async || pod.state("vault").await == "fresh").await;
    assert_eq!(read(&pod.file("app", "vault")), "planted.vault.2");
    assert_eq!(
        pod.operator.asked("/v1/tokens")[1].names,
        ["vault"],
        "the other is not due"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_no_longer_assigned_is_gone_within_one_poll() {
    let pod = Pod::with_tokens(&["bank", "vault"]).await;
    pod.token("vault").await;
    pod.operator.unassign("vault");
    pass(Duration::from_secs(33)).await;
    eventually("gone", async || {
        pod.get("/v1/tokens/vault").await.status == 404
    })
    .await;
    assert!(!pod.file("app", "vault").exists());
    assert!(pod.file("app", "bank").exists());
}

#[tokio::test(start_paused = true)]
async fn with_another_audience_the_old_token_goes_at_once_and_with_another_lifetime_it_stays() {
    let pod = Pod::with_tokens(&["bank", "vault"]).await;
    pod.token("vault").await;
    let busy = || problem("NotSynced", 503, "starting");
    pod.operator.refuse("bank", busy());
    pod.operator.refuse("vault", busy());
    pod.operator.assign("bank", "https://bank.example", 900);
    pod.operator.assign("vault", "https://other.example", 600);
    pass(Duration::from_secs(33)).await;
    eventually("replaced", async || pod.state("vault").await == "pending").await;
    assert!(!pod.file("app", "vault").exists());
    assert_eq!(pod.token("bank").await, "planted.bank.1");
    pod.operator.relent("bank");
    pod.operator.relent("vault");
    pass(Duration::from_secs(31)).await;
    eventually("there", async || pod.state("vault").await == "fresh").await;
    let vault = pod.get("/v1/tokens/vault").await.json();
    assert_eq!(vault["audience"], "https://other.example");
    eventually("renewed", async || pod.state("bank").await == "fresh").await;
    assert!(
        pod.get("/v1/tokens/bank").await.json()["expires_in"]
            .as_u64()
            .unwrap()
            > 800
    );
}

#[tokio::test(start_paused = true)]
async fn a_definite_no_to_the_poll_leaves_what_is_valid_and_says_why_it_is_stale() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pod.operator
        .refuse_all(Some(problem("PodGone", 403, "the pod is being deleted")));
    pass(Duration::from_secs(34)).await;
    eventually("stale", async || pod.state("vault").await == "stale").await;
    assert_eq!(pod.token("vault").await, "planted.vault.1");
    let list = pod.get("/v1/tokens").await.json();
    assert_eq!(list["tokens"][0]["last_error"]["code"], "PodGone");
    pod.operator.refuse_all(None);
    pass(Duration::from_secs(31)).await;
    eventually("fresh", async || pod.state("vault").await == "fresh").await;
}

#[tokio::test(start_paused = true)]
async fn polls_follow_the_pace_of_the_answer_and_ask_for_changes_only() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pass(Duration::from_secs(119)).await;
    let asked = pod.operator.asked("/v1/assignments");
    let statuses: Vec<_> = asked.iter().map(|asked| asked.status).collect();
    assert_eq!(statuses, [200, 304, 304, 304]);
}
