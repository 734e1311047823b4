//! Helm 3 and Helm 4 make the same of the chart.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{RELEASE, checkout},
    command::run,
    state,
};

/// All that is off by default, but what excludes it.
const EVERYTHING: &str = "injection.engine=Webhook,injection.byPolicy=true,networkPolicy.enabled=true,\
    priorityClassName=system-cluster-critical,prometheus.podMonitor.enabled=true,\
    prometheus.prometheusRule.enabled=true,prometheus.grafanaDashboard.enabled=true";

#[tokio::test]
async fn helm_3_and_4_render_the_same_objects() -> Result<()> {
    if state::folder("what Helm 3 renders").is_none() {
        return Ok(());
    }
    let available = checkout().join("charts/hallpass/values-ha.yaml");
    let available = available.to_str().context("a path in UTF-8")?;
    let monitors = "--api-versions=monitoring.coreos.com/v1";
    for args in [
        &["template", "hallpass"][..],
        &["template", "hallpass", "-f", available],
        &["template", "hallpass", "--set", EVERYTHING, monitors],
    ] {
        let three = objects("helm3", args).await?;
        let four = objects("helm", args).await?;
        ensure!(three.len() > 50, "{args:?}: {} objects", three.len());
        let only: Vec<_> = three.symmetric_difference(&four).collect();
        ensure!(only.is_empty(), "{args:?}: {only:#?}");
    }
    Ok(())
}

/// What is rendered, object by object: Helm 4 puts some in another place, and an empty line before each.
async fn objects(helm: &str, args: &[&str]) -> Result<BTreeSet<String>> {
    let rendered = helm_of(helm, args).await?;
    let objects = rendered
        .split("---\n")
        .map(|object| object.trim().to_owned());
    Ok(objects.filter(|object| !object.is_empty()).collect())
}

/// `HELM COMMAND… -n NAMESPACE`, of the chart.
async fn helm_of(helm: &str, args: &[&str]) -> Result<String> {
    let chart = checkout().join("charts/hallpass");
    let chart = [chart.to_str().context("a path in UTF-8")?];
    let (command, rest) = args.split_at(2);
    let args = [command, &chart, rest, &["-n", RELEASE]].concat();
    let said = run(helm, &args, None).await?;
    said.success().with_context(|| format!("{helm} {args:?}"))
}
