//! Sidecars that ask for their assignments: each on a connection of its own, as they do, however late the answers
//! come.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::TlsConnector;

use crate::{
    alone::{Alone, NAME},
    kernel::Peak,
    process::cpu_micros,
    report::{Bar, Report},
    stats::Sample,
};

/// Polls as ten thousand sidecars do.
pub(crate) async fn measure(report: &mut Report, alone: &Alone, conditions: &str) -> Result<()> {
    let (port, client, pid) = (alone.port()?, alone.client()?, alone.pid()?);
    let pods = alone.population.pods;
    let bearers: Result<Vec<String>> = (0..SIDECARS.min(pods))
        .map(|pod| alone.identity(pod))
        .collect();
    let bearers = bearers?;
    let peak = Peak::from_now_on(pid)?;
    let mut polls = JoinSet::new();
    let mut due = interval(PACE / u32::try_from(bearers.len())?);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, spent) = (Instant::now(), cpu_micros(pid)?);
    for bearer in bearers {
        let at = due.tick().await;
        let request = format!(
            "GET /v1/assignments HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n\r\n"
        );
        let client = Arc::clone(&client);
        polls.spawn(async move {
            let pace = poll(port, client, &request).await?;
            Ok::<_, anyhow::Error>((at.elapsed().as_secs_f64() * 1e3, pace))
        });
    }
    let (mut waited, mut paces, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(polled) = polls.join_next().await {
        match polled? {
            Ok((millis, pace)) => {
                waited.push(millis);
                paces.push(pace);
            }
            Err(why) => failed.push(why),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let spent = cpu_micros(pid)? - spent;
    tell_of(&failed);
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let (count, failed) = (waited.len() as f64, failed.len() as f64);
    let how = format!(
        "open loop, 10,000 sidecars of distinct pods that poll once each within 30 s, by a TLS connection that ends with the answer, as they do, never 304: {conditions}"
    );
    let mut row =
        |metric: &str, value: f64, unit: &str| report.add("B13", metric, (value, unit), &how);
    row("processor time of a poll", spent / count, "us");
    row(
        "part of a core for 10,000 sidecars",
        spent / 1e6 / seconds,
        "",
    );
    let waited = Sample::new(waited);
    row("a poll waits, p50", waited.median(), "ms");
    row("a poll waits, p99", waited.quantile(0.99), "ms");
    row("polls that failed", failed, "");
    report.bar(Bar::Value(0.0));
    let peak = (peak.resident()?, "MiB");
    report.add("B13", "operator while they poll, peak", peak, &how);
    paced(report, pods, paces);
    Ok(())
}

/// How often the replica is asked by so many pods that each keep to the pace they were told.
fn paced(report: &mut Report, pods: usize, paces: Vec<f64>) {
    let how = "all pods at one replica, each at the pace that it was told by Cache-Control";
    #[expect(clippy::cast_precision_loss, reason = "a hundred thousand")]
    let polls = pods as f64 / Sample::new(paces).quantile(0.0);
    report.add("B13", "polls a second", (polls, "1/s"), how);
    report.bar(Bar::Value(500.0));
}

#[expect(clippy::print_stderr, reason = "who reads the figures has to know")]
fn tell_of(failed: &[anyhow::Error]) {
    if let Some(why) = failed.first() {
        eprintln!("{} polls failed, one of them: {why:#}", failed.len());
    }
}

/// In how many seconds the sidecar is to ask again.
async fn poll(port: u16, client: Arc<ClientConfig>, request: &str) -> Result<f64> {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    tcp.set_nodelay(true)?;
    let tls = TlsConnector::from(client)
        .connect(ServerName::try_from(NAME)?, tcp)
        .await;
    let mut stream = tls.context("shake hands")?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(4096);
    stream.read_to_end(&mut answer).await.context("an answer")?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let pace = answer.split_once("max-age=").context("a pace")?.1;
    let digits = pace.split(|c: char| !c.is_ascii_digit()).next();
    Ok(digits.context("a number")?.parse()?)
}

const SIDECARS: usize = 10_000;
/// Within which each of so few polls once.
const PACE: Duration = Duration::from_secs(30);
