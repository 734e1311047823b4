//! One question to another replica: whether it is behind as well.

use std::{fmt, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::body::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// How other replicas are reached.
pub struct Door {
    name: String,
    trust: Box<Trust>,
}

type Trust = dyn Fn() -> Option<Arc<ClientConfig>> + Send + Sync;

/// Why another replica gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("its Lease does not say where it is")]
    NoAddress,
    #[error("the CA has not been read yet")]
    NoTrust,
    #[error("name the replicas")]
    Name(#[source] InvalidDnsNameError),
    #[error("connect")]
    Connect(#[source] io::Error),
    #[error("agree on TLS")]
    Handshake(#[source] io::Error),
    #[error("make the request")]
    Make(#[source] http::Error),
    #[error("exchange a request and an answer")]
    Exchange(#[source] hyper::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error("read the answer")]
    ReadAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("understand the answer")]
    Understand(#[source] serde_json::Error),
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
}

#[derive(Debug, Deserialize)]
struct Answer {
    behind: bool,
}

impl Door {
    /// For replicas that serve a certificate for `name`, under the CA that `trust` has at the time.
    #[must_use]
    pub fn new(
        name: String,
        trust: impl Fn() -> Option<Arc<ClientConfig>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            trust: Box::new(trust),
        }
    }

    /// Whether the replica there says that it is behind.
    pub(super) async fn is_behind(&self, address: SocketAddr) -> Result<bool, PeerError> {
        let answer = timeout(LIMIT, self.ask(address)).await;
        answer.map_err(|_elapsed| PeerError::NoAnswer(LIMIT))?
    }

    async fn ask(&self, address: SocketAddr) -> Result<bool, PeerError> {
        let trust = (self.trust)().ok_or(PeerError::NoTrust)?;
        let name = ServerName::try_from(self.name.clone()).map_err(PeerError::Name)?;
        let request = Request::get(PATH)
            .header(HOST, &self.name)
            .body(Empty::<Bytes>::new())
            .map_err(PeerError::Make)?;
        let tcp = TcpStream::connect(address)
            .await
            .map_err(PeerError::Connect)?;
        let tls = TlsConnector::from(trust).connect(name, tcp).await;
        let tls = TokioIo::new(tls.map_err(PeerError::Handshake)?);
        let (mut sender, connection) = http1::handshake(tls).await.map_err(PeerError::Exchange)?;
        // The connection moves only while somebody waits for the answer, and ends with that.
        let mut exchange = pin!(async {
            let response = sender.send_request(request).await;
            read(response.map_err(PeerError::Exchange)?).await
        });
        tokio::select! {
            answer = &mut exchange => answer,
            ended = connection => {
                ended.map_err(PeerError::Exchange)?;
                // What it brought before it ended is still to be read.
                exchange.await
            }
        }
    }
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Result<bool, PeerError> {
    if response.status() != StatusCode::OK {
        return Err(PeerError::Refused(response.status()));
    }
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
    let body = body.await.map_err(PeerError::ReadAnswer)?.to_bytes();
    let answer: Answer = serde_json::from_slice(&body).map_err(PeerError::Understand)?;
    Ok(answer.behind)
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

const PATH: &str = "/v1/replica";

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(1);

/// More than any answer has.
const LONGEST_ANSWER: usize = 1024;

#[cfg(test)]
mod tests;
