//! Cuts off who sends the head of a request slowly, without cutting off who is merely silent between two.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// What a connection is at. It begins with a head that is on its way.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU8);

const HEAD: u8 = 0;
const SERVING: u8 = 1;
const RESTING: u8 = 2;

impl Pace {
    /// A head is complete.
    pub(super) fn serve(&self) {
        self.0.store(SERVING, Ordering::Release);
    }

    /// Its answer is on the way: the next byte begins a head.
    pub(super) fn rest(&self) {
        self.0.store(RESTING, Ordering::Release);
    }

    fn begins_head(&self) -> bool {
        self.0
            .compare_exchange(RESTING, HEAD, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn reads_head(&self) -> bool {
        self.0.load(Ordering::Acquire) == HEAD
    }
}

/// A stream whose heads have a deadline: counted from the first byte, and for the first one from the
/// beginning of the connection.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Arc<Pace>, limit: Duration) -> Self {
        Self {
            stream,
            pace,
            limit,
            deadline: Box::pin(sleep(limit)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > before && this.pace.begins_head() {
            this.deadline.as_mut().reset(Instant::now() + this.limit);
        }
        if this.pace.reads_head() && this.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(read)?;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
