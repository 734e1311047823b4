//! The socket of one container: bound by rename, one task per connection, a few hundred at once.

pub(crate) mod answer;
pub(crate) mod files;
pub(crate) mod http;
mod metrics;
mod negotiate;
mod ours;
mod readiness;
mod watching;

use std::{
    convert::Infallible,
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use ::http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tracing::{error, warn};

use self::{answer::Body, ours::NotOurs};
use crate::{survive::caught, telemetry::Counters};

/// A step on the way to a socket failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("cannot put a socket at {}", path.display())]
    Taken { path: PathBuf, source: NotOurs },
    #[error("cannot remove what is left at {}", path.display())]
    Clear { path: PathBuf, source: io::Error },
    #[error("cannot bind a socket at {}", path.display())]
    Bind { path: PathBuf, source: io::Error },
    #[error("cannot open {} to every user", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot move a socket to {}", path.display())]
    Publish { path: PathBuf, source: io::Error },
}

/// Binds `hallpass.sock` in `directory`.
///
/// # Guarantees
/// The name leads to a socket that listens, open to every user, from the moment it is there. What a
/// killed predecessor left behind is replaced, and nothing else is.
pub(crate) fn bind(directory: &Path) -> Result<UnixListener, SocketError> {
    let path = directory.join(SOCKET);
    let temporary = directory.join(TEMPORARY);
    for path in [&path, &temporary] {
        let looked = ours::check(path, ours::Kind::Socket);
        looked.map_err(|source| SocketError::Taken {
            path: path.clone(),
            source,
        })?;
    }
    match std::fs::remove_file(&temporary) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(SocketError::Clear {
                path: temporary,
                source,
            });
        }
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&temporary).map_err(|source| SocketError::Bind {
        path: temporary.clone(),
        source,
    })?;
    std::fs::set_permissions(&temporary, Permissions::from_mode(0o666)).map_err(|source| {
        SocketError::Open {
            path: temporary.clone(),
            source,
        }
    })?;
    std::fs::rename(&temporary, &path).map_err(|source| SocketError::Publish { path, source })?;
    Ok(listener)
}

/// Answers what comes in on `listener`, until `stop` says true and the open requests are finished, or
/// a second has passed.
pub(crate) async fn accept<H, F>(
    listener: Arc<UnixListener>,
    answer: H,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<bool>,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = told(&mut stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (answer, counters) = (answer.clone(), Arc::clone(&counters));
                let stop = stop.clone();
                connections.spawn(async move {
                    connection(stream, answer, &counters, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors or memory: they come back when a connection ends.
                counters.accept_errors.add();
                warn!(error = %error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        warn!("requests were still open after the last second");
    }
}

async fn connection<H, F>(
    stream: UnixStream,
    answer: H,
    counters: &Counters,
    mut stop: watch::Receiver<bool>,
) where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(async |request| {
        Ok::<_, Infallible>(caught(answer(request)).await.unwrap_or_else(|_panicked| {
            counters.panics.add();
            let problem = answer::internal();
            error!("a request panicked");
            problem
        }))
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(BUFFER);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE));
    let stream = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that went away, or wrote something else than HTTP and was told so.
        tracing::debug!(error = %error, "connection ended early");
    }
}

/// Resolves when `stop` says true, or nobody is left to say it.
pub(crate) async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// The name of the socket in each container's directory.
pub(crate) const SOCKET: &str = "hallpass.sock";
const TEMPORARY: &str = ".hallpass.sock.new";
/// At once, on one socket; the next one waits in the queue of the kernel.
const CONNECTIONS: usize = 256;
/// How long a connection may stay open without a whole request.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may take for a part of its answer.
const WRITE: Duration = Duration::from_secs(10);
const BUFFER: usize = 16 * 1024;
const DRAIN: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_panic_in_one_request_is_answered_and_the_connection_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let listener = Arc::new(bind(directory.path()).unwrap());
        let counters = Arc::new(Counters::default());
        let (_stopping, stopped) = watch::channel(false);
        let answer = async |request: Request<Incoming>| {
            assert_ne!(request.uri().path(), "/panic", "a planted panic");
            answer::whole(answer::TEXT, "fine")
        };
        let serving = accept(listener, answer, Arc::clone(&counters), stopped);
        let client = async {
            let path = directory.path().join(SOCKET);
            let mut stream = UnixStream::connect(path).await.unwrap();
            let mut read = Vec::new();
            for target in ["/panic", "/fine"] {
                let last = if target == "/fine" {
                    "connection: close\r\n"
                } else {
                    ""
                };
                let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{last}\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
            }
            stream.read_to_end(&mut read).await.unwrap();
            String::from_utf8(read).unwrap()
        };
        let text = tokio::select! {
            text = client => text,
            () = serving => panic!("the socket is closed"),
        };
        assert!(
            text.starts_with("HTTP/1.1 500 ") && text.contains(r#""code":"Internal""#),
            "{text}"
        );
        assert!(
            text.contains("HTTP/1.1 200 ") && text.ends_with("fine"),
            "{text}"
        );
        assert_eq!(counters.panics.read(), 1);
    }
}
