//! Packets are dropped without a word: nobody is told that a connection is dead.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    guard::Token,
    operator::Replica,
    remark::remark,
    revocation::token_revocation,
    scene::{
        Scene,
        What::Jwt,
        Who::{Elsewhere, Orders},
    },
    silence::Silence,
    state,
    wait::until,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts};

/// What is known counts for that long. It is also the bound of a revocation.
const BOUND: Duration = Duration::from_secs(10);

/// How old what a replica knows is, and the age beyond which it is behind, in seconds.
const AGE: &str = "hallpass_state_age_seconds";
const OLD: f64 = 10.0;

/// Between two looks at it; and its metric is set every second, and in whole seconds.
const LOOK: Duration = Duration::from_secs(1);
const COARSE: Duration = Duration::from_secs(2);

/// A life of the short tokens.
const SILENT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn f10_every_read_is_served_while_the_packets_of_a_replica_are_dropped() -> Result<()> {
    let Some(apps) = apps("dropped", PODS, LIFE).await? else {
        return Ok(());
    };
    for silent in [0, 1] {
        let replicas = current().await?;
        let silence = Silence::towards_pods(&replicas[silent].address).await?;
        lasts(SILENT).await;
        let dropped = silence.dropped().await?;
        remark(&format!("{dropped} packets of a replica were dropped"));
        ensure!(dropped > 0, "nobody asked it anything");
        drop(silence);
    }
    current().await?;
    let (_, verdict) = apps.end("packets of a replica were dropped")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 4 * PODS, "{verdict}");
    Ok(())
}

#[tokio::test]
async fn f10_a_revocation_holds_within_ten_seconds_where_the_api_server_has_gone_silent()
-> Result<()> {
    if state::folder("packets are dropped").is_none() {
        return Ok(());
    }
    let scene = Scene::inside(Cluster::alone("silent").await?, 2).await?;
    let replicas = current().await?;
    for silent in [0, 1] {
        let row = silent.to_string();
        let revoked = scene.token(silent, Orders, Jwt, &row).await?;
        let spared = scene.token(silent, Elsewhere, Jwt, &row).await?;
        scene.guard.accepts_soon("before", &revoked).await?;
        let silence = Silence::towards_api_server(&replicas[silent].address).await?;
        let since = Instant::now();
        let lock = token_revocation("a", &json!({"pod": "orders"})).locking("it went silent");
        let lock = scene.shop.revoke(&lock).await?;
        let seen = async {
            let (shown, age) = shown(&replicas[silent], since).await?;
            let other = replicas[1 - silent].metric(AGE).await?;
            Ok((shown, age, other))
        };
        let last = last_accepted(&scene, silent, &revoked, lock.since);
        let (last, ([not_ready, behind], age, other)) = tokio::try_join!(last, seen)?;
        drop(silence);
        let back = Instant::now();
        until(MINUTE, "it decides again", || async {
            let said = scene.guard.said(silent, &spared).await?;
            ensure!(said["active"] == true, "{said}");
            Ok(())
        })
        .await?;
        remark(&format!(
            "a revoked token was accepted for {last:?} by a replica that the API server did not reach; \
             it decides again {:?} after it does",
            back.elapsed()
        ));
        remark(&format!(
            "{not_ready:?} after it went silent it was not ready, and after {behind:?} it said that what it knows is \
             {age} s old; the other one's is {other} s"
        ));
        scene.guard.refuses("revoked meanwhile", &revoked).await?;
        lock.delete().await?;
        ensure!(last <= BOUND, "accepted for {last:?}");
        ensure!(not_ready <= BOUND + LOOK, "shown after {not_ready:?}");
        ensure!(behind <= BOUND + LOOK + COARSE, "told after {behind:?}");
        ensure!(other <= OLD, "the other one's is {other} s old too");
    }
    Ok(())
}

/// How long after `since` that replica is not ready for the first time, since it is behind, and how long after that its
/// metric says so too; with the age that it tells.
async fn shown(replica: &Replica, since: Instant) -> Result<([Duration; 2], f64)> {
    let not_ready = until(2 * BOUND, "it is not ready", || async {
        let ready = replica.health("/readyz").await?;
        let named = ready.body.contains("current");
        ensure!(ready.status == 503 && named, "{ready:?}");
        Ok(since.elapsed())
    })
    .await?;
    let age = until(2 * BOUND, "its metric says that it is behind", || async {
        let age = replica.metric(AGE).await?;
        ensure!(age > OLD, "{age}");
        Ok(age)
    })
    .await?;
    Ok(([not_ready, since.elapsed()], age))
}

/// How long after `since` that replica called the token good the last time, in twice the bound.
async fn last_accepted(
    scene: &Scene,
    replica: usize,
    token: &Token,
    since: Instant,
) -> Result<Duration> {
    let (mut last, mut refused) = (Duration::ZERO, 0);
    while since.elapsed() < 2 * BOUND {
        let answer = scene.guard.answer(replica, token).await?;
        match answer.status {
            200 if answer.json()?["active"] == true => last = since.elapsed(),
            503 => refused += 1,
            _ => ensure!(answer.status == 200, "{answer:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
    ensure!(refused > 0, "it went on as if nothing had happened");
    Ok(last)
}
