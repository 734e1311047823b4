//! The programs of the node end, one after the other; and all of it at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    daemon::{NODE, api_answers, reboot},
    manifest::pod,
    operator::renewed,
    reads::verdict::{between, judge},
    remark::remark,
    wait::until,
};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts, moment, served_again};

/// How long each of them is away.
const AWAY: Duration = Duration::from_secs(15);

#[tokio::test]
async fn f14_every_read_is_served_while_the_programs_of_the_node_end_and_start_again() -> Result<()>
{
    let Some(apps) = apps("nodeparts", PODS, LIFE).await? else {
        return Ok(());
    };
    for daemon in NODE {
        daemon.process()?.kill().await?;
        lasts(AWAY).await;
        daemon.start().await?;
        lasts(AWAY).await;
    }
    let late = pod("late").injected().under("orders");
    apps.shop.apply(&late.to_string()).await?;
    apps.shop.running("late", 2 * MINUTE).await?;
    current().await?;
    let (_, verdict) = apps.end("the programs of the node ended")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 3 * PODS, "{verdict}");
    Ok(())
}

#[tokio::test]
async fn f14_after_a_reboot_pods_come_back_by_themselves_and_read_tokens_of_theirs() -> Result<()> {
    let Some(apps) = apps("reboot", PODS, LIFE).await? else {
        return Ok(());
    };
    reboot().await?;
    // nothing of before answers any more
    let since = moment();
    until(MINUTE, "the API server is ready", api_answers).await?;
    let took = served_again(&apps, since).await?;
    remark(&format!("all are served {took:?} after the power is back"));
    let again = moment();
    lasts(MINUTE).await;
    let end = moment();
    current().await?;
    renewed().await?;
    let (reads, _) = apps.end("the node was rebooted")?;
    judge(&between(&reads, again, end)).all_served()?;
    let expired = judge(&reads).violations.into_iter().filter(|found| {
        matches!(
            found.fault,
            hallpass_e2e::reads::verdict::Fault::Expired { .. }
        )
    });
    let expired: Vec<_> = expired.collect();
    ensure!(expired.is_empty(), "{expired:?}");
    Ok(())
}
