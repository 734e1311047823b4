//! Log lines on their way to a stream that may stand still: whoever logs never waits for it.
//!
//! What finds no room is lost, and counted, and said in a line of its own once the stream goes on.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde_json::json;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::{clock, telemetry::Metrics};

/// Takes lines, each in one write. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is to be written, or was.
    changed: Condvar,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// How many lines were lost of which no line tells yet.
    lost: u64,
    /// Whether the thread has something in hand.
    writing: bool,
    /// Whether the thread is to end once nothing waits.
    closed: bool,
}

impl Lines {
    /// Writes them to `stream`, on a thread of its own. What is lost is counted in `metrics`.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn to(stream: impl Write + Send + 'static, metrics: Metrics) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            metrics,
        });
        let writer = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".to_owned());
        thread.spawn(move || writer.write_to(stream))?;
        Ok(Self(shared))
    }

    fn within(&self, most: usize) -> Within<'_> {
        let lines = &self.0;
        Within { lines, most }
    }

    /// Ends the thread when all that waits is written, and waits for that, but no longer than `most`. What
    /// comes later is lost.
    pub(super) fn close(&self, most: Duration) {
        let mut state = self.0.state();
        state.closed = true;
        self.0.changed.notify_all();
        let waits = |state: &mut State| state.writing || !state.lines.is_empty();
        // Whether all was written in time changes nothing any more.
        drop(self.0.changed.wait_timeout_while(state, most, waits));
    }
}

/// Takes a line as long as no more than `most` bytes wait with it.
pub(super) struct Within<'a> {
    lines: &'a Shared,
    most: usize,
}

impl Write for Within<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.lines.state();
        if state.closed || state.lines.len().saturating_add(line.len()) > self.most {
            state.lost += 1;
            drop(state);
            self.lines.metrics.log_lines_lost(1);
        } else {
            state.lines.extend_from_slice(line);
            drop(state);
            self.lines.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Within<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        self.within(MOST)
    }

    /// Half of the room is kept for errors: of the others there may be any number.
    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Self::Writer {
        let is_error = *line.level() == Level::ERROR;
        self.within(if is_error { MOST } else { MOST / 2 })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything in it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut stream: impl Write) {
        while let Some((mut batch, lost)) = self.next() {
            let own = batch.len();
            if lost > 0 {
                batch.extend_from_slice(said(lost).as_bytes());
            }
            if stream.write_all(&batch).is_err() {
                let lines = batch[..own].iter().filter(|byte| **byte == b'\n').count();
                let lines = u64::try_from(lines).unwrap_or(u64::MAX);
                self.metrics.log_lines_lost(lines);
                self.state().lost += lost + lines;
            }
        }
    }

    /// What waits, and how many lost ones it is to tell of, as soon as there is something; [`None`] at the
    /// end.
    fn next(&self) -> Option<(Vec<u8>, u64)> {
        let mut state = self.state();
        state.writing = false;
        self.changed.notify_all();
        let idle = |state: &mut State| state.lines.is_empty() && !state.closed;
        let state = self.changed.wait_while(state, idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.lines.is_empty() {
            return None;
        }
        state.writing = true;
        Some((mem::take(&mut state.lines), mem::take(&mut state.lost)))
    }
}

/// The line that tells of the lost ones, in the form of the others.
fn said(lost: u64) -> String {
    let line = json!({
        "timestamp": clock::now(),
        "level": "WARN",
        "message": "log lines were lost: nothing read them",
        "lost": lost,
        "target": module_path!(),
    });
    format!("{line}\n")
}

