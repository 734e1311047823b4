//! A replica that stood still for so long that nothing it knows is current.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    guard::Token,
    pod::Answer,
    process::Process,
    remark::remark,
    revocation::token_revocation,
    scene::{
        Scene,
        What::{Jwt, Opaque},
        Who::{Elsewhere, Orders},
    },
    state,
};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

/// What is known counts for 10 s.
const STILL: Duration = Duration::from_secs(12);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn f9_a_replica_that_stood_still_for_long_decides_nothing_until_its_watches_are_back()
-> Result<()> {
    if state::folder("a replica that stands still for long").is_none() {
        return Ok(());
    }
    let scene = Scene::inside(Cluster::alone("stoodstill").await?, 2).await?;
    let guard = &scene.guard;
    for still in [0, 1] {
        let (row, other) = (still.to_string(), 1 - still);
        let process = Process::of(&guard.replicas[still]).await?;
        let locked = scene.token(other, Orders, Jwt, &row).await?;
        let spared = scene.token(other, Elsewhere, Jwt, &row).await?;
        guard.accepts("before", &locked).await?;
        guard.accepts("before", &spared).await?;
        let stopped = process.stop().await?;
        let until = Instant::now() + STILL;
        let lock = token_revocation("a", &json!({"pod": "orders"})).locking("it stood still");
        let lock = scene.shop.revoke(&lock).await?;
        let (name, api) = (Opaque.name(&row), &guard.apis[still]);
        let names = [&*name];
        let goes_on = async {
            sleep_until(until).await;
            drop(stopped);
            anyhow::Ok(Instant::now())
        };
        // their connections wait in its socket
        let (one, another, about, since) = tokio::try_join!(
            api.tokens(scene.identity(Orders), &names),
            api.tokens(scene.identity(Elsewhere), &names),
            guard.answer(still, &locked),
            goes_on,
        )?;
        for answer in [one, another, about] {
            refused(&answer)?;
        }
        let took = back(&scene, still, [&locked, &spared], since).await?;
        remark(&format!(
            "a replica that stood still for {STILL:?} answers again {} ms after it went on",
            took.as_millis()
        ));
        guard.refuses("of the locked pod", &locked).await?;
        guard.accepts("of another pod", &spared).await?;
        let fresh = scene.token(still, Elsewhere, Opaque, &row).await?;
        guard.accepts_soon("after it", &fresh).await?;
        lock.delete().await?;
    }
    Ok(())
}

fn refused(answer: &Answer) -> Result<()> {
    ensure!(
        answer.status == 503 && answer.code()? == "NotSynced",
        "{answer:?}"
    );
    Ok(())
}

/// How long after `since` the replica said something of tokens. Until then it says that it cannot, and
/// never that one of a locked pod is good.
async fn back(
    scene: &Scene,
    replica: usize,
    [locked, spared]: [&Token; 2],
    since: Instant,
) -> Result<Duration> {
    loop {
        let answer = scene.guard.answer(replica, locked).await?;
        let good = answer.status == 200 && answer.json()?["active"] == true;
        ensure!(!good, "a locked pod's token: {answer:?}");
        let answer = scene.guard.answer(replica, spared).await?;
        if answer.status == 200 {
            ensure!(answer.json()?["active"] == true, "{answer:?}");
            return Ok(since.elapsed());
        }
        refused(&answer)?;
        ensure!(since.elapsed() < MINUTE, "it is not back: {answer:?}");
    }
}
