//! The CA of the operator comes to its end: in good order while it runs, and while it does not run. Pods of a webhook
//! know no CA but the one that ended, and reach the operator by what that one signed.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    authority::{Authority, published, stored, written},
    cluster::RELEASE,
    command::kubectl,
    operator::scaled,
    remark::remark,
    state,
    wait::{not_yet, until},
};

use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, apps, current, lasts, moment, replaced};

/// Tokens that outlive the time until the pods know of the test's own CA, which takes the place of theirs at once.
const LONG: &str = "10m";

/// A CA that lives that long has no successor in its first half, in which the pods are started.
const LIVED: Duration = Duration::from_secs(6 * 60);
const SECOND: Duration = Duration::from_secs(1);

/// The kubelet reads a trust bundle anew every minute and a half at the latest, a sidecar's next try follows within
/// half a minute.
const LEARNT: Duration = Duration::from_secs(150);

#[tokio::test]
async fn f12_a_ca_that_ended_is_replaced_and_pods_that_run_are_served_again() -> Result<()> {
    if state::folder("authorityended").is_none() {
        return Ok(());
    }
    let ending = Authority::living_for(LIVED)?;
    scaled(0).await?;
    written(&ending).await?;
    let ends = Instant::now() + LIVED;
    scaled(2).await?;
    let Some(apps) = apps("authorityended", 2, LIFE).await? else {
        return Ok(());
    };
    let before = published().await?;
    ensure!(
        before.trim() == ending.certificate.trim(),
        "the pods know of another CA than the one that ends"
    );
    scaled(0).await?;
    // it ends while no operator runs that could have it followed
    lasts(ends + SECOND - Instant::now()).await;
    let after = moment();
    // it waits until they are ready: with another CA, without a hand
    scaled(2).await?;
    current().await?;
    ensure!(published().await? != before, "no other CA is published");
    let took = replaced(&apps, after).await?;
    remark(&format!(
        "all have tokens of an operator with another CA after {took:?}"
    ));
    lasts(MINUTE / 4).await;
    // what was over before the pods knew of the other CA could not be served
    let (_, verdict) = apps.end("the CA had ended")?;
    verdict.clean()?;
    ensure!(took <= LEARNT, "after {took:?}");
    Ok(())
}

#[tokio::test]
async fn f12_a_ca_at_half_of_its_life_has_its_successor_published_beside_it() -> Result<()> {
    let Some(apps) = apps("authorityhalf", 2, LONG).await? else {
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
    let (_, verdict) = apps.end("the next CA was made")?;
    verdict.all_served()?;
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
