//! The port for the kubelet and for Prometheus: plain HTTP/1.1, nothing secret.

use std::{sync::Arc, time::Duration};

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
};
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

/// Serves until it is dropped. A client that sends no request within [`HEADER_TIMEOUT`] is cut off,
/// and no more than [`CONNECTIONS`] are open at once, [`PER_ADDRESS`] of one address: whoever would keep
/// the kubelet out would have it restart this program.
pub async fn serve(listener: TcpListener, router: Router) {
    let shares = Shares::new(PER_ADDRESS);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
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
                        converse(stream, router).await;
                        drop((permit, share));
                    });
                }
            }
            Err(error) => {
                warn!(error = %Chain(&error), "a connection to the metrics port was not accepted");
                // Out of descriptors, as a rule: without a pause this would be a busy loop.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    let conversation =
        http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = conversation.await {
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

/// Longer than Prometheus's usual pause between two scrapes is not needed: it connects anew.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 256;
const PER_ADDRESS: usize = 8;
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
        for _ in 0..CONNECTIONS {
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
        let read = timeout(HEADER_TIMEOUT / 2, stream.read_to_string(&mut answer)).await;
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
        for _ in 0..=CONNECTIONS {
            assert_eq!(ask("/panic").await, "");
        }
        let answer = ask("/healthz").await;
        assert!(answer.ends_with("ok\n"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            listener,
            router(Metrics::new(), Readiness::default()),
        ));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(HEADER_TIMEOUT * 2, stream.read_to_end(&mut answer)).await;
        assert_eq!(read.expect("cut off in time").unwrap(), 0);
    }
}
