//! No name can be looked up.

use anyhow::{Result, ensure};
use hallpass_e2e::command::kubectl;

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts};

#[tokio::test]
async fn f21_every_read_is_served_while_no_name_can_be_looked_up() -> Result<()> {
    let Some(apps) = apps("nonames", PODS, LIFE).await? else {
        return Ok(());
    };
    scale_dns("0").await?;
    lasts(2 * MINUTE).await;
    scale_dns("1").await?;
    current().await?;
    let (_, verdict) = apps.end("no name could be looked up")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 4 * PODS, "{verdict}");
    Ok(())
}

async fn scale_dns(replicas: &str) -> Result<()> {
    let (dns, of, count) = (
        "deployment/coredns",
        "kube-system",
        format!("--replicas={replicas}"),
    );
    kubectl(&["scale", dns, "-n", of, &count])
        .await?
        .success()?;
    let wait = ["rollout", "status", dns, "-n", of, "--timeout=120s"];
    kubectl(&wait).await?.success()?;
    Ok(())
}
