//! The release is upgraded and rolled back while its pods read, and sidecars are of another version than
//! the operator.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::Apps,
    local::LocalPod,
    manifest::pod,
    reads::{
        Outcome, Read, Source,
        verdict::{Fault, judge},
    },
    release::{Chart, rolled_back},
    remark::remark,
    wait::{not_yet, until},
};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts, started_again};

/// How long a sidecar is away that is replaced in place: the kubelet ends one and starts the next.
const REPLACED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn f18_every_read_is_served_while_chart_and_images_become_the_next_version_and_go_back()
-> Result<()> {
    let Some(apps) = apps("upgraded", PODS, LIFE).await? else {
        return Ok(());
    };
    let (this, next) = (Chart::current()?, Chart::next().await?);
    next.upgrade().await?;
    current().await?;
    injected(&apps, "later", &next).await?;
    replaced_in_place(&apps, &next).await?;
    lasts(MINUTE).await;
    rolled_back().await?;
    this.runs().await?;
    current().await?;
    // one sidecar is newer than the operator meanwhile
    injected(&apps, "last", &this).await?;
    lasts(MINUTE).await;
    let replaced = apps.names[0].clone();
    let (reads, _) = apps.end("chart and images were upgraded and rolled back")?;
    let (replaced, others): (Vec<Read>, Vec<Read>) = reads
        .into_iter()
        .partition(|read| read.source.starts_with(&replaced));
    let verdict = judge(&others);
    remark(&format!(
        "of those, beside one replaced in place: {verdict}"
    ));
    verdict.all_served()?;
    ensure!(verdict.tokens >= 4 * (PODS - 1), "{verdict}");
    away_for_a_moment(&replaced)
}

#[tokio::test]
async fn f18_every_read_is_served_while_the_release_before_becomes_this_one_and_comes_back()
-> Result<()> {
    let Some(before) = Chart::previous()? else {
        return Ok(());
    };
    let this = Chart::current()?;
    hallpass_e2e::cluster::install().await?;
    before.install().await?;
    let outcome = from(&before, &this).await;
    // what comes after this test is about this one
    this.upgrade().await?;
    outcome
}

async fn from(before: &Chart, this: &Chart) -> Result<()> {
    let Some(apps) = apps("before", PODS, LIFE).await? else {
        return Ok(());
    };
    injected(&apps, "first", before).await?;
    this.upgrade().await?;
    current().await?;
    injected(&apps, "later", this).await?;
    lasts(MINUTE).await;
    rolled_back().await?;
    before.runs().await?;
    current().await?;
    injected(&apps, "last", before).await?;
    lasts(MINUTE).await;
    this.upgrade().await?;
    current().await?;
    let (_, verdict) = apps.end("the release before was upgraded, back, and again")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 4 * PODS, "{verdict}");
    Ok(())
}

/// A pod that is created now gets the sidecar of that version, and is served.
async fn injected(apps: &Apps, name: &str, chart: &Chart) -> Result<()> {
    let created = pod(name).injected().under("orders");
    // refused for as long as the API server has read some of the new policies and not all
    until(MINUTE, "a pod of that version", || async {
        let path = "jsonpath={.spec.initContainers[0].image}";
        let get = ["get", "pod", name, "--ignore-not-found", "-o", path];
        let image = apps.shop.kubectl(&get).await?.success()?;
        if image == chart.sidecar() {
            return Ok(());
        }
        if !image.is_empty() {
            let delete = ["delete", "pod", name, "--now"];
            apps.shop.kubectl(&delete).await?.success()?;
        }
        apps.shop.apply(&created.to_string()).await?;
        Err(not_yet(image))
    })
    .await?;
    apps.shop.running(name, 2 * MINUTE).await?;
    let local = LocalPod::find(&apps.shop, name).await?;
    for source in Source::of(name, &local) {
        let read = source.read().await;
        ensure!(matches!(read.outcome, Outcome::Served { .. }), "{read:?}");
    }
    Ok(())
}

/// Gives the first pod's sidecar that version, as the documents say: the application goes on.
async fn replaced_in_place(apps: &Apps, chart: &Chart) -> Result<()> {
    let (name, local) = (&apps.names[0], &apps.pods[0]);
    let path = "jsonpath={.status.containerStatuses[0].containerID}";
    let application = async || {
        let get = ["get", "pod", name, "-o", path];
        apps.shop.kubectl(&get).await?.success()
    };
    let (before, old) = (application().await?, local.sidecar()?);
    let (of, image) = (
        format!("pod/{name}"),
        format!("hallpass={}", chart.sidecar()),
    );
    let set = ["set", "image", &of, &image];
    apps.shop.kubectl(&set).await?.success()?;
    started_again(local, old).await?;
    ensure!(application().await? == before, "the application ended too");
    Ok(())
}

/// Its socket was not there while the kubelet replaced it, and that is all.
fn away_for_a_moment(reads: &[Read]) -> Result<()> {
    let verdict = judge(reads);
    remark(&format!("a sidecar was replaced in place: {verdict}"));
    ensure!(verdict.longest_without <= REPLACED, "{verdict}");
    let expired = |fault: &Fault| matches!(fault, Fault::Expired { .. });
    let mut faults = verdict.violations.iter().map(|found| &found.fault);
    ensure!(!faults.any(expired), "{verdict}");
    let last = reads.last().context("a read")?;
    ensure!(matches!(last.outcome, Outcome::Served { .. }), "{last:?}");
    Ok(())
}
