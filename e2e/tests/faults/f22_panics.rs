//! After all that: nothing panicked.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    kept_logs::{all, panics},
    operator::Replica,
    remark::remark,
    state,
};

use crate::fixture::{LIFE, MINUTE, apps, current, lasts};

/// What a sidecar counts.
const PANICS: &str = "hallpass_sidecar_panics_total ";

/// The last test: what replicas and sidecars count, and what all of before logged.
#[tokio::test]
async fn f22_no_panic_is_counted_nor_logged() -> Result<()> {
    let Some(apps) = apps("panics", 2, LIFE).await? else {
        return Ok(());
    };
    lasts(MINUTE).await;
    let replicas = current().await?;
    for replica in &replicas {
        let panics = replica.metric("hallpass_panics_total").await?;
        ensure!(panics == 0.0, "{} panicked {panics} times", replica.pod);
    }
    for name in &apps.names {
        let metrics = apps.shop.get(name, "app", "/metrics").await?.body;
        let line = metrics.lines().find(|line| line.starts_with(PANICS));
        let line = line.with_context(|| format!("no count of panics in:\n{metrics}"))?;
        ensure!(line.ends_with(" 0"), "{name}: {line}");
    }
    logs(&replicas)?;
    let (_, verdict) = apps.end("nothing was broken")?;
    verdict.all_served()
}

/// Of all pods that ran since the first fault, those that are gone too.
fn logs(replicas: &[Replica]) -> Result<()> {
    let state = state::folder("the logs of all pods").context("another's cluster")?;
    let planted = Planted::in_a_log(&state)?;
    let found = panics(&all(&state)?)?;
    ensure!(
        found.iter().any(|line| line.contains(PLANTED)),
        "a panic is not seen"
    );
    drop(planted);
    let logs = all(&state)?;
    remark(&format!("{} logs are searched for a panic", logs.len()));
    for replica in replicas {
        let mut names = logs.iter().map(|log| log.to_string_lossy());
        let seen = names.any(|name| name.contains(&replica.pod));
        ensure!(seen, "{} has no log", replica.pod);
    }
    let found = panics(&logs)?;
    ensure!(found.is_empty(), "{found:#?}");
    Ok(())
}

/// The log of a pod that there is not, with a record of a panic, until this is dropped.
struct Planted {
    pod: PathBuf,
    kept: PathBuf,
}

impl Planted {
    fn in_a_log(state: &Path) -> Result<Self> {
        let pod = state.join("pod-logs").join(PLANTED);
        let planted = Self {
            pod: pod.clone(),
            kept: state.join("pod-logs-kept"),
        };
        std::fs::create_dir_all(pod.join("hallpass"))?;
        let line = r#"2026-01-01T00:00:00Z stderr F {"level":"ERROR","message":"panic","place":"src/x.rs:1:1"}"#;
        std::fs::write(pod.join("hallpass/0.log"), line)?;
        Ok(planted)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        // what is still there fails the test
        drop(std::fs::remove_dir_all(&self.pod));
        let kept = std::fs::read_dir(&self.kept).into_iter().flatten();
        for log in kept.flatten() {
            if log.file_name().to_string_lossy().starts_with(PLANTED) {
                drop(std::fs::remove_file(log.path()));
            }
        }
    }
}

const PLANTED: &str = "shop_planted_0";
