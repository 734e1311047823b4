//! Who takes all the connections of a replica, and has it hold as much as it will for each, does not take its memory.

use std::{
    io::ErrorKind, iter::repeat_n, net::Ipv4Addr, process::Stdio, sync::Arc, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    caller::Caller,
    cluster::{Cluster, RELEASE},
    command::{kubectl, run},
    operator::Replica,
    process::Process,
    remark::remark,
    state,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

type Stream = TlsStream<TcpStream>;

/// A replica takes 4096 connections, 512 of them from one address. A few are left for the sidecars and the kubelet.
const ADDRESSES: u8 = 8;
const EACH: usize = 500;

/// So many shake hands at a time: each has 5 s for it.
const AT_A_TIME: usize = 50;

/// Longer than any patience of the operator, on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn t39_who_takes_every_connection_does_not_take_the_memory_of_a_replica() -> Result<()> {
    if state::folder("callers from many addresses").is_none() {
        return Ok(());
    }
    let caller = Caller::inside(Cluster::alone("crowd").await?).await?;
    let process = Process::of(&caller.replica).await?;
    let limit = limit(&caller.replica).await?;
    let addresses = Addresses::new().await?;
    let api = Arc::new(caller.replica.api().await?);
    let first = process.peak()?;
    let connected = connected(&api).await?;
    let idle = process.peak()?;
    let held = connected.iter().filter(|stream| is_held(stream)).count();
    ensure!(held == connected.len(), "the replica holds {held}");
    worst(connected).await?;
    ensure!(process.runs(), "it ended");
    let peak = process.peak()?;
    remark(&format!(
        "a replica's memory: {} MiB at first, {} with all its connections, {} at their worst; it may have {}",
        first >> 20,
        idle >> 20,
        peak >> 20,
        limit >> 20
    ));
    ensure!(peak < limit / 4 * 3, "{peak} of {limit} bytes");
    drop(addresses);
    let answer = caller.api.assignments(&caller.identity).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// What the container may take, in bytes.
async fn limit(replica: &Replica) -> Result<u64> {
    let path = "jsonpath={.spec.containers[0].resources.limits.memory}";
    let args = ["get", "pod", &replica.pod, "-n", RELEASE, "-o", path];
    let limit = kubectl(&args).await?.success()?;
    let mib = limit.strip_suffix("Mi").context("a limit in MiB")?;
    Ok(mib.parse::<u64>()? << 20)
}

/// Connections that have asked for something and were answered: they are kept for a while.
async fn connected(api: &Arc<OperatorApi>) -> Result<Vec<Stream>> {
    let mut connected = Vec::new();
    let mut connecting = JoinSet::new();
    let all = (0..ADDRESSES).flat_map(|last| repeat_n(last, EACH));
    for last in all {
        let api = Arc::clone(api);
        connecting.spawn(async move {
            let from = Ipv4Addr::new(198, 18, 64, last + 1);
            let mut stream = api.over(api.dial_from(from).await?).await?;
            stream.write_all(REQUEST).await?;
            let mut answer = [0; 4096];
            let length = stream.read(&mut answer).await?;
            ensure!(answer[..length].starts_with(b"HTTP/1.1 200 "), "no answer");
            Ok(stream)
        });
        if connecting.len() == AT_A_TIME {
            connected.extend(connecting.join_next().await.transpose()?.transpose()?);
        }
    }
    for stream in connecting.join_all().await {
        connected.push(stream?);
    }
    Ok(connected)
}

/// Nothing came of the replica, not the end either: it keeps one that asks nothing for longer than it takes to open all.
fn is_held(stream: &Stream) -> bool {
    let came = stream.get_ref().0.try_read(&mut [0]);
    came.is_err_and(|nothing| nothing.kind() == ErrorKind::WouldBlock)
}

/// Has each of them take as much as it is given, until the operator ends them all.
async fn worst(connected: Vec<Stream>) -> Result<()> {
    let mut callers = JoinSet::new();
    for (number, stream) in connected.into_iter().enumerate() {
        callers.spawn(timeout(BOUND, async move {
            match number % 8 {
                0 => large(stream).await,
                1..4 => slow_head(stream).await,
                _ => deaf(stream).await,
            }
        }));
    }
    for caller in callers.join_all().await {
        caller.context("a caller is kept")?;
    }
    Ok(())
}

/// Sends nearly all of the largest head, and no more.
async fn slow_head(mut stream: Stream) {
    let mut head = b"GET / HTTP/1.1\r\nHost: hallpass\r\nX-Large: ".to_vec();
    head.resize(16_000, b'x');
    // that it is cut off is what is waited for
    drop(stream.write_all(&head).await);
    drop(stream.read_to_end(&mut Vec::new()).await);
}

/// Sends what would be the largest review, if it took all of it.
async fn large(mut stream: Stream) {
    let size = 8 << 20;
    let head = format!(
        "POST /inject/pod HTTP/1.1\r\nHost: hallpass\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    );
    let part = vec![b' '; 16 * 1024];
    let mut sent = stream.write_all(head.as_bytes()).await;
    for _ in 1..size / part.len() {
        if sent.is_err() {
            return;
        }
        sent = stream.write_all(&part).await;
    }
    drop(stream.read_to_end(&mut Vec::new()).await);
}

/// Asks on and on and takes no answer.
async fn deaf(mut stream: Stream) {
    let requests = REQUEST.repeat(20);
    while stream.write_all(&requests).await.is_ok() {}
}

/// Addresses that this machine has for as long: 198.18.64.0/24.
struct Addresses;

impl Addresses {
    async fn new() -> Result<Self> {
        run("ip", &[&["route", "replace"], ROUTE].concat(), None)
            .await?
            .success()?;
        Ok(Self)
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        let gone = std::process::Command::new("ip")
            .args([&["route", "delete"], ROUTE].concat())
            .stderr(Stdio::null())
            .status();
        if !gone.is_ok_and(|status| status.success()) {
            remark("198.18.64.0/24 stays this machine's");
        }
    }
}

const ROUTE: &[&str] = &["local", "198.18.64.0/24", "dev", "lo"];

const REQUEST: &[u8] = b"GET /v1/trust HTTP/1.1\r\nHost: hallpass\r\n\r\n";
