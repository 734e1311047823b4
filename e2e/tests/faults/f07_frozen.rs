//! A sidecar that stands still for longer than its tokens live, as in a virtual machine that is suspended.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    reads::{
        Outcome, Read,
        verdict::{between, judge},
    },
    remark::remark,
};
use jiff::Timestamp;

use crate::fixture::{MINUTE, apps, lasts, moment, served_again};

const LIFE: &str = "30s";
const FROZEN: Duration = Duration::from_secs(35);

/// How soon after it goes on it has a new token.
const AGAIN: Duration = Duration::from_secs(1);

#[tokio::test]
async fn f07_an_expired_token_is_never_handed_out_after_the_sidecar_was_frozen() -> Result<()> {
    let Some(apps) = apps("frozen", 2, LIFE).await? else {
        return Ok(());
    };
    // the tokens of before are over when it goes on
    let stopped = apps.pods[0].sidecar()?.stop().await?;
    lasts(FROZEN).await;
    drop(stopped);
    let resumed = moment();
    let took = served_again(&apps, resumed).await?;
    lasts(MINUTE / 4).await;
    let end = moment();
    let frozen = apps.names[0].clone();
    let (reads, _) = apps.end("a sidecar was frozen")?;
    let (frozen, other): (Vec<Read>, Vec<Read>) = reads
        .into_iter()
        .partition(|read| read.source.starts_with(&frozen));
    judge(&other).all_served()?;

    // also those that waited in its socket all the while were answered afterwards
    let over = |read: &&Read| matches!(read.outcome, Outcome::Served { expires, .. } if expires <= ended(read));
    let over: Vec<&Read> = frozen.iter().filter(over).collect();
    ensure!(over.is_empty(), "served after its end: {over:?}");
    judge(&between(&frozen, resumed, end)).clean()?;
    remark(&format!(
        "after it was frozen, all are served within {took:?}"
    ));
    ensure!(took <= AGAIN, "a new token came after {took:?}");
    Ok(())
}

/// When a read was answered.
fn ended(read: &Read) -> Timestamp {
    let took = jiff::SignedDuration::try_from(read.took).unwrap_or_default();
    read.begun.saturating_add(took).unwrap_or(read.begun)
}
