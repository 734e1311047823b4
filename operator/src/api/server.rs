//! Brings connections in, and sees to it that nobody holds one for nothing.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use http::{HeaderValue, header::DATE};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::Service;
use tracing::{debug, error, warn};

use self::paced::{Pace, Paced};
use crate::share::{Share, Shares};

mod paced;

/// What answers every request, each by a clone of its own.
pub trait Answers:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    /// The same for what comes from that address. It is nobody's name: a node's own address may stand for all of
    /// its pods. Told once for each connection: an extension of each request would be three allocations.
    #[must_use]
    fn asked_from(self, _address: IpAddr) -> Self {
        self
    }
}

impl Answers for Router {}

/// How long, and how many.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once; the next one waits in the kernel.
    pub connections: usize,
    /// Of those, from one address; the next one is closed at once. A node's own address may stand for all
    /// of its pods.
    pub per_address: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its headers; and from the handshake to the end of
    /// the first request's headers.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For the caller to take a part of the answer.
    pub write: Duration,
    /// For open requests to end at shutdown.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            per_address: 512,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            // Longer than two polls of a sidecar.
            idle: Duration::from_secs(75),
            write: Duration::from_secs(10),
            drain: Duration::from_secs(20),
        }
    }
}

/// Serves `service` over TLS until `shutdown`, then lets open requests end, for 20 s at most.
///
/// # Guarantees
/// Each answer says what time it is by `clock`, whatever was done to it: who asks counts by that how old a token is.
/// A caller that is slow, silent or gone loses its connection; no failure of one connection ends another
/// or the loop; no one address takes all connections.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: impl Answers,
    clock: fn() -> Timestamp,
    shutdown: impl Future<Output = ()>,
) {
    serve_within(
        ConnectionLimits::default(),
        listener,
        tls,
        service,
        clock,
        shutdown,
    )
    .await;
}

/// [`serve`] with other limits.
pub async fn serve_within(
    limits: ConnectionLimits,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: impl Answers,
    clock: fn() -> Timestamp,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    let shares = Shares::new(limits.per_address);
    let acceptor = TlsAcceptor::from(tls);
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, address, slot) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                note(ended);
                continue;
            }
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some(slot) = slot else { break };
        let Some(share) = shares.take(address.ip(), 1) else {
            debug!(%address, "connection closed: its address has its share already");
            continue;
        };
        let connection = Connection {
            limits,
            acceptor: acceptor.clone(),
            service: service.clone().asked_from(address.ip()),
            clock,
            watcher: graceful.watcher(),
            _slot: slot,
            _share: share,
        };
        connections.spawn(connection.run(stream));
    }
    // No new connections while the open ones end.
    drop(listener);
    if timeout(limits.drain, graceful.shutdown()).await.is_err() {
        warn!("requests were cut off at shutdown");
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for it. Never fails: what keeps a connection from being taken,
/// such as the limit of open files, passes.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // It fails only when closed, which nobody does; the caller ends then.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address, slot),
            Err(e) => {
                warn!(error = e.to_string(), "connection not accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn note(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(e)) => debug!(error = e.to_string(), "connection ended early"),
        Err(e) => error!(error = e.to_string(), "connection task lost"),
    }
}

struct Connection<S> {
    limits: ConnectionLimits,
    acceptor: TlsAcceptor,
    service: S,
    clock: fn() -> Timestamp,
    watcher: Watcher,
    _slot: OwnedSemaphorePermit,
    _share: Share,
}

impl<S: Answers> Connection<S> {
    async fn run(self, stream: TcpStream) -> io::Result<()> {
        let Self {
            limits,
            acceptor,
            service,
            clock,
            watcher,
            _slot,
            _share,
        } = self;
        stream.set_nodelay(true)?;
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write));
        let stream = timeout(limits.handshake, acceptor.accept(Box::pin(stream))).await??;
        let pace = Arc::new(Pace::default());
        let stream = Paced::new(stream, Arc::clone(&pace), limits.head);
        let service = service_fn(move |request: Request<Incoming>| {
            pace.serve();
            let pace = Arc::clone(&pace);
            let answer = service.clone().call(request.map(Body::new));
            async move {
                let Ok(mut answer) = answer.await;
                if let Some(date) = date(clock()) {
                    answer.headers_mut().insert(DATE, date);
                }
                pace.rest();
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // Its own is one that it remembers until the clock has passed it: of a clock that was ahead and is set
            // right it tells the wrong time for as long as it was ahead. What it refuses itself has none.
            .auto_date_header(false)
            // Counts from the end of the answer before, so it is the idle time; Paced has the shorter one.
            .header_read_timeout(limits.idle)
            .max_headers(MOST_HEADERS)
            .max_buf_size(HEAD_SIZE)
            .serve_connection(TokioIo::new(stream), service);
        watcher.watch(connection).await.map_err(io::Error::other)
    }
}

/// The `Date` of an answer (RFC 9110 §6.6.1).
fn date(now: Timestamp) -> Option<HeaderValue> {
    let text = DATES.timestamp_to_rfc9110_string(&now).ok()?;
    HeaderValue::try_from(text).ok()
}

const DATES: DateTimePrinter = DateTimePrinter::new();
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const MOST_HEADERS: usize = 64;
const HEAD_SIZE: usize = 16 * 1024;

#[cfg(test)]
mod tests;
