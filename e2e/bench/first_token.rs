//! From the start of the sidecar's process to the first token on its socket.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    local::LocalPod,
    manifest::pod,
    wait::{not_yet, now, until},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{report::Report, stats::Sample};

const PODS: usize = 20;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let cluster = Cluster::shared("first").await?;
    cluster.orders().await?;
    let mut millis = Vec::new();
    for i in 0..PODS {
        let name = format!("orders-{i}");
        cluster
            .apply(&pod(&name).injected().under("orders").to_string())
            .await?;
        let local = LocalPod::find(&cluster, &name).await?;
        let answered = first_answer(&local.socket()).await?;
        let started = stamp(&cluster, &name).await?;
        millis.push(answered.duration_since(started).as_secs_f64() * 1e3);
        cluster
            .kubectl(&["delete", "pod", &name, "--wait=false"])
            .await?
            .success()?;
    }
    let sample = Sample::new(millis);
    let conditions = "from the process's own first stamp to the first 200 on its socket, 20 pods one after the other, operator up";
    report.add(
        "start",
        "first token p50",
        (sample.median(), "ms"),
        conditions,
    );
    report.add(
        "start",
        "first token p95",
        (sample.quantile(0.95), "ms"),
        conditions,
    );
    Ok(())
}

/// When the socket first answered a read of the token: the read waits there for it.
async fn first_answer(socket: &Path) -> Result<Timestamp> {
    let start = std::time::Instant::now();
    loop {
        match ask(socket).await {
            Ok(true) => return Ok(now()),
            outcome if start.elapsed() > Duration::from_secs(60) => {
                outcome.context("the socket did not answer within a minute")?;
                return Err(not_yet("no token within a minute"));
            }
            Ok(false) | Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn ask(socket: &Path) -> Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream
        .write_all(b"GET /v1/tokens/vault HTTP/1.0\r\n\r\n")
        .await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(&head == b"HTTP/1.1 200" || &head == b"HTTP/1.0 200")
}

/// The stamp of the first line that the sidecar logs.
async fn stamp(cluster: &Cluster, pod: &str) -> Result<Timestamp> {
    until(Duration::from_secs(10), "the sidecar's log", || async {
        let log = cluster
            .kubectl(&["logs", pod, "-c", "hallpass"])
            .await?
            .success()?;
        let first: Value = serde_json::from_str(log.lines().next().context("an empty log")?)?;
        let stamp = first["timestamp"]
            .as_str()
            .context("a line without a stamp")?;
        Ok(stamp.parse()?)
    })
    .await
}
