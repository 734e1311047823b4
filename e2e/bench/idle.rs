//! B11: what a sidecar costs that has nothing to do but to hold ten tokens, alone and in a crowd.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use crate::{
    alone::Alone,
    crowd::{Crowd, Roots, Served},
    kernel::{Activity, Memory},
    peers::Peers,
    report::{Bar, Report},
    scale::Scale,
    stats::Sample,
};

/// What a sidecar costs, in the mean of a crowd.
#[derive(Debug)]
struct Cost {
    memory: Memory,
    wakes: f64,
    day: f64,
    served: Served,
}

/// Measures the sidecar, and leaves its crowd running.
pub(crate) async fn measure(
    report: &mut Report,
    alone: &Alone,
    (roots, sidecar): (&Roots, &Path),
    (scale, peers): (&Scale, &Peers),
) -> Result<Crowd> {
    single(report, roots).await?;
    let mut crowd = None;
    for count in sizes(scale) {
        drop(crowd.take());
        let theirs = match &peers.sidecar {
            Some(peer) => Some(cost(&Roots::make(alone, peer, count)?, count).await?.1),
            None => None,
        };
        roots.wipe()?;
        let (running, ours) = cost(roots, count).await?;
        tell(report, count, &ours, theirs.as_ref());
        crowd = Some(running);
    }
    let size = (megabytes(sidecar)?, "MB");
    report.add(
        "B11",
        "the program",
        size,
        "the file, without debug symbols",
    );
    if let Some(peer) = &peers.sidecar {
        report.beside(PEER, megabytes(peer)?);
    }
    spire(report, peers).await?;
    crowd.context("there is a size at least")
}

/// How many run at once: one, a hundred, and what the scale says if that is more.
fn sizes(scale: &Scale) -> impl Iterator<Item = usize> {
    let most = Some(scale.sidecars).filter(|most| *most > HUNDRED);
    [1, HUNDRED].into_iter().chain(most)
}

/// Five, one after the other: how long until the first token of each. Each is another pod, which has had none yet:
/// two come at once, and then one in ten seconds.
async fn single(report: &mut Report, roots: &Roots) -> Result<()> {
    let mut millis = Vec::new();
    for number in 0..5 {
        let crowd = roots.start(number..number + 1)?;
        let served = roots.served(&crowd).await?;
        millis.push(served.first.as_secs_f64() * 1e3);
    }
    let median = (Sample::new(millis).median(), "ms");
    let conditions = "one sidecar, the median of five one after the other, from its start by another process on; nothing in its cache";
    report.add("B11", "start to first token", median, conditions);
    roots.wipe()
}

async fn cost(roots: &Roots, count: usize) -> Result<(Crowd, Cost)> {
    let crowd = roots.start(0..count)?;
    let served = roots.served(&crowd).await?;
    sleep(SETTLE).await;
    let (began, before) = (Instant::now(), Activity::of(crowd.pids())?);
    sleep(WINDOW).await;
    let done = Activity::of(crowd.pids())?.since(&before);
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let seconds = began.elapsed().as_secs_f64() * count as f64;
    let cost = Cost {
        memory: Memory::mean(crowd.pids())?,
        wakes: done.sleeps / seconds,
        day: done.busy_micros / 1e6 / seconds * 86400.0,
        served,
    };
    Ok((crowd, cost))
}

fn tell(report: &mut Report, count: usize, ours: &Cost, theirs: Option<&Cost>) {
    let who = match count {
        1 => "one sidecar".to_owned(),
        _ => format!("{count} sidecars"),
    };
    let mut row = |metric: &str, unit: &str, of: fn(&Cost) -> f64, bar: Option<f64>| {
        let metric = format!("{metric}, {who}");
        report.add("B11", &metric, (of(ours), unit), CONDITIONS);
        if let Some(theirs) = theirs {
            report.beside(PEER, of(theirs));
        }
        if let Some(bar) = bar {
            report.bar(Bar::Value(bar));
        }
    };
    row("resident", "MiB", |cost| cost.memory.resident, Some(4.0));
    row(
        "proportional",
        "MiB",
        |cost| cost.memory.proportional,
        // what is shared is divided among as many as there are
        (count >= HUNDRED).then_some(0.6),
    );
    row("anonymous", "MiB", |cost| cost.memory.anonymous, None);
    row("wake-ups when idle", "1/s", |cost| cost.wakes, Some(0.2));
    row("processor time a day, idle", "s", |cost| cost.day, None);
    row(
        "start of all to last token",
        "s",
        |cost| cost.served.last.as_secs_f64(),
        None,
    );
}

/// An agent of SPIRE that waits for its server: there is one on a node and not one beside a pod, so that this is
/// its floor and no more.
async fn spire(report: &mut Report, peers: &Peers) -> Result<()> {
    let Some(agent) = &peers.spire else {
        return Ok(());
    };
    let running = peers.run_spire(agent)?;
    sleep(SETTLE).await;
    let memory = Memory::of(running.pid())?;
    let conditions = "started, without a server that answers: its least. Left out: its wake-ups, processor time and tokens, since \
         SPIRE's server needs cgo and is not built here";
    report.add(
        "B11",
        "spire-agent, resident",
        (memory.resident, "MiB"),
        conditions,
    );
    let size = (megabytes(agent)?, "MB");
    report.add(
        "B11",
        "spire-agent, the program",
        size,
        "built without symbols",
    );
    Ok(())
}

fn megabytes(program: &Path) -> Result<f64> {
    let size = fs::metadata(program).with_context(|| format!("look at {}", program.display()))?;
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let size = size.len() as f64 / 1e6;
    Ok(size)
}

const HUNDRED: usize = 100;
/// Until a connection is closed and what was needed for it is given back: a thread that looked a name up ends 10 s later.
const SETTLE: Duration = Duration::from_secs(12);
/// In which each asks for its assignments about once.
const WINDOW: Duration = Duration::from_secs(33);
const CONDITIONS: &str = "the shipped program as real processes, ten tokens of 1 h each by the operator, the mean of all; idle: 33 s, \
     in which each polls about once, and no renewal; no cluster, the API server is a stand-in. Left out: more than ten tokens, and readers of them";
const PEER: &str = "the same in Go, net/http";
