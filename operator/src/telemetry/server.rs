//! The port for the kubelet and for Prometheus: plain HTTP/1.1, nothing secret.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tracing::warn;

use super::{Metrics, health::Readiness, log::Chain};
use crate::share::Shares;

/// The routes `/metrics`, `/healthz` and `/readyz`.
pub fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(expose).with_state(metrics))
        // Alive is whoever answers: everything else that must live ends the process when it dies.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(readiness))
}

/// How long, and how many.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at once; the next one waits in the kernel.
    connections: usize,
    /// Of those, from one address; the next one is closed at once.
    per_address: usize,
    /// From an answer to the end of the next head.
    head: Duration,
    /// For the client to take a part of an answer.
    write: Duration,
    /// From its beginning to the last answer on a connection.
    age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            per_address: 8,
            // Longer than Prometheus's usual pause between two scrapes is not needed: it connects anew.
            head: Duration::from_secs(5),
            write: Duration::from_secs(5),
            age: Duration::from_secs(60),
        }
    }
}

/// Serves until it is dropped.
///
/// # Guarantees
/// A client that is silent, reads nothing, or asks for ever loses its connection, and no one address takes all
/// of them: whoever would keep the kubelet out would have it restart this program.
pub async fn serve(listener: TcpListener, router: Router) {
    serve_within(Limits::default(), listener, router).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, router: Router) {
    let shares = Shares::new(limits.per_address);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // Closed never: the semaphore is ours alone.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                // Who has its share already is cut off.
                if let Some(share) = shares.take(address.ip(), 1) {
                    let router = router.clone();
                    connections.spawn(async move {
                        converse(limits, stream, router).await;
                        drop((permit, share));
                    });
                }
            }
            Err(error) => {
                warn!(error = %Chain(&error), "a connection to the metrics port was not accepted");
                // Out of descriptors, as a rule: without a pause this would be a busy loop.
                sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(limits: Limits, stream: TcpStream, router: Router) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head);
    let stream = TokioIo::new(Box::pin(stream));
    let mut conversation = pin!(http.serve_connection(stream, TowerToHyperService::new(router)));
    let outcome = tokio::select! {
        outcome = &mut conversation => outcome,
        () = sleep(limits.age) => {
            conversation.as_mut().graceful_shutdown();
            // The answer that is on its way may be taken, but not in crumbs.
            timeout(limits.write, conversation).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error = %Chain(&error), "a connection to the metrics port broke off");
    }
}

async fn expose(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let missing = readiness.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    let text: String = missing.iter().map(|m| format!("{m}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpSocket,
        time::timeout,
    };
    use tower::ServiceExt;

    use super::*;

    async fn get(router: Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_prints_what_is_missing() {
        let readiness = Readiness::default()
            .with("synced", || Err("no list yet".into()))
            .with("keys", || Ok(()))
            .with("certificate", || Err("the Secret is empty".into()));
        let (status, body) = get(router(Metrics::new(), readiness), "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body,
            "synced: no list yet\ncertificate: the Secret is empty\n"
        );
    }

    #[tokio::test]
    async fn readyz_is_200_when_nothing_is_missing() {
        let answer = get(router(Metrics::new(), Readiness::default()), "/readyz").await;
        assert_eq!(answer, (StatusCode::OK, "ready\n".into()));
    }

    #[tokio::test]
    async fn healthz_does_not_wait_for_readiness() {
        let readiness = Readiness::default().with("synced", || Err("no list yet".into()));
        let (status, _) = get(router(Metrics::new(), readiness), "/healthz").await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_served_over_a_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            listener,
            router(Metrics::new(), Readiness::default()),
        ));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(OPEN_METRICS), "{answer}");
        assert!(answer.contains("hallpass_leader 0\n"), "{answer}");
    }

    #[tokio::test]
    async fn t39_whoever_takes_every_place_does_not_keep_the_kubelet_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            listener,
            router(Metrics::new(), Readiness::default()),
        ));
        let mut held = Vec::new();
        for _ in 0..Limits::default().connections {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        let kubelet = TcpSocket::new_v4().unwrap();
        kubelet.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut stream = kubelet.connect(address).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        let read = timeout(
            Limits::default().head / 2,
            stream.read_to_string(&mut answer),
        )
        .await;
        read.expect("answered in time").unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
    }

    #[tokio::test]
    async fn f22_a_connection_that_a_panic_ends_gives_back_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let panics = axum::routing::any(async || -> &'static str { panic!("injected") });
        let router = router(Metrics::new(), Readiness::default()).route("/panic", panics);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, router));
        let ask = async |path: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            drop(stream.read_to_string(&mut answer).await);
            answer
        };
        for _ in 0..=Limits::default().connections {
            assert_eq!(ask("/panic").await, "");
        }
        let answer = ask("/healthz").await;
        assert!(answer.ends_with("ok\n"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn t39_a_client_that_says_nothing_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            listener,
            router(Metrics::new(), Readiness::default()),
        ));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(Limits::default().head * 2, stream.read_to_end(&mut answer)).await;
        assert_eq!(read.expect("cut off in time").unwrap(), 0);
    }

    /// With one place, and the limits of a test.
    fn short() -> Limits {
        let never = Duration::from_secs(3600);
        Limits {
            connections: 1,
            head: never,
            write: never,
            age: never,
            ..Limits::default()
        }
    }

    /// A connection that has the only place of a server, and how another client is answered.
    async fn alone(limits: Limits) -> (TcpStream, impl Future<Output = String>, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let router = router(Metrics::new(), Readiness::default());
        tasks.spawn(serve_within(limits, listener, router));
        let first = TcpStream::connect(address).await.unwrap();
        let other = async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        (first, other, tasks)
    }

    const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n";
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn t39_a_client_that_asks_again_and_again_and_reads_nothing_is_cut_off() {
        let (mut deaf, other, mut tasks) = alone(Limits {
            write: Duration::from_millis(300),
            ..short()
        })
        .await;
        tasks.spawn(async move { while deaf.write_all(SCRAPE).await.is_ok() {} });
        let answer = timeout(PATIENCE, other).await.expect("in time");
        assert!(answer.ends_with("ok\n"), "{answer}");
    }

    #[tokio::test]
    async fn t39_a_client_that_asks_for_ever_is_cut_off_after_a_whole_answer() {
        let (mut asker, other, mut tasks) = alone(Limits {
            age: Duration::from_millis(300),
            ..short()
        })
        .await;
        let mut asks = JoinSet::new();
        asks.spawn(async move {
            let mut answers = Vec::new();
            while asker.write_all(SCRAPE).await.is_ok() {
                let before = answers.len();
                while !answers[before..].ends_with(b"# EOF\n") {
                    if asker.read_buf(&mut answers).await.unwrap_or(0) == 0 {
                        return answers.split_off(before);
                    }
                }
            }
            Vec::new()
        });
        let answer = timeout(PATIENCE, other).await.expect("in time");
        assert!(answer.ends_with("ok\n"), "{answer}");
        let rest = asks.join_next().await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "", "a piece of an answer");
        tasks.shutdown().await;
    }
}
