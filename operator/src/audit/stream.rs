//! Where the lines go: in the order in which they came, each whole, as many in one write as wait for it.
//!
//! A write costs more than a line, and handing it to a thread that may wait costs more than the write. So
//! whoever comes while one is under way goes with the next.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot, task::yield_now};

use super::AuditError;

/// A stream of lines. Cheap to clone.
#[derive(Clone)]
pub(super) struct Stream(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
}

/// The lines that no write has begun with, and who waits for them.
#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    waiting: Vec<oneshot::Sender<Outcome>>,
    /// Whether somebody is at it.
    writing: bool,
}

struct Writer {
    writer: Box<dyn Write + Send>,
    /// The last line may have ended in the middle.
    torn: bool,
}

/// One for all who waited for the same write.
type Outcome = Result<(), Arc<io::Error>>;

impl Stream {
    pub(super) fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            writer: Mutex::new(Writer {
                writer: Box::new(writer),
                torn: false,
            }),
        }))
    }

    /// Writes a line, which ends with its line feed, and returns when it was written and flushed.
    ///
    /// # Errors
    /// It may not have been written, or not whole.
    pub(super) async fn append(&self, line: &[u8]) -> Result<(), AuditError> {
        let (told, outcome) = oneshot::channel();
        if self.0.queue().add(line, told) {
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

/// The duty to write what waits. It is done when this is dropped: somebody who gives its own request up
/// meanwhile still has the lines of the others.
struct Turn {
    shared: Arc<Shared>,
    runtime: Handle,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        // A log collector that stands still holds the threads of this pool, not those that serve. Nobody waits
        // for the task as such: all whose lines it has wait for what becomes of them.
        drop(self.runtime.spawn_blocking(move || shared.write()));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is whole before anything in it could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until no line waits.
    fn write(&self) {
        let end = End(self);
        loop {
            let taken = self.queue().take();
            let Some((lines, waiting)) = taken else {
                break;
            };
            let outcome = {
                // A panic in the midst of a write leaves `torn` set: the next line begins on its own.
                let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.append(&lines).map_err(Arc::new)
            };
            for told in waiting {
                // Whoever does not listen any more gave its request up.
                drop(told.send(outcome.clone()));
            }
        }
        mem::forget(end);
    }
}

impl Queue {
    /// Whether somebody has to begin writing.
    fn add(&mut self, line: &[u8], told: oneshot::Sender<Outcome>) -> bool {
        self.lines.extend_from_slice(line);
        self.waiting.push(told);
        !mem::replace(&mut self.writing, true)
    }

    /// All that waits; [`None`], and then nobody is writing, where nothing does.
    fn take(&mut self) -> Option<(Vec<u8>, Vec<oneshot::Sender<Outcome>>)> {
        self.writing = !self.waiting.is_empty();
        let all = || (mem::take(&mut self.lines), mem::take(&mut self.waiting));
        self.writing.then(all)
    }
}

/// The end of a writing that a panic broke off: those that wait are told that there is nothing to wait
/// for, and the next line is written again.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.queue() = Queue::default();
    }
}

impl Writer {
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

#[cfg(test)]
mod tests;
