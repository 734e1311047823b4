//! The CA of the operator comes to its end: in good order while it runs, and while it does not run.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    authority::{Authority, published, stored, written},
    cluster::RELEASE,
    command::kubectl,
    operator::scaled,
    remark::remark,
    wait::{not_yet, until},
};

use crate::fixture::{MINUTE, apps, current, moment, served_again};

/// All tokens outlive the fault.
const LIFE: &str = "10m";

/// The kubelet reads a trust bundle anew every minute and a half at the latest, a sidecar's next try follows within
/// half a minute.
const LEARNT: Duration = Duration::from_secs(150);

#[tokio::test]
async fn f12_a_ca_that_ended_is_replaced_and_pods_that_run_are_served_again() -> Result<()> {
    let Some(apps) = apps("authorityended", 2, LIFE).await? else {
        return Ok(());
    };
    let before = published().await?;
    scaled(0).await?;
    written(&Authority::ended()?).await?;
    let after = moment();
    // it waits until they are ready: with another CA, without a hand
    scaled(2).await?;
    current().await?;
    ensure!(published().await? != before, "no other CA is published");
    let took = served_again(&apps, after).await?;
    remark(&format!("with another CA all were served after {took:?}"));
    let (reads, _) = apps.end("the CA had ended")?;
    ensure!(!reads.is_empty(), "nobody read");
    hallpass_e2e::reads::verdict::judge(&reads).clean()?;
    ensure!(took <= LEARNT, "served after {took:?}");
    Ok(())
}

#[tokio::test]
async fn f12_a_ca_at_half_of_its_life_has_its_successor_published_beside_it() -> Result<()> {
    let Some(apps) = apps("authorityhalf", 2, LIFE).await? else {
        return Ok(());
    };
    let old = Authority::past_half()?;
    written(&old).await?;
    until(3 * MINUTE, "the next CA is published and noted", || async {
        let entries = stored().await?;
        let bundle = published().await?;
        let count = bundle.matches("BEGIN CERTIFICATE").count();
        let noted = entries.iter().any(|entry| entry == "next.shown");
        if count == 2 && noted && bundle.contains(old.certificate.trim()) {
            Ok(())
        } else {
            Err(not_yet(format!("{count} CAs, {entries:?}")))
        }
    })
    .await?;
    apps.end("the next CA was made")?
        .0
        .first()
        .context("a read")?;
    // the CA of the test lives for hours only: one that lasts takes its place
    let nothing = r#"{"data":null}"#;
    let patch = [
        "patch",
        "secret",
        "hallpass-serving",
        "-n",
        RELEASE,
        "--type=merge",
        "-p",
        nothing,
    ];
    kubectl(&patch).await?.success()?;
    scaled(0).await?;
    scaled(2).await?;
    current().await?;
    Ok(())
}
