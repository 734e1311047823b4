//! A link that takes small packets only, and does not say so.

use anyhow::{Result, ensure};
use hallpass_e2e::{remark::remark, silence::Silence};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts};

#[tokio::test]
async fn f21_every_read_is_served_while_the_large_packets_of_a_replica_are_dropped() -> Result<()> {
    let Some(apps) = apps("large", PODS, LIFE).await? else {
        return Ok(());
    };
    for narrow in [0, 1] {
        let replicas = current().await?;
        let silence = Silence::of_large_packets(&replicas[narrow].address).await?;
        lasts(MINUTE).await;
        let dropped = silence.dropped().await?;
        remark(&format!(
            "{dropped} large packets of a replica were dropped"
        ));
        ensure!(dropped > 0, "nobody asked it anything");
        drop(silence);
    }
    current().await?;
    let (_, verdict) = apps.end("large packets of a replica were dropped")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 4 * PODS, "{verdict}");
    Ok(())
}
