//! Answers of the API server that arrive late, as of one that is short of everything. Only a cluster of our own has
//! a network that may be bent.

use std::{
    net::TcpListener,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    command::{kubectl, run},
    remark::remark,
};

/// Whatever those pods are answered arrives late, for as long as this lives.
#[derive(Debug)]
pub struct Late {
    rules: Vec<Rule>,
    /// The program between them ends with it, and its connections.
    _stop: oneshot::Sender<()>,
}

/// A rule for iptables: its table, and its arguments from the chain on.
type Rule = (&'static str, Vec<String>);

impl Late {
    /// Has all that the pods of these addresses are answered by the API server arrive so much later, except for its
    /// part of a TLS handshake: a slow one answers that at once. What they are connected by at that moment ends.
    ///
    /// # Errors
    /// iptables refused.
    pub async fn towards_api_server(pods: &[&str], by: Duration) -> Result<Self> {
        let listener = TcpListener::bind("0.0.0.0:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port().to_string();
        let (stop, stopped) = oneshot::channel();
        // of its own: nothing a test does makes it slower still
        let thread = std::thread::Builder::new().name("late".to_owned());
        thread.spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build()?;
            runtime.block_on(relay_all(listener, by, stopped))
        })?;
        let mut late = Self {
            rules: Vec::new(),
            _stop: stop,
        };
        let path = "jsonpath={.spec.clusterIP}";
        let get = ["get", "service", "kubernetes", "-n", "default", "-o", path];
        let service = kubectl(&get).await?.success()?;
        for pod in pods {
            let through = ["PREROUTING", "-s", pod, "-d", &service, "-p", "tcp"];
            let through = [&through[..], &["-j", "REDIRECT", "--to-ports", &port]].concat();
            late.add("nat", &through).await?;
        }
        for pod in pods {
            let past = ["INPUT", "-s", pod, "-p", "tcp", "--dport", API_PORT];
            let past = [&past[..], &["-j", "REJECT", "--reject-with", "tcp-reset"]].concat();
            late.add("filter", &past).await?;
        }
        Ok(late)
    }

    async fn add(&mut self, table: &'static str, rule: &[&str]) -> Result<()> {
        // before the rules of kube-proxy, which know the Service's address too
        let insert = [&["-w", "-t", table, "-I"][..], rule].concat();
        run("iptables", &insert, None).await?.success()?;
        let rule = rule.iter().map(|&part| part.to_owned()).collect();
        self.rules.push((table, rule));
        Ok(())
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        for (table, rule) in &self.rules {
            let mut delete = Command::new("iptables");
            let deleted = delete.args(["-w", "-t", table, "-D"]).args(rule).status();
            if !deleted.is_ok_and(|status| status.success()) {
                remark(&format!("packets are led astray for ever: {rule:?}"));
            }
        }
    }
}

async fn relay_all(
    listener: TcpListener,
    by: Duration,
    mut stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut open = JoinSet::new();
    loop {
        let (pod, _) = tokio::select! {
            _ = &mut stopped => return Ok(()),
            accepted = listener.accept() => accepted?,
        };
        open.spawn(relay(pod, by));
        while open.try_join_next().is_some() {}
    }
}

/// Until one of the two ends it.
async fn relay(pod: TcpStream, by: Duration) -> Result<()> {
    let api_server = TcpStream::connect(format!("127.0.0.1:{API_PORT}")).await?;
    let (from_pod, to_pod) = pod.into_split();
    let (from_api_server, to_api_server) = api_server.into_split();
    let greeted = AtomicBool::new(false);
    let (late, in_time) = mpsc::unbounded_channel();
    tokio::select! {
        asked = requests(from_pod, to_api_server, &greeted) => asked,
        // this one ends when what it has still to pass on is passed on
        ((), answered) = async {
            tokio::join!(answers(from_api_server, late, by, &greeted), pass_on(in_time, to_pod))
        } => answered,
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    greeted: &AtomicBool,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let (mut hello, mut sent) = (None, 0);
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        sent += length;
        // the first record is the client's hello: what follows it was sent after the answer to it
        let hello = *hello.get_or_insert_with(|| {
            HEADER + usize::from(u16::from_be_bytes([buffer[3], buffer[4]]))
        });
        greeted.fetch_or(sent > hello, Ordering::SeqCst);
        let part = buffer.get(..length).context("what was read")?;
        to.write_all(part).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    to: mpsc::UnboundedSender<(Instant, Vec<u8>)>,
    by: Duration,
    greeted: &AtomicBool,
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let late = if greeted.load(Ordering::SeqCst) {
            by
        } else {
            Duration::ZERO
        };
        let part = buffer.iter().take(length).copied().collect();
        if to.send((Instant::now() + late, part)).is_err() {
            return;
        }
    }
}

async fn pass_on(
    mut from: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
) -> Result<()> {
    while let Some((at, part)) = from.recv().await {
        sleep_until(at).await;
        to.write_all(&part).await?;
    }
    Ok(())
}

const API_PORT: &str = "6443";
const BUFFER: usize = 64 * 1024;
/// Of a TLS record: what it is, its version, and how long the rest is.
const HEADER: usize = 5;
