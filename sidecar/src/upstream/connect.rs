//! From a name to a TLS connection, each step within its time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, client::Resumption, crypto::CryptoProvider, version::TLS13,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::error::{Step, UpstreamError};
use crate::{config::Operator, identity::Identity};

/// The sending half of a connection; the connection ends when it is dropped.
pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// Opens connections to the operator.
#[derive(Debug)]
pub(crate) struct Connector {
    operator: Operator,
    identity: Identity,
    provider: Arc<CryptoProvider>,
    trust: Option<Trust>,
    /// Where the operator was last reached. The name behind it is a Service, whose address stays; a
    /// look-up asks up to eight questions, and the pods are many.
    addresses: Vec<SocketAddr>,
    /// The halves that hyper drives. Those whose [`Sender`] is gone say goodbye and end.
    connections: JoinSet<()>,
}

/// A client configuration and the bytes that it was made from.
#[derive(Debug)]
struct Trust {
    pem: Vec<u8>,
    config: Arc<ClientConfig>,
}

impl Connector {
    pub(crate) fn new(operator: Operator, identity: Identity) -> Self {
        Self {
            operator,
            identity,
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            trust: None,
            addresses: Vec::new(),
            connections: JoinSet::new(),
        }
    }

    /// A new connection, to an operator that the trust bundle of this moment vouches for.
    pub(crate) async fn open(&mut self) -> Result<Sender, UpstreamError> {
        while self.connections.try_join_next().is_some() {}
        let connector = TlsConnector::from(self.trusting()?);
        let opened = self.dial(&connector).await;
        if opened.is_err() {
            self.addresses.clear();
        }
        let (sender, connection) = opened?;
        self.connections.spawn(async move {
            // What went wrong here is told to the one who waits for an answer.
            connection.await.unwrap_or_default();
        });
        Ok(sender)
    }

    async fn dial(&mut self, connector: &TlsConnector) -> Result<(Sender, Driver), UpstreamError> {
        let tcp = self.reach().await?;
        let handshake = connector.connect(self.operator.name(), tcp);
        let tls = within(TLS, Step::Handshake, handshake)
            .await?
            .map_err(|source| UpstreamError::Handshake {
                operator: self.operator.to_string(),
                source,
            })?;
        http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(UpstreamError::Exchange)
    }

    /// Connects to the first address that answers.
    async fn reach(&mut self) -> Result<TcpStream, UpstreamError> {
        if self.addresses.is_empty() {
            self.addresses = self.resolve().await?;
        }
        let each = CONNECT / u32::try_from(self.addresses.len()).unwrap_or(1).max(1);
        let mut last = UpstreamError::NoAddress {
            host: self.operator.host().to_owned(),
        };
        for &address in &self.addresses {
            match within(each, Step::Connect, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(source)) => {
                    last = UpstreamError::Connect {
                        operator: self.operator.to_string(),
                        source,
                    };
                }
                Err(too_slow) => last = too_slow,
            }
        }
        Err(last)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, UpstreamError> {
        let lookup = lookup_host((self.operator.host(), self.operator.port()));
        let addresses = within(CONNECT, Step::Resolve, lookup)
            .await?
            .map_err(|source| UpstreamError::Resolve {
                host: self.operator.host().to_owned(),
                source,
            })?;
        Ok(addresses.take(ADDRESSES).collect())
    }

    /// The client configuration for the trust bundle of this moment.
    fn trusting(&mut self) -> Result<Arc<ClientConfig>, UpstreamError> {
        let pem = self.identity.trust()?;
        if let Some(trust) = &self.trust
            && trust.pem == pem
        {
            return Ok(Arc::clone(&trust.config));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(UpstreamError::ParseTrust)?;
            roots.add(certificate).map_err(UpstreamError::UseTrust)?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(UpstreamError::UseTrust)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A session that was resumed would outlive the trust that it was opened under.
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        self.trust = Some(Trust {
            pem,
            config: Arc::clone(&config),
        });
        Ok(config)
    }
}

type Driver = http1::Connection<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>, Full<Bytes>>;

async fn within<F: Future>(
    limit: Duration,
    step: Step,
    future: F,
) -> Result<F::Output, UpstreamError> {
    timeout(limit, future)
        .await
        .map_err(|_elapsed| UpstreamError::TooSlow { step, limit })
}

const CONNECT: Duration = Duration::from_secs(5);
const TLS: Duration = Duration::from_secs(5);
const ADDRESSES: usize = 4;
const BUFFER: usize = 16 * 1024;