/// Bytes that wait at most, beside those in hand: thousands of lines.
const MOST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::{
        io::{PipeReader, Read, pipe},
        thread::JoinHandle,
    };

    use serde_json::Value;

    use super::*;

    /// A line of a kilobyte.
    fn line() -> String {
        format!("{}\n", "x".repeat(1023))
    }

    fn piped() -> (PipeReader, Lines, Metrics) {
        let (reader, writer) = pipe().unwrap();
        let metrics = Metrics::new();
        let lines = Lines::to(writer, metrics.clone()).unwrap();
        (reader, lines, metrics)
    }

    fn log(lines: &Lines, count: u64) {
        for _ in 0..count {
            lines.make_writer().write_all(line().as_bytes()).unwrap();
        }
    }

    /// Reads until nobody writes any more.
    fn read(mut reader: PipeReader) -> JoinHandle<String> {
        thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        })
    }

    fn counted(metrics: &Metrics) -> u64 {
        let text = metrics.encode().unwrap();
        let mut lines = text.lines();
        let count = lines.find_map(|l| l.strip_prefix("hallpass_log_lines_lost_total "));
        count.unwrap().parse().unwrap()
    }

    /// Waits until the thread has all in hand.
    fn taken(lines: &Lines) {
        while !lines.0.state().lines.is_empty() {
            thread::yield_now();
        }
    }

    #[test]
    fn while_nothing_reads_nobody_waits_and_what_is_lost_is_counted_and_said_once() {
        const MANY: u64 = 5000;
        const WAIT: u64 = 1024;
        let (reader, lines, metrics) = piped();
        // More than the pipe takes: the thread stands with the rest in hand.
        let long = format!("{}\n", "y".repeat(MOST - 1));
        lines.make_writer().write_all(long.as_bytes()).unwrap();
        taken(&lines);
        log(&lines, MANY);
        assert_eq!(counted(&metrics), MANY - WAIT);
        let read = read(reader);
        taken(&lines);
        log(&lines, 1);
        lines.close(Duration::from_secs(60));
        let read = read.join().unwrap();
        let mut read: Vec<&str> = read.lines().collect();
        assert_eq!(read.remove(0), long.trim());
        let said = read.remove(usize::try_from(WAIT).unwrap());
        let said: Value = serde_json::from_str(said).unwrap();
        assert_eq!(said["lost"], MANY - WAIT);
        assert_eq!(said["level"], "WARN");
        let passed = usize::try_from(WAIT + 1).unwrap();
        assert_eq!(read, vec![line().trim(); passed]);
        assert_eq!(counted(&metrics), MANY - WAIT);
    }

    #[test]
    fn half_of_the_room_is_kept_for_errors() {
        let (_reader, lines, metrics) = piped();
        let long = format!("{}\n", "y".repeat(MOST - 1));
        lines.make_writer().write_all(long.as_bytes()).unwrap();
        taken(&lines);
        let logger = tracing_subscriber::fmt().with_writer(lines.clone());
        tracing::subscriber::with_default(logger.finish(), || {
            let text = line();
            (0..1024).for_each(|_| tracing::info!(text));
            let lost = counted(&metrics);
            assert!((500..1000).contains(&lost), "{lost}");
            tracing::error!(text);
            assert_eq!(counted(&metrics), lost);
            tracing::warn!(text);
            assert_eq!(counted(&metrics), lost + 1);
        });
        lines.close(Duration::ZERO);
    }

    #[test]
    fn what_waits_at_the_end_is_written() {
        let (reader, lines, metrics) = piped();
        log(&lines, 500);
        let read = read(reader);
        lines.close(Duration::from_secs(60));
        let left = |state: &State| state.writing || !state.lines.is_empty();
        assert!(!left(&lines.0.state()), "it was waited for");
        log(&lines, 1);
        assert_eq!(read.join().unwrap(), line().repeat(500));
        assert_eq!(counted(&metrics), 1);
    }

    #[test]
    fn the_end_does_not_wait_for_who_reads_nothing() {
        let (_reader, lines, _) = piped();
        log(&lines, 5000);
        lines.close(Duration::ZERO);
    }

    #[test]
    fn what_the_stream_does_not_take_is_lost() {
        let (reader, lines, metrics) = piped();
        drop(reader);
        // The second time there is the line that tells of the first, which is none of them.
        for lost in [7, 14] {
            log(&lines, 7);
            while lines.0.state().lost < lost {
                thread::yield_now();
            }
            assert_eq!(counted(&metrics), lost);
        }
        lines.close(Duration::from_secs(60));
    }
}
