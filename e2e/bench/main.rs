//! Side-by-side runs on the same work: Hallpass beside what a pod does without it. Prints a table
//! and writes `target/bench/results.json`. Runs on the cluster's node, in its network.

mod bare;
mod first_token;
mod footprint;
mod injection;
mod introspection;
mod issuance;
mod load;
mod operator;
mod peer;
mod place;
mod pod;
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
mod stats;
mod verification;
mod world;

use std::path::Path;

use anyhow::{Result, bail};
use tikv_jemallocator::Jemalloc;

use crate::{report::Report, scale::Scale, side::Side};

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
        ["alone"] => spread::measure(&mut report),
        // the chart is not installed yet
        ["before"] => injection::without_chart(&mut report).await?,
        ["after"] => {
            injection::with_chart(&mut report).await?;
            first_token::measure(&mut report).await?;
            resident::measure(&mut report).await?;
            read::measure(&mut report).await?;
            revoked::measure(&mut report).await?;
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
        ["check", way, count] => return verification::check(way, count.parse()?),
        _ => bail!(
            "usage: hallpass-bench alone | before | after | load usual|whole [PEER] | verify | print (e2e/bench/run calls them)"
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
