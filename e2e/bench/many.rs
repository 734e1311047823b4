//! B13: the operator with many policies and many pods: what it keeps, what it writes, how soon it is there.

use std::{
    collections::BTreeMap,
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
    standin::store::Written,
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
    tell_writes(report, &alone, &rows);
    let memory = Memory::of(pid)?;
    rows.add(
        report,
        "operator, resident",
        (memory.resident, "MiB"),
        Some(48.0),
    );
    resync(report, &alone, &rows).await?;
    let restarted = restart(report, &mut alone, &rows).await?;
    poll::measure(report, &alone, rows.conditions()).await?;
    beside(report, &alone, peers, (&rows, restarted)).await?;
    connected::measure(report, &alone, rows.conditions()).await
}

/// What was written of each kind of object, Events too. The lease is not among them, which is written every few seconds.
fn everywhere(alone: &Alone) -> BTreeMap<String, Written> {
    let mut all = alone.api.store.all_written();
    all.remove(LEASES);
    all
}

/// How much that was in all.
fn writes(alone: &Alone) -> u32 {
    let all = everywhere(alone);
    all.values().map(|written| written.writes).sum()
}

fn tell_writes(report: &mut Report, alone: &Alone, rows: &Rows) {
    let all = everywhere(alone);
    let of_each: Vec<String> = all
        .iter()
        .map(|(path, written)| format!("{path} {}", written.writes))
        .collect();
    let how = format!(
        "all kinds of objects but the lease, Events too, from the start until a while after all are ready: {}; {}",
        of_each.join(", "),
        rows.conditions()
    );
    let most = all.values().map(|written| written.most).max();
    let most = (f64::from(most.unwrap_or_default()), "");
    report.add("B13", "most writes of one object of any kind", most, &how);
    report.bar(Bar::Value(1.0));
    let sum = (f64::from(writes(alone)), "");
    report.add("B13", "writes in all", sum, &how);
}

/// Has the operator list everything anew.
async fn resync(report: &mut Report, alone: &Alone, rows: &Rows) -> Result<()> {
    let (store, pid) = (&alone.api.store, alone.pid()?);
    let (written, lists) = (writes(alone), store.lists(POLICIES));
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
    let written = (f64::from(writes(alone) - written), "");
    rows.add(report, "writes of any kind in a resync", written, Some(0.0));
    let spent = (cpu_micros(pid)? - spent) / 1e6;
    rows.add(report, "processor time of a resync", (spent, "s"), None);
    let resident = (Memory::of(pid)?.resident, "MiB");
    rows.add(report, "operator after it, resident", resident, Some(48.0));
    Ok(())
}

/// Kills it and starts it again, and says what that took of time and of processor time.
async fn restart(report: &mut Report, alone: &mut Alone, rows: &Rows) -> Result<Restarted> {
    let written = writes(alone);
    alone.kill();
    let began = Instant::now();
    alone.start()?;
    alone.steady().await?;
    let restarted = Restarted {
        seconds: began.elapsed().as_secs_f64(),
        spent: cpu_micros(alone.pid()?)? / 1e6,
    };
    let steady = (restarted.seconds, "s");
    rows.add(report, "restart to steady", steady, Some(15.0));
    sleep(SETTLE).await;
    let written = (f64::from(writes(alone) - written), "");
    rows.add(report, "writes of any kind after it", written, Some(0.0));
    Ok(restarted)
}

/// What a restart takes, in seconds.
struct Restarted {
    seconds: f64,
    spent: f64,
}

/// A controller of controller-runtime that watches the same and does nothing.
async fn beside(
    report: &mut Report,
    alone: &Alone,
    peers: &Peers,
    (rows, ours): (&Rows, Restarted),
) -> Result<()> {
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
    let spent = cpu_micros(running.pid())? / 1e6;
    let memory = Memory::of(running.pid())?;
    let resident = Memory::of(alone.pid()?)?.resident;
    rows.add(
        report,
        "operator, resident, once more",
        (resident, "MiB"),
        None,
    );
    report.beside(PEER, memory.resident);
    let steady = (ours.seconds, "s");
    rows.add(report, "restart to steady, once more", steady, None);
    report.beside(PEER, theirs);
    let metric = "processor time of a restart";
    rows.add(report, metric, (ours.spent, "s"), None);
    report.beside(PEER, spent);
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
/// It begins with its caches empty, as the operator does, and is done when they are read.
const PEER: &str = "controller-runtime, a no-op";
const LEASES: &str = "coordination.k8s.io/v1/leases";
