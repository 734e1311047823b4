//! Side-by-side runs on the same work: Hallpass beside what a pod does without it. Prints a table
//! and writes `target/bench/results.json`. Runs on the cluster's node, in its network.

mod first_token;
mod injection;
mod pod;
mod read;
mod report;
mod resident;
mod stats;

use anyhow::{Result, bail};

use crate::report::Report;

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::load()?;
    match std::env::args().nth(1).as_deref() {
        // the chart is not installed yet
        Some("before") => injection::without_chart(&mut report).await?,
        Some("after") => {
            injection::with_chart(&mut report).await?;
            first_token::measure(&mut report).await?;
            resident::measure(&mut report).await?;
            read::measure(&mut report).await?;
            report.print();
        }
        _ => bail!("usage: hallpass-bench before|after (e2e/bench/run calls both)"),
    }
    report.save()
}
