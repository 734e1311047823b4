//! B3: reading a token that is there, over the socket, beside opening and reading the file that the
//! kubelet keeps of the pod's own API token.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{cluster::Cluster, local::LocalPod, manifest::pod};

use crate::{pod::cpu_micros, report::Report, stats::Sample};

const ROUNDS: usize = 5;
const READS: usize = 4000;
const CONDITIONS: &str = "one client, 5 interleaved rounds of 4000, the best round; sidecar and client share 2 cores with the cluster";
const PEER: &str = "open+read of the kubelet's file";

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let cluster = Cluster::shared("read").await?;
    cluster.orders().await?;
    let name = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;
    let pod = LocalPod::find(&cluster, &name).await?;
    let (socket, file, sidecar) = (pod.socket(), pod.kubelet_token()?, pod.sidecar()?.0);

    let mut keep_alive = Vec::new();
    let mut connecting = Vec::new();
    let mut kubelet = Vec::new();
    for _ in 0..ROUNDS {
        let before = cpu_micros(sidecar)?;
        let round = over_one_connection(&socket)?;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let cpu = (cpu_micros(sidecar)? - before) / READS as f64;
        keep_alive.push((round, cpu));
        connecting.push(with_a_connection_each(&socket)?);
        kubelet.push(of_the_file(&file)?);
    }
    let by_median = |a: &Sample, b: &Sample| a.median().total_cmp(&b.median());
    let best = |rounds: Vec<Sample>| rounds.into_iter().min_by(by_median).context("a round");
    let keep_alive = keep_alive.into_iter().min_by(|a, b| by_median(&a.0, &b.0));
    let (ours, cpu) = keep_alive.context("a round")?;
    rows(report, &ours, cpu, &best(connecting)?, &best(kubelet)?);
    Ok(())
}

fn rows(report: &mut Report, ours: &Sample, cpu: f64, connecting: &Sample, peer: &Sample) {
    for (metric, part) in [("read p50", 0.5), ("read p99", 0.99)] {
        report.add("B3", metric, (ours.quantile(part), "us"), CONDITIONS);
        report.beside(PEER, peer.quantile(part));
    }
    let per_second = (1e6 / ours.median(), "1/s");
    report.add(
        "B3",
        "reads per second",
        per_second,
        "from the median, closed loop",
    );
    report.beside(PEER, 1e6 / peer.median());
    report.add(
        "B3",
        "processor time per read",
        (cpu, "us"),
        "the sidecar's alone; keep-alive",
    );
    for (metric, part) in [("connecting read p50", 0.5), ("connecting read p99", 0.99)] {
        report.add(
            "B3",
            metric,
            (connecting.quantile(part), "us"),
            "a connection for each read",
        );
        report.beside(PEER, peer.quantile(part));
    }
}

fn over_one_connection(socket: &Path) -> Result<Sample> {
    let mut connection = Connection::open(socket)?;
    connection.read()?;
    timed(|| connection.read())
}

fn with_a_connection_each(socket: &Path) -> Result<Sample> {
    timed(|| Connection::open(socket)?.read())
}

fn of_the_file(file: &Path) -> Result<Sample> {
    timed(|| {
        ensure!(
            fs::read(file)?.len() > 500,
            "no token in {}",
            file.display()
        );
        Ok(())
    })
}

fn timed(mut read: impl FnMut() -> Result<()>) -> Result<Sample> {
    let mut micros = Vec::with_capacity(READS);
    for _ in 0..READS {
        let start = Instant::now();
        read()?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Sample::new(micros))
}

/// The least client of HTTP/1.1 there can be, so that its own work does not count.
struct Connection {
    from: BufReader<UnixStream>,
    body: Vec<u8>,
}

impl Connection {
    fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connect to {}", socket.display()))?;
        Ok(Self {
            from: BufReader::new(stream),
            body: Vec::new(),
        })
    }

    fn read(&mut self) -> Result<()> {
        self.from
            .get_mut()
            .write_all(b"GET /v1/tokens/vault HTTP/1.1\r\nhost: hallpass\r\n\r\n")?;
        let (mut line, mut length, mut ok) = (String::new(), 0, false);
        loop {
            line.clear();
            self.from.read_line(&mut line)?;
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            ok |= text.starts_with("HTTP/1.1 200");
            if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        self.body.resize(length, 0);
        self.from.read_exact(&mut self.body)?;
        ensure!(
            ok && length > 500,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        Ok(())
    }
}
