//! etcd is restored from a backup that knows nothing of a revocation, a lock and an emergency rotation.
//! The operators go on running, and what they knew is not unlearned.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE, checkout},
    command::{kubectl, run},
    guard::Token,
    process::Process,
    remark::remark,
    revocation::{Revocation, token_revocation},
    scene::{
        Scene,
        What::{Foreign, Jwt, Opaque},
        Who::{Elsewhere, Orders, Stock},
    },
    state,
    token::kid,
    wait::{not_yet, until},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

mod watched;

use watched::Watched;

const ROWS: usize = 14;
const MINUTE: Duration = Duration::from_secs(60);
const LINE: &str = "the state of the cluster went back";

#[tokio::test]
async fn f5_what_was_revoked_stays_revoked_when_etcd_is_restored_from_a_backup() -> Result<()> {
    restored("restored", &[]).await
}

#[tokio::test]
async fn f5_what_was_revoked_stays_revoked_when_the_restored_etcd_goes_on_with_higher_revisions()
-> Result<()> {
    restored("bumped", &["--bump", "1000000"]).await
}

async fn restored(test: &str, bump: &[&str]) -> Result<()> {
    if state::folder("etcd is restored from a backup").is_none() {
        return Ok(());
    }
    let scene = Scene::inside(Cluster::alone(test).await?, ROWS).await?;
    let guard = &scene.guard;
    let processes = processes(&scene).await?;
    let (leaked, next) = scene.issuer.keys().await?;
    let revoked = [
        scene.token(0, Orders, Jwt, "0").await?,
        scene.token(1, Orders, Opaque, "0").await?,
    ];
    let locked = scene.token(0, Stock, Jwt, "0").await?;
    let of_leaked = scene.token(0, Elsewhere, Jwt, "0").await?;
    ensure!(kid(&of_leaked.text)? == leaked, "not of the key that leaks");
    let of_another = scene.token(0, Elsewhere, Foreign, "0").await?;
    for token in revoked.iter().chain([&locked, &of_leaked, &of_another]) {
        guard.accepts("before", token).await?;
    }
    let folder = TempDir::new()?;
    let snapshot = backup(&folder).await?;

    let _held = lost(&scene, &revoked, &locked, (&leaked, &of_leaked)).await?;
    let went_back = went_back(&scene).await?;

    let mut watched = Watched::new(&scene, [&revoked[0], &revoked[1], &locked], &of_leaked);
    let since = Instant::now();
    watched.during(restore(bump, &snapshot)).await?;
    let (answers, restored) = (since.elapsed(), Instant::now());
    watched.during(noticed(&scene, &went_back)).await?;
    let noticed = since.elapsed();
    watched.during(rotated(&scene, &leaked)).await?;
    let rotated = since.elapsed();
    watched.during(current(&scene, restored)).await?;
    remark(&format!(
        "restored {bump:?}: the API server answers after {answers:?}, it is noticed after {noticed:?}, the \
         removed key is gone again after {rotated:?}, all is read anew after {:?}; meanwhile {}",
        since.elapsed(),
        watched.said(&leaked)?
    ));

    ensure!(
        processes == self::processes(&scene).await?,
        "an operator ended"
    );
    guard.refuses("of the leaked key", &of_leaked).await?;
    watched.nothing_of(&leaked)?;
    works_again(&scene, &leaked, &next).await?;
    rotated_too(&scene, &of_another).await?;
    for token in &revoked {
        guard.refuses("revoked before", token).await?;
    }
    guard.refuses("locked before", &locked).await?;
    watched.gets_nothing(0).await?;
    watched.gets_nothing(1).await
}

/// Revokes, locks and rotates: the backup knows nothing of that.
async fn lost(
    scene: &Scene,
    revoked: &[Token],
    locked: &Token,
    (leaked, of_leaked): (&str, &Token),
) -> Result<[Revocation; 2]> {
    let guard = &scene.guard;
    let revocation = token_revocation("lost", &json!({"pod": "orders"}));
    let revocation = scene.shop.revoke(&revocation).await?;
    let lock = token_revocation("lost-lock", &json!({"pod": "stock"})).locking("INC-123");
    let lock = scene.shop.revoke(&lock).await?;
    for token in revoked {
        guard.refused("revoked", token, revocation.since).await?;
    }
    guard.refused("locked", locked, lock.since).await?;
    scene.issuer.annotate("rotate-now").await?;
    scene.issuer.gone(leaked).await?;
    let since = Instant::now();
    guard.refused("leaked", of_leaked, since).await?;
    Ok([revocation, lock])
}

