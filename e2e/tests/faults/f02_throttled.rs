//! The API server takes no request of the operator: 429 to all of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{flow::Flow, remark::remark};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts};

/// How many more requests there may be than when they are answered.
pub(crate) const AMPLIFIED: f64 = 1.1;

#[tokio::test]
async fn f02_reads_are_served_and_requests_do_not_pile_up_while_the_api_server_refuses_the_operator()
-> Result<()> {
    let Some(apps) = apps("throttled", PODS, LIFE).await? else {
        return Ok(());
    };
    let flow = Flow::open().await?;
    // those that began before count as others'
    lasts(MINUTE / 6).await;
    let offered = requests_within(&flow, MINUTE).await?;
    flow.close().await?;
    lasts(MINUTE / 6).await;
    let retried = requests_within(&flow, MINUTE).await?;
    drop(flow);
    current().await?;
    let (_, verdict) = apps.end("the API server refused the operator")?;
    remark(&format!(
        "{offered} requests a minute, and {retried} refused ones"
    ));
    verdict.all_served()?;
    ensure!(retried > 0.0, "nothing was refused");
    ensure!(retried <= offered * AMPLIFIED, "{retried} after {offered}");
    Ok(())
}

/// How many requests of the operator arrive within that time, answered or refused.
pub(crate) async fn requests_within(flow: &Flow, time: Duration) -> Result<f64> {
    let before = flow.requests().await?;
    lasts(time).await;
    Ok(flow.requests().await? - before)
}
