//! A sidecar is killed while there is no operator that could give it anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    local::LocalPod,
    operator::scaled,
    reads::{Outcome, Source, verdict::judge},
    remark::remark,
    wait::{not_yet, until},
};
use tokio::time::Instant;

use crate::fixture::{MINUTE, apps, moment, served_again, started_again};

/// All tokens outlive the fault.
const LIFE: &str = "10m";

/// From the start of the process to the first token: 50 ms, and the rest for a busy machine.
const SERVED: Duration = Duration::from_millis(500);

#[tokio::test]
async fn f19_a_killed_sidecar_serves_what_is_valid_again_at_once_while_there_is_no_operator()
-> Result<()> {
    let Some(apps) = apps("sidecarkilled", 2, LIFE).await? else {
        return Ok(());
    };
    scaled(0).await?;
    let outcome = killed(&apps.pods[0]).await;
    let after = moment();
    scaled(2).await?;
    served_again(&apps, after).await?;
    let killed = apps.names[0].clone();
    let (mut others, _) = apps.end("a sidecar was killed")?;
    others.retain(|read| !read.source.starts_with(&killed));
    judge(&others).all_served()?;
    let took = outcome?;
    remark(&format!("after its start it served again within {took:?}"));
    ensure!(took <= SERVED, "served after {took:?}");
    Ok(())
}

/// How long after its start the next process serves both tokens.
async fn killed(pod: &LocalPod) -> Result<Duration> {
    let old = pod.sidecar()?;
    old.kill().await?;
    let new = started_again(pod, old).await?;
    let since = Instant::now();
    until(MINUTE / 2, "the tokens of before are served", || async {
        for source in Source::of("killed", pod) {
            let read = source.read().await;
            if !matches!(read.outcome, Outcome::Served { .. }) {
                return Err(not_yet(read));
            }
        }
        Ok(())
    })
    .await?;
    let took = since.elapsed();
    ensure!(new.runs(), "it ended again");
    Ok(took)
}
