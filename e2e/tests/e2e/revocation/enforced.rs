//! The status of a revocation: in force only once every replica knows of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    process::Process,
    remark::remark,
    revocation::{Revocation, cluster_token_revocation, token_revocation},
    scene::{Scene, What::Jwt, Who::Orders},
    state,
    wait::until,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const WHILE: Duration = Duration::from_secs(20);

/// The condition `Enforced`.
async fn condition(revocation: &Revocation) -> Result<(Value, Value)> {
    let mut stored = revocation.stored().await?;
    let conditions = stored["status"]["conditions"].as_array().cloned();
    let mut conditions = conditions.into_iter().flatten();
    let enforced = conditions.find(|c| c["type"] == "Enforced");
    Ok((enforced.unwrap_or_default(), stored["status"].take()))
}

/// Waits until the status says that it is in force, and returns how long that took.
async fn enforced(revocation: &Revocation) -> Result<Duration> {
    let took = until(WHILE, "it says that it is in force", || async {
        let (enforced, status) = condition(revocation).await?;
        ensure!(
            enforced["status"] == "True" && enforced["reason"] == "Enforced",
            "{status}"
        );
        ensure!(
            status["observedGeneration"] == 1
                && status["epoch"] == json!(revocation.version.to_string()),
            "{status}"
        );
        Ok(revocation.since.elapsed())
    });
    took.await
}

#[tokio::test]
async fn a_revocation_says_that_it_is_in_force() -> Result<()> {
    let scene = Scene::new("enforced", 1).await?;
    let pod = token_revocation("a", &json!({"pod": "orders"}));
    let audience = json!({"audience": scene.aud("ledger")});
    let audience = cluster_token_revocation(&scene.shop.namespace, &audience).locking("INC-123");
    for revocation in [pod, audience] {
        let revocation = scene.shop.revoke(&revocation).await?;
        remark(&format!(
            "a revocation says that it is in force after {} ms",
            enforced(&revocation).await?.as_millis()
        ));
    }
    Ok(())
}

#[tokio::test]
async fn a_revocation_is_not_said_to_be_in_force_while_a_replica_does_not_know_of_it() -> Result<()>
{
    if state::folder("a replica that stands still").is_none() {
        return Ok(());
    }
    let scene = Scene::new("unenforced", 2).await?;
    for still in [0, 1] {
        let process = Process::of(&scene.guard.replicas[still]).await?;
        let token = scene
            .token(1 - still, Orders, Jwt, &still.to_string())
            .await?;
        scene.guard.accepts("before", &token).await?;
        let stopped = process.stop().await?;
        let revocation = token_revocation(&format!("r{still}"), &json!({"pod": "orders"}));
        let revocation = scene.shop.revoke(&revocation).await?;
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            let (enforced, status) = condition(&revocation).await?;
            ensure!(enforced["status"] != "True", "replica {still}: {status}");
            sleep(Duration::from_millis(100)).await;
        }
        let said = scene.guard.said(1 - still, &token).await?;
        ensure!(said["active"] == false, "the other one knows: {said}");
        drop(stopped);
        let took = enforced(&revocation).await.context("after it went on")?;
        remark(&format!(
            "a revocation that a replica slept over says that it is in force after {} ms",
            took.as_millis()
        ));
    }
    Ok(())
}
