//! The release is upgraded and rolled back while its pods read, and sidecars are of another version than
//! the operator.

use std::{pin::pin, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::Apps,
    cluster::checkout,
    command::run,
    load::Load,
    local::LocalPod,
    manifest::pod,
    reads::{
        Outcome, Read, Readers, Source,
        verdict::{Fault, judge},
    },
    release::{Chart, rolled_back},
    remark::remark,
    wait::{not_yet, until},
};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts, started_again};

/// How long a sidecar is away that is replaced in place: the kubelet ends one and starts the next.
const REPLACED: Duration = Duration::from_secs(10);

/// So many tokens at least are issued and asked about while versions change.
const ASKED: usize = 100;

#[tokio::test]
async fn f18_every_read_is_served_while_chart_and_images_become_the_next_version_and_go_back()
-> Result<()> {
    let Some(apps) = apps("upgraded", PODS, LIFE).await? else {
        return Ok(());
    };
    let (this, next) = (Chart::current()?, Chart::next().await?);
    let mut load = Load::new(apps.shop.beside("load").await?).await?;
    let later = load
        .during(pin!(there_and_back(&apps, &this, &next)))
        .await?;
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
    served_throughout(later)?;
    asked(&load)?;
    away_for_a_moment(&replaced)
}

async fn there_and_back(apps: &Apps, this: &Chart, next: &Chart) -> Result<Vec<Later>> {
    next.upgrade().await?;
    current().await?;
    let later = injected(apps, "later", next).await?;
    replaced_in_place(apps, next).await?;
    lasts(MINUTE).await;
    rolled_back().await?;
    this.runs().await?;
    current().await?;
    // one sidecar is newer than the operator meanwhile
    let last = injected(apps, "last", this).await?;
    lasts(MINUTE).await;
    Ok(vec![later, last])
}

#[tokio::test]
async fn f18_every_read_is_served_while_the_release_before_becomes_this_one_and_comes_back()
-> Result<()> {
    let Some(before) = Chart::previous()? else {
        return no_release_before().await;
    };
    let this = Chart::current()?;
    hallpass_e2e::cluster::install().await?;
    before.install().await?;
    let outcome = from(&before, &this).await;
    // what comes after this test is about this one
    this.upgrade().await?;
    outcome
}

/// Where the history has it, it has to be made: this must not pass for having shown anything.
async fn no_release_before() -> Result<()> {
    let script = checkout().join("e2e/previous");
    let script = std::fs::read_to_string(script).context("what makes the release before")?;
    let commit = script.lines().find_map(|line| line.strip_prefix("COMMIT="));
    let commit = format!("{}^{{commit}}", commit.context("its commit")?);
    let folder = checkout().display().to_string();
    let has = ["-C", &folder, "cat-file", "-e", &commit];
    ensure!(
        !run("git", &has, None).await?.ok,
        "the history has the release before, and HALLPASS_E2E_PREVIOUS names none: run e2e/faults f18"
    );
    remark(
        "NOT SHOWN: upgrade and rollback, since this history is cut off before the release before",
    );
    Ok(())
}

async fn from(before: &Chart, this: &Chart) -> Result<()> {
    let Some(apps) = apps("before", PODS, LIFE).await? else {
        return Ok(());
    };
    let later = back_and_again(&apps, before, this).await?;
    let (_, verdict) = apps.end("the release before was upgraded, back, and again")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 4 * PODS, "{verdict}");
    served_throughout(later)
}

async fn back_and_again(apps: &Apps, before: &Chart, this: &Chart) -> Result<Vec<Later>> {
    let first = injected(apps, "first", before).await?;
    this.upgrade().await?;
    current().await?;
    let later = injected(apps, "later", this).await?;
    lasts(MINUTE).await;
    rolled_back().await?;
    before.runs().await?;
    current().await?;
    let last = injected(apps, "last", before).await?;
    lasts(MINUTE).await;
    this.upgrade().await?;
    current().await?;
    Ok(vec![first, later, last])
}

/// No question was left without its answer; some met a replica that was ending, and were asked again.
fn asked(load: &Load) -> Result<()> {
    remark(&format!(
        "{} tokens were issued and called active, {} questions were asked again: {:?}",
        load.good,
        load.again.len(),
        load.again
    ));
    ensure!(load.good >= ASKED, "{} are no load", load.good);
    Ok(())
}

/// A pod of another version than the first ones, which is read from its start on.
struct Later {
    readers: Readers,
    _pod: LocalPod,
}

fn served_throughout(later: Vec<Later>) -> Result<()> {
    for pod in later {
        let verdict = judge(&pod.readers.end()?);
        remark(&format!("a pod that was created meanwhile: {verdict}"));
        verdict.all_served()?;
    }
    Ok(())
}

/// A pod that is created now gets the sidecar of that version, and is served.
async fn injected(apps: &Apps, name: &str, chart: &Chart) -> Result<Later> {
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
    let sources = Source::of(name, &local).to_vec();
    for source in &sources {
        let read = source.read().await;
        ensure!(matches!(read.outcome, Outcome::Served { .. }), "{read:?}");
    }
    Ok(Later {
        readers: Readers::start(sources)?,
        _pod: local,
    })
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
