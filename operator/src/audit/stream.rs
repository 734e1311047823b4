//! Where the lines go: in the order in which they came, each whole, as many in one write as wait for it.
//!
//! A write costs more than a line, and handing it to a thread that may wait costs more than the write. So
//! whoever comes while one is under way goes with the next.

use std::{
    io::{self, Write},
    mem,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::pipe::fcntl_setpipe_size;
use tokio::{
    io::AsyncWriteExt as _,
    net::unix::pipe::Sender,
    runtime::Handle,
    sync::{Mutex as AsyncMutex, oneshot},
    task::yield_now,
    time::Instant,
};

use super::AuditError;

/// A stream of lines. Cheap to clone.
#[derive(Clone)]
pub(super) struct Stream(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    sink: Sink,
}

/// The lines that no write has begun with, and who waits for them.
#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    waiting: Vec<oneshot::Sender<Outcome>>,
    /// When the write that is under way began.
    begun: Option<Instant>,
}

/// What takes the lines. Of either only one write is under way at a time.
enum Sink {
    /// A pipe, as in every container: it says when it is full, and nobody has to stand and wait.
    Pipe(AsyncMutex<Torn<Sender>>),
    /// Anything else holds a thread for as long as it takes nothing.
    Thread(Mutex<Torn<Box<dyn Write + Send>>>),
}

struct Torn<W> {
    writer: W,
    /// The last line may have ended in the middle.
    torn: bool,
}

/// One for all who waited for the same write.
type Outcome = Result<(), Arc<io::Error>>;

impl Stream {
    pub(super) fn new(writer: impl Write + Send + 'static) -> Self {
        Self::of(Sink::Thread(Mutex::new(Torn::new(Box::new(writer)))))
    }

    /// The standard output of this process, which nobody else writes to. A pipe is made non-blocking, for all who
    /// share it too.
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        // Why it is none does not matter.
        match stdout.and_then(Sender::from_owned_fd) {
            Ok(pipe) => Self::piped(pipe),
            Err(_) => Self::new(io::stdout()),
        }
    }

    fn piped(pipe: Sender) -> Self {
        // Where the kernel grants no more, what it has does.
        let _granted = fcntl_setpipe_size(&pipe, ROOM);
        Self::of(Sink::Pipe(AsyncMutex::new(Torn::new(pipe))))
    }

    /// Whether a line could wait, and would not wait for long.
    ///
    /// # Errors
    /// [`AuditError::Full`], [`AuditError::Stalled`]
    pub(super) fn has_room(&self) -> Result<(), AuditError> {
        let queue = self.0.queue();
        if queue.lines.len() > MOST - LONGEST {
            Err(AuditError::Full)
        } else if queue.is_stalled() {
            Err(AuditError::Stalled)
        } else {
            Ok(())
        }
    }

    fn of(sink: Sink) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            sink,
        }))
    }

    /// Writes a line, which ends with its line feed, and returns when it was written and flushed. While nothing
    /// takes the lines, one of [`Room::Half`] is left to be written when something does.
    ///
    /// # Errors
    /// It may not have been written, or not whole. [`AuditError::Full`]: it was not, as too much waits already.
    pub(super) async fn append(&self, line: &[u8], room: Room) -> Result<(), AuditError> {
        let (told, outcome) = oneshot::channel();
        let (first, stalled) = {
            let mut queue = self.0.queue();
            (queue.add(line, room, told)?, queue.is_stalled())
        };
        if stalled && room == Room::Half {
            return Ok(());
        }
        if first {
            let turn = Turn {
                shared: Arc::clone(&self.0),
                runtime: Handle::current(),
            };
            // Whoever else is about to have a line goes with this write.
            yield_now().await;
            drop(turn);
        }
        let outcome = outcome.await.map_err(AuditError::AwaitWriter)?;
        outcome.map_err(AuditError::WriteRecord)
    }
}

/// How much may wait before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// All that may wait at all.
    All,
    /// Half of it: of such lines anybody makes as many as it likes, and the rest is kept for the others.
    Half,
}

