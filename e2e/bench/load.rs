//! A load on one server, by a generator that has the other core to itself: what the server spends on a
//! request, how many it answers, and how long they wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::runtime::Builder;

use self::connection::Connection;
use crate::{
    place::{
        Aside, GENERATOR, Pinned, SERVER, be_punctual, come_first, enter_network_of,
        pin_this_thread,
    },
    share::Share,
    stats::Sample,
};

mod closed;
pub(crate) mod connection;
mod open;

/// A server, and what it is asked.
pub(crate) struct Target {
    /// Its process.
    pub(crate) pid: u32,
    /// A process of the cluster that leaves its core to it; [`None`] where it needs the others of that cluster.
    pub(crate) aside: Option<u32>,
    /// Where it listens, on the loopback interface of its own network.
    pub(crate) port: u16,
    /// Whom its certificate names.
    pub(crate) name: ServerName<'static>,
    /// What its certificate is verified against, and ours for it.
    pub(crate) tls: Arc<ClientConfig>,
    /// Writes the request of that number.
    pub(crate) write: Box<Write>,
    /// Whether an answer with that status and body is the one that was asked for.
    pub(crate) good: Box<Good>,
    /// How many requests were made so far.
    pub(crate) made: AtomicUsize,
}

/// Writes the request of a number.
pub(crate) type Write = dyn Fn(usize, &mut Vec<u8>) + Send + Sync;

/// Judges a status and a body.
pub(crate) type Good = dyn Fn(u16, &[u8]) -> bool + Send + Sync;

/// What came of a round.
#[derive(Debug)]
pub(crate) struct Round {
    /// Processor time of the server's process, in microseconds for an answered request.
    pub(crate) cpu: f64,
    /// Answers in a second.
    pub(crate) rate: f64,
    /// How long each request waited, in microseconds.
    pub(crate) waited: Sample,
}

impl Target {
    /// Asks over [`CONNECTIONS`] connections, each as soon as its last answer is there, for that long.
    ///
    /// # Errors
    /// A connection broke, or an answer was not the one that was asked for.
    pub(crate) fn closed(self: &Arc<Self>, length: Duration) -> Result<Round> {
        let target = Arc::clone(self);
        let _placed = self.place()?;
        beside(self.pid, self.generator(Generator::First), move || {
            closed::run(target, length)
        })
    }

    /// Asks so many times a second, whatever becomes of the answers, for that long. A request that finds
    /// no connection free waits for one, and that counts.
    ///
    /// # Errors
    /// A connection broke, or an answer was not the one that was asked for.
    pub(crate) fn open(self: &Arc<Self>, rate: f64, length: Duration) -> Result<Round> {
        let target = Arc::clone(self);
        let _placed = self.place()?;
        beside(self.pid, self.generator(Generator::Punctual), move || {
            open::run(target, rate, length)
        })
    }

    /// Asks so many times a second for that long, with nobody set aside: for what comes of many requests, and not
    /// for how long one takes.
    ///
    /// # Errors
    /// A connection broke, or an answer was not the one that was asked for.
    pub(crate) fn many(self: &Arc<Self>, rate: f64, length: Duration) -> Result<()> {
        let target = Arc::clone(self);
        let run = move || open::run(target, rate, length);
        beside(self.pid, Generator::Among, run)?;
        Ok(())
    }

    /// Asks exactly that many times over [`CONNECTIONS`] connections and gives the answers to `take`, each
    /// with its number.
    ///
    /// # Errors
    /// A connection broke, or an answer was not the one that was asked for.
    pub(crate) fn each<T: Send + 'static>(
        self: &Arc<Self>,
        count: usize,
        take: fn(&[u8]) -> Result<T>,
    ) -> Result<Vec<T>> {
        let target = Arc::clone(self);
        beside(self.pid, Generator::Among, move || {
            closed::each(target, count, take)
        })
    }

    fn place(&self) -> Result<(Pinned, Option<(Aside, Share)>)> {
        let pinned = Pinned::new(self.pid, SERVER)?;
        let Some(cluster) = self.aside else {
            return Ok((pinned, None));
        };
        let alone = (
            Aside::all_but(self.pid, cluster)?,
            Share::greatest(self.pid)?,
        );
        Ok((pinned, Some(alone)))
    }

    /// How the generator is: like that where the server is to be alone.
    fn generator(&self, alone: Generator) -> Generator {
        self.aside.map_or(Generator::Among, |_cluster| alone)
    }

    async fn connect(&self) -> Result<Connection> {
        Connection::open(self).await
    }

    /// How many requests were made so far.
    pub(crate) fn count(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// The number of the next request.
    fn next(&self) -> usize {
        self.made.fetch_add(1, Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("pid", &self.pid)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// How the generator of a load is among the other programs on its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generator {
    /// Before all of them, and it never sleeps: what wakes whoever waits for a packet is charged to whoever sends
    /// it, and is not the work of a server.
    First,
    /// It runs as soon as a request is due, whoever has the core then, and leaves it to them until the next one is.
    Punctual,
    /// One of them, where the server needs the others.
    Among,
}

/// Runs it on a thread of its own, on the generator's core and in the network of that process: what carries a
/// packet from one network to the next is charged to whoever sends it, and is not the work of a server either.
fn beside<T: Send + 'static, F: Future<Output = Result<T>>>(
    server: u32,
    generator: Generator,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<T> {
    let run = move || {
        pin_this_thread(GENERATOR)?;
        match generator {
            Generator::First => come_first()?,
            Generator::Punctual => be_punctual()?,
            Generator::Among => {}
        }
        enter_network_of(server)?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("make a runtime")?;
        let local = tokio::task::LocalSet::new();
        if generator == Generator::First {
            local.spawn_local(never_sleep());
        }
        local.block_on(&runtime, make())
    };
    let thread = std::thread::spawn(run);
    thread
        .join()
        .map_err(|_panic| anyhow!("the generator panicked"))?
}

/// Has the thread look for what has come whenever it has nothing else to do.
async fn never_sleep() {
    loop {
        tokio::task::yield_now().await;
    }
}

/// How many connections there are to a server.
pub(crate) const CONNECTIONS: usize = 100;

/// How long a server is under load before anything counts.
const WARM: Duration = Duration::from_millis(300);
