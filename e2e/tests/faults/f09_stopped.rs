//! Replicas that stand still: they take connections and answer nothing.

use std::{ops::Range, time::Duration};

use anyhow::{Result, ensure};
use hallpass_e2e::{
    process::Process,
    reads::verdict::{between, judge},
    remark::remark,
    wait::until,
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts, moment};

/// The kubelet kills one that stands still for more than 23 s.
const STILL: Duration = Duration::from_secs(20);

/// What is served from a sidecar's memory is so within a few milliseconds, whatever the operator does: more than ten
/// times that on a machine that all of the cluster shares, and far from what it takes to wait for a replica, 300 ms.
const UNNOTICED: Duration = Duration::from_millis(50);

/// How soon both decide again after they stood still: they ask for every watch anew first.
const AGAIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn f09_every_read_is_served_while_one_of_two_replicas_stands_still() -> Result<()> {
    let Some(apps) = apps("onestill", PODS, LIFE).await? else {
        return Ok(());
    };
    let begun = moment();
    lasts(STILL).await;
    let (quiet, mut disturbed) = (begun..moment(), Vec::new());
    for still in [0, 1] {
        let replicas = current().await?;
        let stopped = Process::of(&replicas[still]).await?.stop().await?;
        let since = moment();
        lasts(STILL).await;
        disturbed.push(since..moment());
        drop(stopped);
    }
    current().await?;
    let (reads, verdict) = apps.end("one of two replicas stood still")?;
    verdict.all_served()?;
    let slowest = |of: &Range<Timestamp>| judge(&between(&reads, of.start, of.end)).most;
    let usual = slowest(&quiet);
    for (still, time) in disturbed.iter().enumerate() {
        let most = slowest(time);
        remark(&format!(
            "99 of 100 reads took {most:?} at most while replica {still} stood still, {usual:?} before"
        ));
        ensure!(most <= (2 * usual).max(UNNOTICED), "{most:?} and {usual:?}");
    }
    // of two tokens each, the short one was replaced
    ensure!(verdict.tokens >= 3 * PODS, "{verdict}");
    Ok(())
}

#[tokio::test]
async fn f09_what_is_valid_is_served_while_both_replicas_stand_still() -> Result<()> {
    let Some(apps) = apps("bothstill", PODS, LIFE).await? else {
        return Ok(());
    };
    let identity = apps.identity().await?;
    let (mut stopped, mut apis) = (Vec::new(), Vec::new());
    for replica in current().await? {
        apis.push(replica.api().await?);
        stopped.push(Process::of(&replica).await?.stop().await?);
    }
    lasts(STILL).await;
    drop(stopped);
    let since = Instant::now();
    for api in &apis {
        until(MINUTE, "it decides again", || async {
            let answer = api.assignments(&identity).await?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })
        .await?;
    }
    let took = since.elapsed();
    current().await?;
    let (_, verdict) = apps.end("both replicas stood still")?;
    remark(&format!("both decide again {took:?} after they went on"));
    verdict.clean()?;
    ensure!(took <= AGAIN, "they decide again after {took:?}");
    Ok(())
}
