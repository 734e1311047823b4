//! B13: the operator with many policies and many pods: what it keeps, what it writes, how soon it is there.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use crate::{
    alone::{Alone, POLICIES, Population},
    connected,
    kernel::Memory,
    peers::Peers,
    poll,
    process::cpu_micros,
    report::{Bar, Report},
    scale::Scale,
};

pub(crate) async fn measure(
    report: &mut Report,
    operator: &Path,
    (scale, peers): (&Scale, &Peers),
) -> Result<()> {
    let population = scale.population;
    let mut alone = Alone::make(operator, population).await?;
    let rows = Rows::of(population);
    let began = Instant::now();
    alone.start()?;
    alone.all_ready(Duration::from_secs(600)).await?;
    let ready = (began.elapsed().as_secs_f64(), "s");
    rows.add(report, "start to all Ready", ready, None);
    sleep(SETTLE).await;
    let pid = alone.pid()?;
    let spent = cpu_micros(pid)? / 1e6;
    rows.add(report, "processor time until then", (spent, "s"), None);
    let written = alone.api.store.written(POLICIES);
    rows.add(
        report,
        "most writes of one policy",
        (f64::from(written.most), ""),
        Some(1.0),
    );
    let memory = Memory::of(pid)?;
    rows.add(
        report,
        "operator, resident",
        (memory.resident, "MiB"),
        Some(48.0),
    );
    resync(report, &alone, &rows).await?;
    restart(report, &mut alone, &rows).await?;
    poll::measure(report, &alone, rows.conditions()).await?;
    beside(report, &alone, peers, &rows).await?;
    connected::measure(report, &alone, rows.conditions()).await
}

/// Has the operator list everything anew.
async fn resync(report: &mut Report, alone: &Alone, rows: &Rows) -> Result<()> {
    let (store, pid) = (&alone.api.store, alone.pid()?);
    let (written, lists) = (store.written(POLICIES).writes, store.lists(POLICIES));
    let spent = cpu_micros(pid)?;
    store.forget_changes();
    // every watch is asked for anew within five seconds
    sleep(RELIST).await;
    rows.add(
        report,
        "lists in a resync",
        (f64::from(store.lists(POLICIES) - lists), ""),
        None,
    );
    let writes = f64::from(store.written(POLICIES).writes - written);
    rows.add(
        report,
        "writes of policies in a resync",
        (writes, ""),
        Some(0.0),
    );
    let spent = (cpu_micros(pid)? - spent) / 1e6;
    rows.add(report, "processor time of a resync", (spent, "s"), None);
    let resident = (Memory::of(pid)?.resident, "MiB");
    rows.add(report, "operator after it, resident", resident, Some(48.0));
    Ok(())
}

/// Kills it and starts it again.
async fn restart(report: &mut Report, alone: &mut Alone, rows: &Rows) -> Result<()> {
    let written = alone.api.store.written(POLICIES).writes;
    alone.kill();
    let began = Instant::now();
    alone.start()?;
    alone.steady().await?;
    let steady = (began.elapsed().as_secs_f64(), "s");
    rows.add(report, "restart to steady", steady, Some(15.0));
    sleep(SETTLE).await;
    let writes = f64::from(alone.api.store.written(POLICIES).writes - written);
    rows.add(
        report,
        "writes of policies after it",
        (writes, ""),
        Some(0.0),
    );
    Ok(())
}

/// A controller of controller-runtime that watches the same and does nothing.
async fn beside(report: &mut Report, alone: &Alone, peers: &Peers, rows: &Rows) -> Result<()> {
    let Some(controller) = &peers.controller else {
        return Ok(());
    };
    let began = Instant::now();
    let mut running = peers.run_controller(controller, &alone.kubeconfig())?;
    running
        .first_line()
        .await
        .context("the controller's caches")?;
    let theirs = began.elapsed().as_secs_f64();
    let memory = Memory::of(running.pid())?;
    let resident = Memory::of(alone.pid()?)?.resident;
    rows.add(
        report,
        "operator, resident, once more",
        (resident, "MiB"),
        None,
    );
    report.beside(PEER, memory.resident);
    rows.add(report, "the other's start to synced", (theirs, "s"), None);
    Ok(())
}

/// Rows of one population.
struct Rows(String);

impl Rows {
    fn of(population: Population) -> Self {
        let Population { policies, pods } = population;
        Self(format!(
            "the shipped program with one worker thread, {policies} policies of ten tokens, {pods} pods; \
             the API server is a stand-in over plain HTTP on the same two cores"
        ))
    }

    fn conditions(&self) -> &str {
        &self.0
    }

    fn add(&self, report: &mut Report, metric: &str, value: (f64, &str), bar: Option<f64>) {
        report.add("B13", metric, value, &self.0);
        if let Some(bar) = bar {
            report.bar(Bar::Value(bar));
        }
    }
}

/// Longer than a status is held back for the next one.
const SETTLE: Duration = Duration::from_secs(12);
/// The longest that a watch lives, and then the time for the lists.
const RELIST: Duration = Duration::from_secs(12);
const PEER: &str = "controller-runtime, a no-op";
