//! The wall clock of one process is ten minutes off, and is set while it runs.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{apps::Apps, clock::WallClock, wait::until};

use crate::fixture::{MINUTE, apps, moment, replaced};

/// In seconds.
const OFF: i64 = 600;

#[tokio::test]
async fn f06_every_read_is_served_while_the_clock_of_a_sidecar_is_set() -> Result<()> {
    let Some(apps) = apps("clockset", 2, "30s").await? else {
        return Ok(());
    };
    let wall = WallClock::of(apps.pods[0].sidecar()?).await?;
    told(&apps, 0, 0).await?;
    for (jumps, ahead) in (1..).zip([OFF, -OFF, 0]) {
        let since = moment();
        wall.set(ahead)?;
        until(MINUTE, "it tells", || told(&apps, ahead, jumps)).await?;
        // asked for with that clock
        replaced(&apps, since).await?;
        told(&apps, ahead, jumps).await?;
    }
    let (_, verdict) = apps.end("the clock of a sidecar was set")?;
    verdict.all_served()
}

/// The first pod's sidecar knows how far its clock is ahead, and how often it was set.
async fn told(apps: &Apps, ahead: i64, jumps: u32) -> Result<()> {
    let page = apps.shop.get(&apps.names[0], "app", "/metrics").await?.body;
    let value = |name: &str| -> Result<f64> {
        let name = format!("hallpass_sidecar_clock_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&name));
        Ok(value.with_context(|| format!("no {name}"))?.parse()?)
    };
    let (skew, within) = (value("skew_seconds")?, value("skew_uncertainty_seconds")?);
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    let off = (skew - ahead as f64).abs();
    ensure!(off <= within + 0.1, "{skew} ± {within} is not {ahead}");
    let told = value("jumps_total")?;
    ensure!((told - f64::from(jumps)).abs() < 0.5, "{told} jumps");
    Ok(())
}