/// A snapshot of now.
async fn backup(folder: &TempDir) -> Result<String> {
    let path = folder.path().join("snapshot");
    let path = path.to_str().context("a path in UTF-8")?.to_owned();
    let etcd = "--endpoints=http://127.0.0.1:2379";
    let save = [etcd, "snapshot", "save", &path];
    run("etcdctl", &save, None).await?.success()?;
    Ok(path)
}

/// The containers of the replicas.
async fn processes(scene: &Scene) -> Result<Vec<String>> {
    let mut processes = Vec::new();
    for replica in &scene.guard.replicas {
        processes.push(format!("{:?}", Process::of(replica).await?));
    }
    Ok(processes)
}

async fn restore(bump: &[&str], snapshot: &str) -> Result<()> {
    let script = checkout().join("e2e/cluster/restore");
    let script = script.to_str().context("a path in UTF-8")?;
    let args = [bump, &[snapshot]].concat();
    run(script, &args, None).await?.success()?;
    Ok(())
}

/// How often each replica noticed that the state went back.
async fn went_back(scene: &Scene) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for replica in &scene.guard.replicas {
        times.push(replica.metric("hallpass_state_went_back_total").await?);
    }
    Ok(times)
}

/// Each replica notices by itself, counts it and says so.
async fn noticed(scene: &Scene, before: &[f64]) -> Result<()> {
    until(MINUTE, "each replica notices", || async {
        let now = went_back(scene).await?;
        let all = now.iter().zip(before).all(|(now, before)| now > before);
        ensure!(all, "{now:?} times, before {before:?}");
        Ok(())
    })
    .await?;
    for replica in &scene.guard.replicas {
        let args = ["logs", "-n", RELEASE, &replica.pod, "--since=2m"];
        let logs = until(MINUTE, "the logs", || async {
            kubectl(&args).await?.success()
        });
        let logs = logs.await?;
        let mut lines = logs.lines();
        let said = lines.any(|line| line.contains(LINE) && line.contains("\"ERROR\""));
        ensure!(said, "{} does not say so", replica.pod);
    }
    Ok(())
}

/// The key is in no key set, and the issuer has one that signs and one that waits.
async fn rotated(scene: &Scene, leaked: &str) -> Result<()> {
    until(MINUTE, "the removed key is gone again", || async {
        let (active, next) = scene.issuer.keys().await?;
        if active == leaked || next == leaked {
            return Err(not_yet((active, next)));
        }
        scene.issuer.gone(leaked).await
    })
    .await
}

/// All that each replica knows is of after that moment. Until then it may say that it cannot decide, and it
/// may say so although it decided a moment ago: a watch that is not back grows older than counts.
async fn current(scene: &Scene, since: Instant) -> Result<()> {
    until(MINUTE, "all is read anew", || async {
        for replica in &scene.guard.replicas {
            let age = replica.metric("hallpass_state_age_seconds").await?;
            // it is told in whole seconds, once a second
            let at_most = Duration::from_secs_f64(age) + Duration::from_secs(2);
            ensure!(
                at_most < since.elapsed(),
                "{} knows what is {age} s old",
                replica.pod
            );
        }
        Ok(())
    })
    .await
}

/// So has an issuer that had no emergency: what was removed of it before the backup's time is not known.
async fn rotated_too(scene: &Scene, before: &Token) -> Result<()> {
    scene
        .guard
        .refuses("of another issuer's old key", before)
        .await?;
    let old = kid(&before.text)?;
    for replica in [0, 1] {
        let token = scene.token(replica, Elsewhere, Foreign, "1").await?;
        scene.guard.accepts_soon("of its new key", &token).await?;
        let new = kid(&token.text)?;
        ensure!(new != old, "{old} signs as before");
    }
    Ok(())
}

/// Tokens are issued, and a new revocation is in force within a second.
async fn works_again(scene: &Scene, leaked: &str, next: &str) -> Result<()> {
    let guard = &scene.guard;
    for replica in [0, 1] {
        let token = until(MINUTE, "a token is issued", || {
            scene.token(replica, Orders, Jwt, "1")
        });
        let token: Token = token.await?;
        let kid = kid(&token.text)?;
        ensure!(kid != leaked, "the removed key signs");
        // it waits in the backup, and may have signed and leaked since
        ensure!(kid != next, "a key of the backup signs");
        guard.accepts_soon("after the restore", &token).await?;
        let revocation = token_revocation(&format!("new-{replica}"), &json!({"pod": "orders"}));
        let revocation = scene.shop.revoke(&revocation).await?;
        let took = guard
            .refused("a new revocation", &token, revocation.since)
            .await?;
        remark(&format!(
            "a revocation after the restore is in force after {} ms",
            took.as_millis()
        ));
        ensure!(took <= Duration::from_secs(1), "it took {took:?}");
        let since = scene.token(1 - replica, Orders, Opaque, "1").await?;
        guard.accepts_soon("issued since", &since).await?;
    }
    Ok(())
}
