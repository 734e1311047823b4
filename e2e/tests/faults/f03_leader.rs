//! The replica that writes is paused, asked to end, killed; and both are.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::Apps,
    cluster::RELEASE,
    command::kubectl,
    operator::{Replica, leader, renewed},
    process::Process,
    remark::remark,
    wait::{not_yet, until},
    writes::Log,
};
use http::Request;
use serde_json::Value;
use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts, moment};

/// A leader that was asked to end gives the lease back.
const ASKED: Duration = Duration::from_secs(3);

/// One that died cannot, and its node may not start it again: its lease of 15 s runs out for the other, which looks
/// every 4 s, and so saw the last renewal up to 4 s late. The documents say 25 s.
const KILLED: Duration = Duration::from_secs(25);

/// How long it is looked whether a write of one that was paused lands.
const WATCHED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn f03_no_write_of_a_paused_leader_lands_after_another_leads() -> Result<()> {
    let Some(apps) = apps("paused", PODS, LIFE).await? else {
        return Ok(());
    };
    let (old, process) = leading().await?;
    let stopped = process.stop().await?;
    // what it would write about when it goes on
    reconciles_soon(&apps, "meanwhile").await?;
    let new = leader().await?;
    ensure!(new != old.pod, "{new} leads on");
    let (log, since) = (Log::from_now()?, moment());
    drop(stopped);
    reconciled_within(MINUTE, &apps, "afterwards").await?;
    current().await?;
    lasts(WATCHED).await;

    let by_new = log.by(&new)?;
    let seen = |w: &hallpass_e2e::writes::Write| w.landed() && w.what.contains("afterwards");
    ensure!(
        by_new.iter().any(seen),
        "the log shows no write: {by_new:?}"
    );
    let mut stale = log.by(&old.pod)?;
    stale.retain(|write| write.landed() && write.at >= since && !is_anybodys(&write.what));
    ensure!(leader().await? == new, "the old one leads again");
    ensure!(stale.is_empty(), "{} wrote: {stale:?}", old.pod);
    let (_, verdict) = apps.end("a leader was paused until another led")?;
    verdict.all_served()
}

#[tokio::test]
async fn f03_another_leads_within_three_seconds_after_the_leader_is_asked_to_end() -> Result<()> {
    let Some(apps) = apps("asked", PODS, LIFE).await? else {
        return Ok(());
    };
    let (old, process) = leading().await?;
    let since = Instant::now();
    process.end().await?;
    reconciled_within(MINUTE, &apps, "younger").await?;
    let took = since.elapsed();
    remark(&format!("{took:?} after SIGTERM another leader writes"));
    let new = leader().await?;
    current().await?;
    renewed().await?;
    let (_, verdict) = apps.end("the leader was asked to end")?;
    verdict.all_served()?;
    ensure!(new != old.pod, "{new} leads on");
    ensure!(took <= ASKED, "it took {took:?}");
    Ok(())
}

#[tokio::test]
async fn f03_another_leads_when_the_lease_of_a_leader_that_never_comes_back_is_over() -> Result<()>
{
    let Some(apps) = apps("killed", PODS, LIFE).await? else {
        return Ok(());
    };
    let (old, process) = leading().await?;
    // it can give nothing back, whatever it is asked
    let stopped = process.stop().await?;
    let since = Instant::now();
    let delete = ["delete", "pod", &old.pod, "-n", RELEASE];
    let at_once = ["--force", "--grace-period=0", "--wait=false"];
    kubectl(&[&delete[..], &at_once].concat())
        .await?
        .success()?;
    process.kill().await?;
    drop(stopped);
    let new = until(MINUTE, "another leads", || async {
        let new = leader().await?;
        if new == old.pod {
            return Err(not_yet(new));
        }
        Ok(new)
    })
    .await?;
    let taken = since.elapsed();
    reconciled_within(MINUTE, &apps, "younger").await?;
    let took = since.elapsed();
    remark(&format!(
        "{taken:?} after the leader died another had its lease, and wrote after {took:?}"
    ));
    current().await?;
    ensure!(leader().await? == new, "{new} leads no more");
    let (_, verdict) = apps.end("the leader died for good")?;
    verdict.all_served()?;
    ensure!(took <= KILLED, "it took {took:?}");
    Ok(())
}

#[tokio::test]
async fn f03_every_read_is_served_while_both_replicas_are_killed_and_start_again() -> Result<()> {
    let Some(apps) = apps("bothkilled", PODS, LIFE).await? else {
        return Ok(());
    };
    for replica in current().await? {
        Process::of(&replica).await?.kill().await?;
    }
    current().await?;
    lasts(MINUTE).await;
    renewed().await?;
    let (_, verdict) = apps.end("both replicas were killed")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 3 * PODS, "{verdict}");
    Ok(())
}

/// The leader and its process.
async fn leading() -> Result<(Replica, Process)> {
    let leader = until(MINUTE, "a replica leads", || async {
        let (leader, replicas) = (leader().await?, current().await?);
        let found = replicas.into_iter().find(|replica| replica.pod == leader);
        found.context("it has ended")
    });
    let leader = leader.await?;
    let process = Process::of(&leader).await?;
    Ok((leader, process))
}

/// What every replica does for whoever asks it, since tokens are not the leader's alone; and the question what it
/// may do, which is asked by a request to create something and stores nothing.
fn is_anybodys(what: &str) -> bool {
    let of = [
        " serviceaccounts/token ",
        " tokenreviews ",
        " selfsubjectaccessreviews ",
    ];
    of.iter().any(|kind| what.contains(kind))
}

async fn reconciles_soon(apps: &Apps, name: &str) -> Result<()> {
    reconciled_within(KILLED + MINUTE, apps, name).await
}

/// Writes a policy and waits until a leader has judged it.
async fn reconciled_within(within: Duration, apps: &Apps, name: &str) -> Result<()> {
    apps.shop.apply(&apps.another(name).to_string()).await?;
    let path = format!(
        "/apis/hallpass.dev/v1alpha1/namespaces/{}/tokenpolicies/{name}",
        apps.shop.namespace
    );
    until(within, "a leader writes a status", || async {
        let request = Request::get(&path).body(Vec::new())?;
        let policy: Value = apps.shop.client.request(request).await?;
        if policy["status"]["observedGeneration"] == 1 {
            Ok(())
        } else {
            Err(not_yet(&policy["status"]))
        }
    })
    .await
}
