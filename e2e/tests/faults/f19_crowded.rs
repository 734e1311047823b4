//! A sidecar that may have little memory, and many clients.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::Cluster, local::LocalPod, manifest::pod, memory::Memory, process::Process,
    remark::remark, state,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::Barrier,
    task::JoinSet,
    time::timeout,
};

use crate::fixture::current;

/// In bytes.
const LIMIT: u64 = 8 << 20;

/// Ten thousand clients, so many at a time: a sidecar serves 256 at once.
const CROWDS: usize = 40;
const CROWD: usize = 250;

const REQUEST: &[u8] =
    b"GET /v1/tokens/vault HTTP/1.1\r\nhost: hallpass\r\naccept: text/plain\r\n\r\n";

#[tokio::test]
async fn f19_ten_thousand_clients_end_no_sidecar_that_has_8_mib() -> Result<()> {
    if state::folder("a crowded sidecar").is_none() {
        return Ok(());
    }
    current().await?;
    let shop = Cluster::alone("crowded").await?;
    shop.orders().await?;
    let small = ["request", "limit"].iter().fold(pod("orders"), |pod, of| {
        pod.annotation(&format!("hallpass.dev/memory-{of}"), "8Mi")
    });
    shop.start(&small.injected().under("orders")).await?;
    let pod = LocalPod::find(&shop, "orders").await?;
    let sidecar = pod.sidecar()?;
    let limit = Memory::of(sidecar)?.limit()?;
    ensure!(limit == LIMIT, "the limit is {limit}");
    for _ in 0..CROWDS {
        crowd(&pod.socket()).await?;
    }
    ensure!(sidecar.runs(), "it ended");
    let resident = resident(&sidecar)?;
    remark(&format!("10,000 clients: at most{resident} resident"));
    Ok(())
}

/// Clients that are all answered before the first of them leaves.
async fn crowd(socket: &Path) -> Result<()> {
    let all = Arc::new(Barrier::new(CROWD));
    let mut clients = JoinSet::new();
    for _ in 0..CROWD {
        let (all, socket) = (Arc::clone(&all), socket.to_owned());
        clients.spawn(timeout(Duration::from_secs(30), async move {
            let mut stream = UnixStream::connect(socket).await?;
            stream.write_all(REQUEST).await?;
            let mut answer = vec![0; 4096];
            let length = stream.read(&mut answer).await?;
            let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
            all.wait().await;
            ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            anyhow::Ok(())
        }));
    }
    for client in clients.join_all().await {
        client.context("it was not answered")??;
    }
    Ok(())
}

/// The most that was resident of it so far, in the kernel's words.
fn resident(process: &Process) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0))?;
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(peak.context("a process has memory")?.replace('\t', ""))
}
