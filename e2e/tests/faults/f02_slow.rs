//! The API server takes long for each answer to the operator.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    api::OperatorApi, asker::Asker, flow::Flow, late::Late, remark::remark, wait::until,
};
use tokio::time::Instant;

use crate::{
    f02_throttled::{AMPLIFIED, requests_within},
    fixture::{LIFE, MINUTE, PODS, apps, current, lasts},
};

/// For each.
const LATE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn f02_reads_are_served_and_requests_do_not_pile_up_while_the_api_server_takes_five_seconds_to_answer()
-> Result<()> {
    let Some(apps) = apps("slowapi", PODS, LIFE).await? else {
        return Ok(());
    };
    let asker = Asker::start(&apps.shop).await?;
    let replicas = current().await?;
    let [one, other] = [replicas[0].api().await?, replicas[1].api().await?];
    for api in [&one, &other] {
        until(MINUTE, "it knows the policy", || asker.ask(api, 0)).await?;
    }
    let flow = Flow::open().await?;
    // those that began before count as others'
    lasts(MINUTE / 6).await;
    let offered = requests_within(&flow, MINUTE).await?;

    let addresses = [&*replicas[0].address, &*replicas[1].address];
    let late = Late::towards_api_server(&addresses, LATE).await?;
    // what they watched by ended: that it is begun again is no matter of slowness
    lasts(MINUTE / 6).await;
    let before = tokio::try_join!(issued(&asker, &one, 1), issued(&asker, &other, 1))?;
    let slow = requests_within(&flow, MINUTE).await?;
    let after = tokio::try_join!(issued(&asker, &one, 2), issued(&asker, &other, 2))?;
    drop((late, flow));
    current().await?;
    let (_, verdict) = apps.end("the API server took five seconds for each answer")?;
    remark(&format!(
        "{offered} requests a minute, and {slow} slow ones; a service-account token took {before:?}, then {after:?}"
    ));
    verdict.all_served()?;
    // each short token was replaced at least twice in the quiet, and once while it was slow
    ensure!(verdict.tokens >= 4 * PODS, "{verdict}");
    for took in [before.0, before.1, after.0, after.1] {
        ensure!(took >= LATE, "a token took {took:?} only: nothing was slow");
    }
    ensure!(slow > 0.0, "nothing was asked for");
    ensure!(slow <= offered * AMPLIFIED, "{slow} after {offered}");
    Ok(())
}

/// How long that replica takes to issue the token of a row that nobody asked for yet.
async fn issued(asker: &Asker, api: &OperatorApi, row: usize) -> Result<Duration> {
    let since = Instant::now();
    asker.ask(api, row).await?;
    Ok(since.elapsed())
}
