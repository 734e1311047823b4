use std::sync::{Condvar, MutexGuard};

use futures::FutureExt;
use tokio::{io::AsyncReadExt as _, net::unix::pipe::pipe, task::JoinSet, time::advance};

use super::*;

/// A collector that takes nothing while it is stopped, and remembers each write.
#[derive(Clone, Default)]
struct Collector(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    writes: Vec<String>,
    begun: usize,
    stopped: bool,
    broken: bool,
    panics: bool,
}

impl Collector {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go_on(&self) {
        self.state().stopped = false;
        self.0.1.notify_all();
    }

    /// Waits until so many writes have begun.
    async fn begun(&self, count: usize) {
        while self.state().begun < count {
            yield_now().await;
        }
    }
}

impl Write for Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.begun += 1;
        while state.stopped {
            state = self.0.1.wait(state).unwrap();
        }
        assert!(!state.panics, "a fault of the writer");
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state
            .writes
            .push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// One in which all waits that may, for a write that does not come.
    pub(crate) fn full() -> Self {
        let stream = Self::new(io::sink());
        *stream.0.queue() = Queue {
            lines: vec![b'\n'; MOST],
            waiting: Vec::new(),
            begun: Some(Instant::now()),
        };
        stream
    }
}

/// One line is on its way and does not get through; those of `others` wait behind it, in that order.
async fn held_up(
    collector: &Collector,
    others: &[&'static str],
) -> JoinSet<Result<(), AuditError>> {
    collector.state().stopped = true;
    let stream = Stream::new(collector.clone());
    let mut lines = JoinSet::new();
    for (place, line) in ["first\n"].iter().chain(others).copied().enumerate() {
        let stream = stream.clone();
        lines.spawn(async move { stream.append(line.as_bytes(), Room::All).await });
        if place == 0 {
            collector.begun(1).await;
        }
        yield_now().await;
    }
    lines
}

#[tokio::test]
async fn lines_that_come_meanwhile_go_together_in_their_order() {
    let collector = Collector::default();
    let lines = held_up(&collector, &["second\n", "third\n"]).await;
    assert_eq!(collector.state().writes.len(), 0, "nobody has a token yet");
    collector.go_on();
    for outcome in lines.join_all().await {
        outcome.unwrap();
    }
    assert_eq!(collector.state().writes, ["first\n", "second\nthird\n"]);
}

#[tokio::test]
async fn what_was_not_written_is_told_to_each_who_waits() {
    let collector = Collector::default();
    let lines = held_up(&collector, &["second\n", "third\n"]).await;
    collector.state().broken = true;
    collector.go_on();
    for outcome in lines.join_all().await {
        assert!(
            matches!(outcome, Err(AuditError::WriteRecord(_))),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_panic_of_the_writer_leaves_nobody_waiting_and_the_next_line_is_written() {
    let collector = Collector::default();
    let stream = Stream::new(collector.clone());
    collector.state().panics = true;
    let lost = stream.append(b"lost\n", Room::All).await;
    assert!(matches!(lost, Err(AuditError::AwaitWriter(_))), "{lost:?}");
    collector.state().panics = false;
    stream.append(b"written\n", Room::All).await.unwrap();
    assert_eq!(collector.state().writes.concat(), "\nwritten\n");
}

#[tokio::test]
async fn what_waits_for_a_writer_that_stands_still_is_bounded() {
    let collector = Collector::default();
    let half: &'static str = "x".repeat(MOST / 2).leak();
    let lines = held_up(&collector, &[half, half, "one more\n", half]).await;
    collector.go_on();
    let (written, refused): (Vec<_>, Vec<_>) =
        lines.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((written.len(), refused.len()), (3, 2));
    for outcome in refused {
        assert!(matches!(outcome, Err(AuditError::Full)), "{outcome:?}");
    }
    let taken: usize = collector.state().writes.iter().map(String::len).sum();
    assert_eq!(taken, "first\n".len() + MOST);
}

#[tokio::test]
async fn half_of_what_may_wait_is_kept_from_those_who_are_refused() {
    let collector = Collector::default();
    collector.state().stopped = true;
    let stream = Stream::new(collector.clone());
    let held = stream.append(b"first\n", Room::All).now_or_never();
    assert!(held.is_none());
    collector.begun(1).await;
    let line = "x".repeat(MOST / 2);
    let waits = [Room::Half, Room::Half, Room::All].map(|room| {
        let outcome = stream.append(line.as_bytes(), room).now_or_never();
        (outcome, stream.has_room())
    });
    collector.go_on();
    assert!(
        matches!(
            waits,
            [
                (None, Ok(())),
                (Some(Err(AuditError::Full)), Ok(())),
                (None, Err(AuditError::Full)),
            ]
        ),
        "{waits:?}"
    );
}

#[tokio::test]
async fn who_gives_up_before_the_write_leaves_nobody_waiting() {
    let collector = Collector::default();
    let stream = Stream::new(collector.clone());
    let gone = stream.append(b"gone\n", Room::All).now_or_never();
    assert!(gone.is_none(), "it gave its turn to others first");
    stream.append(b"here\n", Room::All).await.unwrap();
    assert_eq!(collector.state().writes.concat(), "gone\nhere\n");
}

/// A pipe whose reader takes nothing holds up those who write, and nothing else of this one thread.
#[tokio::test]
async fn a_pipe_that_is_full_takes_the_rest_when_it_is_read() {
    let (sender, mut reader) = pipe().unwrap();
    let stream = Stream::piped(sender);
    let line = [&b"x".repeat(400_000)[..], b"\n"].concat();
    let mut lines = JoinSet::new();
    for _ in 0..3 {
        let (stream, line) = (stream.clone(), line.clone());
        lines.spawn(async move { stream.append(&line, Room::All).await });
    }
    for _ in 0..20 {
        yield_now().await;
    }
    assert!(lines.try_join_next().is_none(), "more than a pipe holds");
    let mut read = vec![0; 3 * line.len()];
    reader.read_exact(&mut read).await.unwrap();
    for outcome in lines.join_all().await {
        outcome.unwrap();
    }
    assert_eq!(read, line.repeat(3));
}

#[tokio::test]
async fn a_reader_that_is_late_holds_nobody_up() {
    let (sender, _reader) = pipe().unwrap();
    let stream = Stream::piped(sender);
    let line = [&b"x".repeat(999)[..], b"\n"].concat();
    for count in 0..1000 {
        let mut line = std::pin::pin!(stream.append(&line, Room::All));
        let mut polls = 0;
        while line.as_mut().now_or_never().is_none() {
            polls += 1;
            assert!(
                polls < 100,
                "nothing is read, and the line after {count} waits"
            );
            yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_read_who_comes_is_told_so_or_waits_for_nothing() {
    let (sender, mut reader) = pipe().unwrap();
    let stream = Stream::piped(sender);
    let large = [&b"x".repeat(2 * ROOM)[..], b"\n"].concat();
    let (first, line) = (stream.clone(), large.clone());
    let held = tokio::spawn(async move { first.append(&line, Room::All).await });
    while stream.0.queue().begun.is_none() || !stream.0.queue().lines.is_empty() {
        yield_now().await;
    }
    stream.has_room().unwrap();
    advance(STALL).await;
    let room = stream.has_room();
    assert!(matches!(room, Err(AuditError::Stalled)), "{room:?}");
    let refused = stream.append(b"refused\n", Room::Half).now_or_never();
    assert!(matches!(refused, Some(Ok(()))), "{refused:?}");
    let mut read = vec![0; large.len() + b"refused\n".len()];
    reader.read_exact(&mut read).await.unwrap();
    held.await.unwrap().unwrap();
    assert!(read.ends_with(b"x\nrefused\n"), "nothing of it is lost");
    stream.has_room().unwrap();
}

#[tokio::test]
async fn without_a_reader_there_is_no_record() {
    let (sender, reader) = pipe().unwrap();
    drop(reader);
    let lost = Stream::piped(sender).append(b"lost\n", Room::All).await;
    assert!(matches!(lost, Err(AuditError::WriteRecord(_))), "{lost:?}");
}
