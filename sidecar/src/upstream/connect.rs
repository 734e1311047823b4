//! From a name to a TLS connection, each step within its time.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, client::Resumption, crypto::CryptoProvider, version::TLS13};
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    address::Addresses,
    error::{Step, UpstreamError},
};
use crate::{
    config::Operator,
    trust::{Bundle, Trust, roots},
};

/// The sending half of a connection; the connection ends when it is dropped.
pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// A connection to a replica of the operator.
#[derive(Debug)]
pub(super) struct Connection {
    pub sender: Sender,
    /// The address that it was opened to.
    pub peer: SocketAddr,
}

/// Whom the operator is trusted by.
#[derive(Debug)]
pub(super) struct Connector {
    operator: Operator,
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
    trusting: Option<Trusting>,
}

/// A client configuration and the bytes that it was made from.
#[derive(Debug)]
struct Trusting {
    pem: Vec<u8>,
    config: Arc<ClientConfig>,
}

/// Opens connections to an operator that the trust bundle of one moment vouches for.
#[derive(Clone)]
pub(super) struct Dialer {
    operator: Arc<str>,
    name: ServerName<'static>,
    tls: TlsConnector,
}

/// Addresses that are dialed, each once, until enough of them were heard of.
pub(super) struct Race {
    dialer: Dialer,
    left: std::vec::IntoIter<SocketAddr>,
    dials: JoinSet<Result<Opened, UpstreamError>>,
    /// Why nobody was reached.
    last: UpstreamError,
}

/// The halves of connections that hyper drives. Those whose [`Sender`] is gone say goodbye and end.
#[derive(Debug, Default)]
pub(super) struct Drivers(Mutex<JoinSet<()>>);

impl Connector {
    pub(super) fn new(operator: Operator, trust: Arc<Trust>) -> Self {
        Self {
            operator,
            trust,
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            trusting: None,
        }
    }

    /// What opens connections with the trust bundle of this moment.
    pub(super) fn dialer(&mut self) -> Result<Dialer, UpstreamError> {
        Ok(Dialer {
            operator: self.operator.to_string().into(),
            name: self.operator.name(),
            tls: TlsConnector::from(self.trusting()?),
        })
    }

    /// The client configuration for the trust bundle of this moment.
    fn trusting(&mut self) -> Result<Arc<ClientConfig>, UpstreamError> {
        let Bundle { pem, .. } = self.trust.bundle()?;
        if let Some(known) = &self.trusting
            && known.pem == pem
        {
            return Ok(Arc::clone(&known.config));
        }
        let roots = roots(&pem)?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(UpstreamError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A session that was resumed would outlive the trust that it was opened under.
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        self.trusting = Some(Trusting {
            pem,
            config: Arc::clone(&config),
        });
        Ok(config)
    }
}

impl Dialer {
    /// A connection to the first of these addresses that answers; which one is `note`d while it is tried.
    pub(super) async fn open(
        &self,
        addresses: &mut Addresses,
        drivers: &Drivers,
        note: impl Fn(SocketAddr),
    ) -> Result<Connection, UpstreamError> {
        let opened = self.reach(addresses, note).await;
        if opened.is_err() {
            addresses.doubt();
        }
        Ok(drivers.drive(opened?))
    }

    async fn reach(
        &self,
        addresses: &mut Addresses,
        note: impl Fn(SocketAddr),
    ) -> Result<Opened, UpstreamError> {
        let known = addresses.resolve().await?;
        let each = CONNECT / u32::try_from(known.len()).unwrap_or(1).max(1);
        let mut last = None;
        for &address in known {
            note(address);
            match self.connect(address, each).await {
                Ok(tcp) => return self.agree(tcp, address).await,
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| addresses.none()))
    }

    /// All of these addresses, but `not` that one, unless it is the only one.
    pub(super) async fn race(
        &self,
        addresses: &mut Addresses,
        not: Option<SocketAddr>,
    ) -> Result<Race, UpstreamError> {
        // The replicas' addresses change with each of their restarts.
        addresses.doubt();
        let mut left = addresses.resolve().await?.to_vec();
        if left.len() > 1 {
            left.retain(|address| not != Some(*address));
        }
        Ok(Race {
            dialer: self.clone(),
            left: left.into_iter(),
            dials: JoinSet::new(),
            last: addresses.none(),
        })
    }

    async fn connect(
        &self,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<TcpStream, UpstreamError> {
        let connected = within(limit, Step::Connect, TcpStream::connect(address)).await?;
        connected.map_err(|source| UpstreamError::Connect {
            operator: self.operator.to_string(),
            source,
        })
    }

    async fn agree(&self, tcp: TcpStream, peer: SocketAddr) -> Result<Opened, UpstreamError> {
        // Boxed at once: it is large, and on its way to hyper it is moved a dozen times.
        let handshake = async { Ok(Box::new(self.tls.connect(self.name.clone(), tcp).await?)) };
        let tls = within(TLS, Step::Handshake, handshake)
            .await?
            .map_err(|source| UpstreamError::Handshake {
                operator: self.operator.to_string(),
                source,
            })?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(UpstreamError::Exchange)?;
        Ok((Connection { sender, peer }, driver))
    }
}

impl Race {
    /// A connection to whichever address agrees on TLS first, and the race of the others; each has a head
    /// start over the next. The kernel of a stopped process goes on connecting, so that TLS is the first
    /// sign of life.
    pub(super) async fn next(
        mut self,
        drivers: &Drivers,
    ) -> Result<(Connection, Self), UpstreamError> {
        loop {
            if let Some(address) = self.left.next() {
                let dialer = self.dialer.clone();
                self.dials.spawn(async move {
                    let tcp = dialer.connect(address, CONNECT).await?;
                    dialer.agree(tcp, address).await
                });
            }
            tokio::select! {
                biased;
                Some(dialed) = self.dials.join_next() => match dialed {
                    Ok(Ok(opened)) => return Ok((drivers.drive(opened), self)),
                    Ok(Err(error)) => self.last = error,
                    // It panicked, and the log has the place: there is no connection.
                    Err(_panicked) => {}
                },
                () = sleep(HEAD_START), if self.left.len() > 0 => {}
                else => return Err(self.last),
            }
        }
    }
}

impl Drivers {
    fn drive(&self, (connection, driver): Opened) -> Connection {
        let mut drivers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while drivers.try_join_next().is_some() {}
        drivers.spawn(async move {
            // What went wrong here is told to the one who waits for an answer.
            driver.await.unwrap_or_default();
        });
        connection
    }
}

type Opened = (Connection, Driver);
type Stream = Box<tokio_rustls::client::TlsStream<TcpStream>>;
type Driver = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

pub(super) async fn within<F: Future>(
    limit: Duration,
    step: Step,
    future: F,
) -> Result<F::Output, UpstreamError> {
    timeout(limit, future)
        .await
        .map_err(|_elapsed| UpstreamError::TooSlow { step, limit })
}

pub(super) const CONNECT: Duration = Duration::from_secs(5);
const TLS: Duration = Duration::from_secs(5);
const HEAD_START: Duration = Duration::from_millis(100);
const BUFFER: usize = 16 * 1024;