/// The duty to write what waits. It is done when this is dropped: somebody who gives its own request up
/// meanwhile still has the lines of the others.
struct Turn {
    shared: Arc<Shared>,
    runtime: Handle,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        // A log collector that stands still holds the threads of the pool, if any, not those that serve. Nobody
        // waits for the task as such: all whose lines it has wait for what becomes of them.
        match self.shared.sink {
            Sink::Pipe(_) => drop(self.runtime.spawn(async move { shared.write().await })),
            Sink::Thread(_) => drop(self.runtime.spawn_blocking(move || shared.write_here())),
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is whole before anything in it could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until no line waits.
    async fn write(&self) {
        let Sink::Pipe(pipe) = &self.sink else {
            return;
        };
        let mut pipe = pipe.lock().await;
        let mut next = self.next();
        while let Some(batch) = next {
            let outcome = pipe.append(&batch.lines).await;
            // Whoever hears of it finds the next one begun, or none under way.
            next = self.next();
            batch.tell(outcome);
        }
    }

    /// The same on a thread that may stand and wait.
    fn write_here(&self) {
        let Sink::Thread(writer) = &self.sink else {
            return;
        };
        let mut next = self.next();
        while let Some(batch) = next {
            let outcome = {
                // A panic in the midst of a write leaves `torn` set: the next line begins on its own.
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.append(&batch.lines)
            };
            next = self.next();
            batch.tell(outcome);
        }
    }

    fn next(&self) -> Option<Batch<'_>> {
        let (lines, waiting) = self.queue().take()?;
        Some(Batch {
            shared: self,
            lines,
            waiting,
        })
    }
}

/// The lines of one write.
struct Batch<'a> {
    shared: &'a Shared,
    lines: Vec<u8>,
    /// Nobody, once they were told.
    waiting: Vec<oneshot::Sender<Outcome>>,
}

impl Batch<'_> {
    fn tell(mut self, outcome: io::Result<()>) {
        let outcome = outcome.map_err(Arc::new);
        for told in self.waiting.drain(..) {
            // Whoever does not listen any more gave its request up.
            drop(told.send(outcome.clone()));
        }
    }
}

impl Drop for Batch<'_> {
    /// A panic broke the write off: those that wait are told that there is nothing to wait for, and the next
    /// line is written again. That is so before any of them hears of it.
    fn drop(&mut self) {
        if !self.waiting.is_empty() {
            *self.shared.queue() = Queue::default();
        }
    }
}

impl Queue {
    /// Whether somebody has to begin writing.
    fn add(
        &mut self,
        line: &[u8],
        room: Room,
        told: oneshot::Sender<Outcome>,
    ) -> Result<bool, AuditError> {
        let most = match room {
            Room::All => MOST,
            Room::Half => MOST / 2,
        };
        // Whoever asks and hangs up leaves its line here, for as long as nothing takes the lines.
        if self.lines.len().saturating_add(line.len()) > most {
            return Err(AuditError::Full);
        }
        self.lines.extend_from_slice(line);
        self.waiting.push(told);
        let first = self.begun.is_none();
        self.begun.get_or_insert_with(Instant::now);
        Ok(first)
    }

    fn is_stalled(&self) -> bool {
        self.begun.is_some_and(|begun| begun.elapsed() >= STALL)
    }

    /// All that waits; [`None`], and then nobody is writing, where nothing does.
    fn take(&mut self) -> Option<(Vec<u8>, Vec<oneshot::Sender<Outcome>>)> {
        self.begun = (!self.waiting.is_empty()).then(Instant::now);
        self.begun
            .map(|_| (mem::take(&mut self.lines), mem::take(&mut self.waiting)))
    }
}

impl<W> Torn<W> {
    const fn new(writer: W) -> Self {
        Self {
            writer,
            torn: false,
        }
    }
}

impl Torn<Sender> {
    async fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if mem::replace(&mut self.torn, true) {
            self.writer.write_all(b"\n").await?;
        }
        self.writer.write_all(lines).await?;
        self.torn = false;
        Ok(())
    }
}

impl Torn<Box<dyn Write + Send>> {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if mem::replace(&mut self.torn, true) {
            self.writer.write_all(b"\n")?;
        }
        self.writer.write_all(lines)?;
        self.writer.flush()?;
        self.torn = false;
        Ok(())
    }
}

/// How many bytes a pipe takes before whoever reads it has to: what comes in a tenth of a second under full
/// load. Without privileges a process gets no more.
const ROOM: usize = 1024 * 1024;

/// A write that takes as long as this is one that nothing reads.
pub(super) const STALL: Duration = Duration::from_secs(5);

/// How many bytes wait at most: thousands of lines.
const MOST: usize = 8 * 1024 * 1024;

/// Bytes of a line; hardly one has as many.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests;
