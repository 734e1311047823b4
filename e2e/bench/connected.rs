//! Ten thousand sidecars that come all at once and hold on to their connections. None does so by itself: a sidecar lets
//! go as soon as it has its answer. So it is the most that a replica can have to bear of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    alone::{Alone, NAME},
    kernel::{Memory, Peak},
    load::connection::Head,
    report::{Bar, Report},
};

/// What all of them share.
#[derive(Debug)]
struct Herd {
    port: u16,
    client: Arc<ClientConfig>,
    /// How many have an answer and hold on.
    held: AtomicUsize,
    /// How often one had to come again.
    again: AtomicUsize,
    /// Whether they may let go.
    over: watch::Receiver<bool>,
}

/// What was seen while they held on.
struct Seen {
    held: usize,
    resident: f64,
}

pub(crate) async fn measure(report: &mut Report, alone: &Alone, conditions: &str) -> Result<()> {
    let (let_go, over) = watch::channel(false);
    let herd = Arc::new(Herd {
        port: alone.port()?,
        client: alone.client()?,
        held: AtomicUsize::default(),
        again: AtomicUsize::default(),
        over,
    });
    let count = SIDECARS.min(alone.population.pods);
    let bearers: Result<Vec<String>> = (0..count).map(|pod| alone.identity(pod)).collect();
    let pid = alone.pid()?;
    let peak = Peak::from_now_on(pid)?;
    let mut sidecars = JoinSet::new();
    for (number, bearer) in bearers?.into_iter().enumerate() {
        sidecars.spawn(Arc::clone(&herd).sidecar(number, bearer));
    }
    let seen = herd.all_held(pid).await?;
    let began = Instant::now();
    let_go.send(true)?;
    let (mut failed, mut last) = (0u32, Duration::ZERO);
    while let Some(sidecar) = sidecars.join_next().await {
        match sidecar? {
            Ok(at) => last = last.max(at.saturating_duration_since(began)),
            Err(why) => {
                tell_of(&why, failed);
                failed += 1;
            }
        }
    }
    let how = format!(
        "{count} sidecars of distinct pods connect at once by TLS, from {} addresses, ask, and hold on until no more are \
         let in, which its listener decides; what it does not take waits in the kernel, and tries again \
         after 10 s; then each lets go when it has its answer: {conditions}",
        count.div_ceil(ON_A_NODE)
    );
    let mut row =
        |metric: &str, value: f64, unit: &str| report.add("B13", metric, (value, unit), &how);
    row(
        "connections held at once",
        f64::from(u32::try_from(seen.held)?),
        "",
    );
    row("operator with those, resident", seen.resident, "MiB");
    row("operator through that, peak", peak.resident()?, "MiB");
    row("others wait after that", last.as_secs_f64(), "s");
    let again = u32::try_from(herd.again.load(Relaxed))?;
    row("of those, tries made again", f64::from(again), "");
    row("sidecars without an answer", f64::from(failed), "");
    report.bar(Bar::Value(0.0));
    Ok(())
}

impl Herd {
    /// Asks, holds on while the others come, and says when it had its answer.
    async fn sidecar(self: Arc<Self>, number: usize, bearer: String) -> Result<Instant> {
        let began = Instant::now();
        let node = u8::try_from(number / ON_A_NODE)?;
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 1, node), 0));
        loop {
            let why = match timeout(TRY, self.ask(from, &bearer)).await {
                Ok(Ok(stream)) => {
                    let at = Instant::now();
                    self.held.fetch_add(1, Relaxed);
                    let mut over = self.over.clone();
                    over.wait_for(|over| *over).await?;
                    drop(stream);
                    return Ok(at);
                }
                Ok(Err(why)) => why,
                Err(_elapsed) => anyhow::anyhow!("not let in"),
            };
            if began.elapsed() > LONGEST {
                bail!(why);
            }
            self.again.fetch_add(1, Relaxed);
            sleep(PAUSE).await;
        }
    }

    /// A connection that has answered.
    async fn ask(&self, from: SocketAddr, bearer: &str) -> Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(from)?;
        let tcp = socket.connect((Ipv4Addr::LOCALHOST, self.port).into());
        let tcp = tcp.await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let mut stream = connector.connect(ServerName::try_from(NAME)?, tcp).await?;
        let request = format!(
            "GET /v1/assignments HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {bearer}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(4096);
        loop {
            let read = stream.read_buf(&mut answer).await?;
            ensure!(read > 0, "the operator hung up");
            let Some(head) = Head::read(&answer)? else {
                continue;
            };
            ensure!(head.status == 200, "it answers {}", head.status);
            if answer.len() >= head.length + head.body.context("a length")? {
                return Ok(stream);
            }
        }
    }

    /// Waits until no more of them are let in, and looks at the operator's memory.
    async fn all_held(&self, pid: u32) -> Result<Seen> {
        let mut held = 0;
        loop {
            sleep(GLANCE).await;
            let now = self.held.load(Relaxed);
            if now > 0 && now == held {
                let resident = Memory::of(pid)?.resident;
                return Ok(Seen { held, resident });
            }
            held = now;
        }
    }
}

#[expect(clippy::print_stderr, reason = "who reads the figures has to know")]
fn tell_of(why: &anyhow::Error, before: u32) {
    if before == 0 {
        eprintln!("a sidecar got no answer: {why:#}");
    }
}

const SIDECARS: usize = 10_000;
/// The sidecars behind one address: of those the operator lets no one take all of its connections.
const ON_A_NODE: usize = 100;
/// For how long a sidecar tries to connect and to shake hands.
const TRY: Duration = Duration::from_secs(10);
/// Until it tries again, where others are first.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Longer than the operator lets no one in who is there, and all glances shorter than it keeps an idle connection.
const GLANCE: Duration = Duration::from_secs(4);
