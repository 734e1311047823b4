//! After all that: nothing panicked.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{cluster::RELEASE, command::kubectl};
use serde_json::Value;

use crate::fixture::{LIFE, MINUTE, apps, current, lasts};

/// What a sidecar counts.
const PANICS: &str = "hallpass_sidecar_panics_total ";

/// The last test: what replicas and sidecars count, and what the replicas of before logged.
#[tokio::test]
async fn f22_no_panic_is_counted_nor_logged() -> Result<()> {
    let Some(apps) = apps("panics", 2, LIFE).await? else {
        return Ok(());
    };
    lasts(MINUTE).await;
    for replica in current().await? {
        let panics = replica.metric("hallpass_panics_total").await?;
        ensure!(panics == 0.0, "{} panicked {panics} times", replica.pod);
    }
    for name in &apps.names {
        let metrics = apps.shop.get(name, "app", "/metrics").await?.body;
        let line = metrics.lines().find(|line| line.starts_with(PANICS));
        let line = line.with_context(|| format!("no count of panics in:\n{metrics}"))?;
        ensure!(line.ends_with(" 0"), "{name}: {line}");
    }
    logs().await?;
    let (_, verdict) = apps.end("nothing was broken")?;
    verdict.all_served()
}

async fn logs() -> Result<()> {
    let args = ["get", "pods", "-n", RELEASE, "-o", "json"];
    let pods: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
    for pod in pods["items"].as_array().into_iter().flatten() {
        let name = pod["metadata"]["name"].as_str().context("a name")?;
        let logs = kubectl(&["logs", "-n", RELEASE, name]).await?.success()?;
        let mut lines = logs.lines();
        let panicked = lines.find(|line| line.contains("panic.location"));
        ensure!(panicked.is_none(), "{name}: {panicked:?}");
    }
    Ok(())
}
