//! Applications that read their tokens all the time, through whatever happens.
//!
//! They are an open loop: a read begins several times a second, whether or not the ones before it were
//! answered. They run on a thread of their own, so that nothing a test does holds them up.

pub mod verdict;

use std::{
    collections::hash_map::DefaultHasher,
    fmt,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use crate::{token, wait::now};

/// A token on a pod's socket.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it is called in a verdict.
    pub name: Arc<str>,
    /// The socket.
    pub socket: PathBuf,
    /// The token's name.
    pub token: String,
}

/// One read.
#[derive(Debug, Clone)]
pub struct Read {
    /// Whose.
    pub source: Arc<str>,
    /// When it began.
    pub begun: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A token.
    Served {
        /// The `exp` that is in it.
        expires: Timestamp,
        /// Tells tokens apart.
        digest: u64,
    },
    /// Another answer.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The `code` of the problem document, as far as there is one.
        code: String,
    },
    /// No answer.
    Broken(String),
}

/// Readers at work.
pub struct Readers {
    reads: Arc<Mutex<Vec<Read>>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Source {
    /// Reads the token once.
    pub async fn read(&self) -> Read {
        let (begun, since) = (now(), Instant::now());
        let outcome = match timeout(PATIENCE, ask(&self.socket, &self.token)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::Broken(format!("{why:#}")),
            Err(_elapsed) => Outcome::Broken(format!("no answer within {PATIENCE:?}")),
        };
        Read {
            source: Arc::clone(&self.name),
            begun,
            took: since.elapsed(),
            outcome,
        }
    }
}

impl Readers {
    /// Begins to read all of them, each five times a second.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(sources: Vec<Source>) -> Result<Self> {
        Self::reading(vec![sources], PACE)
    }

    /// Begins to read one after the other, each once in every `round`: many are read evenly, and the processor
    /// has time for more than that.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn in_turn(sources: Vec<Source>, round: Duration) -> Result<Self> {
        let count = u32::try_from(sources.len()).unwrap_or(u32::MAX).max(1);
        let each = sources.into_iter().map(|source| vec![source]);
        Self::reading(each.collect(), round / count)
    }

    /// With every beat one of the groups is read.
    fn reading(groups: Vec<Vec<Source>>, beat: Duration) -> Result<Self> {
        let reads = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let kept = Arc::clone(&reads);
        let thread = std::thread::Builder::new().name("readers".to_owned());
        let thread = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build()?;
            runtime.block_on(read_all(groups, beat, &kept, stopped));
            Ok(())
        });
        Ok(Self {
            reads,
            stop,
            thread: thread.context("start the readers")?,
        })
    }

    /// What was read until now.
    #[must_use]
    pub fn so_far(&self) -> Vec<Read> {
        lock(&self.reads).clone()
    }

    /// Waits for the open reads, and tells all of them in the order in which they began.
    ///
    /// # Errors
    /// The readers failed.
    pub fn end(self) -> Result<Vec<Read>> {
        ensure!(self.stop.send(()).is_ok(), "the readers had ended");
        let ended = self.thread.join();
        ended.ok().context("the readers panicked")??;
        let mut reads = std::mem::take(&mut *lock(&self.reads));
        reads.sort_by_key(|read| read.begun);
        Ok(reads)
    }
}

fn lock(reads: &Mutex<Vec<Read>>) -> std::sync::MutexGuard<'_, Vec<Read>> {
    reads.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_all(
    groups: Vec<Vec<Source>>,
    beat: Duration,
    reads: &Arc<Mutex<Vec<Read>>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut open = JoinSet::new();
    let mut beat = interval(beat);
    for group in groups.iter().cycle() {
        tokio::select! {
            _ = &mut stopped => break,
            _ = beat.tick() => {}
        }
        while open.try_join_next().is_some() {}
        for source in group {
            let (source, reads) = (source.clone(), Arc::clone(reads));
            open.spawn(async move {
                let read = source.read().await;
                lock(&reads).push(read);
            });
        }
    }
    while open.join_next().await.is_some() {}
}

async fn ask(socket: &Path, name: &str) -> Result<Outcome> {
    let mut stream = UnixStream::connect(socket).await.context("connect")?;
    let request = format!(
        "GET /v1/tokens/{name} HTTP/1.1\r\nhost: hallpass\r\naccept: text/plain\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.context("ask")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.context("read")?;
    understand(&answer)
}

fn understand(answer: &str) -> Result<Outcome> {
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    if status != 200 {
        let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let code = problem["code"].as_str().unwrap_or_default().to_owned();
        return Ok(Outcome::Refused { status, code });
    }
    let claims = token::claims(body.trim_end()).context("what was served is no token")?;
    let expires = claims["exp"].as_i64().context("no exp")?;
    let mut digest = DefaultHasher::new();
    body.hash(&mut digest);
    Ok(Outcome::Served {
        expires: Timestamp::from_second(expires)?,
        digest: digest.finish(),
    })
}

/// How often each token is read.
const PACE: Duration = Duration::from_millis(200);

/// Longer than the sidecar waits for a token that is on its way.
const PATIENCE: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests;
