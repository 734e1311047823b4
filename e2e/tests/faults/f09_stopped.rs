//! Replicas that stand still: they take connections and answer nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{process::Process, remark::remark, wait::until};
use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts};

/// The kubelet kills one that stands still for more than 23 s.
const STILL: Duration = Duration::from_secs(20);

/// How soon both decide again after they stood still: they ask for every watch anew first.
const AGAIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn f09_every_read_is_served_while_one_of_two_replicas_stands_still() -> Result<()> {
    let Some(apps) = apps("onestill", PODS, LIFE).await? else {
        return Ok(());
    };
    for still in [0, 1] {
        let replicas = current().await?;
        let stopped = Process::of(&replicas[still]).await?.stop().await?;
        lasts(STILL).await;
        drop(stopped);
    }
    current().await?;
    let (_, verdict) = apps.end("one of two replicas stood still")?;
    verdict.all_served()?;
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
