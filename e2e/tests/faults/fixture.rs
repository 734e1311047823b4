//! What the faults have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Result, ensure};
use hallpass_e2e::{
    apps::{Apps, SHORT},
    cluster::Cluster,
    kept_logs,
    local::LocalPod,
    operator::{Replica, replicas, whole},
    process::Process,
    reads::Outcome,
    state,
    wait::{not_yet, now, until},
};
use jiff::Timestamp;
use tokio::time::Instant;

/// So many pods that some of their tokens are replaced within each fault.
pub(crate) const PODS: usize = 6;

/// A token that is replaced after half a minute, and has 12 s left at least when that begins.
pub(crate) const LIFE: &str = "1m";

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// That many pods with applications; [`None`], with a remark, on a cluster that nothing may be done to.
pub(crate) async fn apps(fault: &str, count: usize, life: &str) -> Result<Option<Apps>> {
    if state::folder(fault).is_none() {
        return Ok(None);
    }
    kept_logs::keep();
    current().await?;
    let shop = Cluster::alone(fault).await?;
    current().await?;
    Ok(Some(Apps::start(shop, count, life).await?))
}

/// Waits until there are two replicas, and what both know is current.
pub(crate) async fn current() -> Result<[Replica; 2]> {
    hallpass_e2e::cluster::install().await?;
    whole().await?;
    until(MINUTE, "both replicas are current", || async {
        let found = replicas().await?;
        let [one, other] = <[Replica; 2]>::try_from(found).map_err(not_yet)?;
        for replica in [&one, &other] {
            let age = replica.metric("hallpass_state_age_seconds").await?;
            ensure!(age < 8.0, "{} knows what is {age} s old", replica.pod);
        }
        Ok([one, other])
    })
    .await
}

/// Waits until each application was served by a read that began after `since`; how long after that was.
pub(crate) async fn served_again(apps: &Apps, since: Timestamp) -> Result<Duration> {
    let sources = apps.names.len() * 2;
    until(2 * MINUTE, "each application is served again", || async {
        let mut first = BTreeMap::new();
        for read in apps.so_far() {
            let served = matches!(read.outcome, Outcome::Served { .. });
            if served && read.begun >= since {
                let end = first.entry(read.source).or_insert(read.begun);
                *end = (*end).min(read.begun);
            }
        }
        if first.len() < sources {
            return Err(not_yet(first));
        }
        let last = first.into_values().max().unwrap_or(since);
        Ok(Duration::try_from(last.duration_since(since))?)
    })
    .await
}

/// Waits until each application's short token is none of those that were served before `since`; how long after that
/// was.
pub(crate) async fn replaced(apps: &Apps, since: Timestamp) -> Result<Duration> {
    until(5 * MINUTE, "each application has another token", || async {
        let (mut old, mut first) = (BTreeSet::new(), BTreeMap::new());
        for read in apps.so_far() {
            let Outcome::Served { digest, .. } = read.outcome else {
                continue;
            };
            if read.begun < since {
                old.insert(digest);
            } else if read.source.ends_with(SHORT) && !old.contains(&digest) {
                first.entry(read.source).or_insert(read.begun);
            }
        }
        if first.len() < apps.names.len() {
            return Err(not_yet(first));
        }
        let last = first.into_values().max().unwrap_or(since);
        Ok(Duration::try_from(last.duration_since(since))?)
    })
    .await
}

/// The process that the kubelet starts of a pod's sidecar after that one.
pub(crate) async fn started_again(pod: &LocalPod, old: Process) -> Result<Process> {
    let since = Instant::now();
    loop {
        match pod.sidecar() {
            Ok(new) if new != old => return Ok(new),
            _ => ensure!(since.elapsed() < 2 * MINUTE, "it is not started again"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets a fault last that long.
pub(crate) async fn lasts(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The moment from which on something is looked at.
pub(crate) fn moment() -> Timestamp {
    now()
}
