//! Where the API server puts the operator's requests: it has a place of its own for them, and one for its elections.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    command::kubectl,
    wait::{not_yet, until},
};

/// Each watch of the operator ends within that, and is asked for anew; its leases are written more often.
const SECONDS: Duration = Duration::from_secs(30);

/// The FlowSchema, and the priority level that it leads to.
const FLOWS: [(&str, &str); 2] = [
    ("hallpass", "hallpass"),
    ("hallpass-leases", "leader-election"),
];

#[tokio::test]
async fn the_api_server_takes_the_operators_requests_where_the_chart_says() -> Result<()> {
    let _cluster = Cluster::shared("flows").await?;
    for (schema, level) in FLOWS {
        let before = dispatched(schema, level).await?;
        until(SECONDS, "requests of the operator", || async {
            let now = dispatched(schema, level).await?;
            ensure!(now > before, not_yet(now));
            Ok(())
        })
        .await
        .with_context(|| format!("{schema}, {level}"))?;
    }
    Ok(())
}

/// How many requests went that way; none did where there is no such series yet.
async fn dispatched(schema: &str, level: &str) -> Result<f64> {
    let metrics = kubectl(&["get", "--raw", "/metrics"]).await?.success()?;
    let series = format!("{DISPATCHED}{{flow_schema=\"{schema}\",priority_level=\"{level}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    Ok(value.unwrap_or("0").parse()?)
}

const DISPATCHED: &str = "apiserver_flowcontrol_dispatched_requests_total";
