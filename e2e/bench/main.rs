//! Side-by-side runs on the same work: Hallpass beside what a pod does without it. Prints a table
//! and writes `target/bench/results.json`. Runs on the cluster's node, in its network.

mod admission;
mod alone;
mod bare;
mod by_policy;
mod connected;
mod creation;
mod crowd;
mod first_token;
mod footprint;
mod idle;
mod inject;
mod injection;
mod introspection;
mod issuance;
mod kernel;
mod load;
mod many;
mod operator;
mod peer;
mod peers;
mod place;
mod pod;
mod poll;
mod process;
mod read;
mod report;
mod request;
mod resident;
mod revoked;
mod rounds;
mod scale;
mod share;
mod side;
mod spread;
mod standin;
mod stats;
mod storm;
mod verification;
mod world;

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::crypto::aws_lc_rs;
use tikv_jemallocator::Jemalloc;

use crate::{
    alone::{Alone, Population},
    crowd::Roots,
    peers::Peers,
    report::Report,
    scale::Scale,
    side::Side,
};

/// The operator's, since its way of serving is measured here too.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut report = Report::load()?;
    match args[..] {
        // no cluster is there yet
        ["alone", scale, operator, sidecar] => {
            let programs = (Path::new(operator), Path::new(sidecar));
            alone(&mut report, scale, programs, None).await?;
        }
        ["alone", scale, operator, sidecar, peers] => {
            let programs = (Path::new(operator), Path::new(sidecar));
            alone(&mut report, scale, programs, Some(Path::new(peers))).await?;
        }
        // the chart is not installed yet
        ["before"] => injection::without_chart(&mut report).await?,
        ["after"] => {
            injection::with_chart(&mut report).await?;
            first_token::measure(&mut report).await?;
            resident::measure(&mut report).await?;
            read::measure(&mut report).await?;
            revoked::measure(&mut report).await?;
            admission::measure(&mut report).await?;
        }
        ["load", scale] => load(&mut report, scale, None).await?,
        ["load", scale, peer] => load(&mut report, scale, Some(Path::new(peer))).await?,
        ["verify"] => verification::measure(&mut report)?,
        ["print"] => {
            report.print();
            return report.judge();
        }
        // what is run beside the above
        ["bare", folder] => return bare::serve(Path::new(folder)).await,
        ["crowd", folder, from, to, operator] => {
            return crowd::start(Path::new(folder), from.parse()?..to.parse()?, operator);
        }
        ["check", way, count] => return verification::check(way, count.parse()?),
        _ => bail!(
            "usage: hallpass-bench alone usual|whole OPERATOR SIDECAR [PEERS] | before | after | load usual|whole [PEER] | verify | print (e2e/bench/run calls them)"
        ),
    }
    report.save()
}

async fn load(report: &mut Report, scale: &str, peer: Option<&Path>) -> Result<()> {
    let scale = Scale::named(scale)?;
    let side = Side::make(peer, &scale).await?;
    issuance::measure(report, &side, &scale)?;
    report.save()?;
    introspection::measure(report, &side)
}

/// What needs no cluster: the operator and sidecars as processes.
async fn alone(
    report: &mut Report,
    scale: &str,
    (operator, sidecar): (&Path, &Path),
    peers: Option<&Path>,
) -> Result<()> {
    let (scale, peers) = (Scale::named(scale)?, Peers::find(peers));
    raise_limit()?;
    if aws_lc_rs::default_provider().install_default().is_err() {
        // it was installed already, and there is only this one
    }
    spread::measure(report);
    inject::measure(report)?;
    sidecars(report, (operator, sidecar), (&scale, &peers)).await?;
    report.save()?;
    many::measure(report, operator, (&scale, &peers)).await
}

async fn sidecars(
    report: &mut Report,
    (operator, sidecar): (&Path, &Path),
    (scale, peers): (&Scale, &Peers),
) -> Result<()> {
    let population = Population {
        policies: 10,
        pods: scale.sidecars,
    };
    let mut alone = Alone::make(operator, population).await?;
    alone.start()?;
    alone.all_ready(Duration::from_secs(60)).await?;
    alone.steady().await?;
    let roots = Roots::make(&alone, sidecar, scale.sidecars)?;
    let crowd = idle::measure(report, &alone, (&roots, sidecar), (scale, peers)).await?;
    storm::measure(report, &alone, (&roots, crowd), scale).await
}

/// Has this process and those that it starts open as many files as they may.
fn raise_limit() -> Result<()> {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    Ok(setrlimit(Resource::Nofile, files)?)
}
