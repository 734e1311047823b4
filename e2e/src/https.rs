//! A server in this process, over HTTPS by an authority of its own: what the API server and verifiers can ask.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use axum::Router;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// One that has its address, and does not answer yet.
pub struct Https {
    /// The authority of its certificate, in PEM.
    pub authority: String,
    /// Where it listens: on loopback.
    pub address: SocketAddr,
    listener: Listener,
}

/// One that answers until this is dropped.
#[derive(Debug)]
pub struct Serving(JoinHandle<()>);

impl std::fmt::Debug for Https {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Https")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Https {
    /// Listens on loopback, at a port that is free.
    ///
    /// # Errors
    /// There is no port, or no certificate.
    pub async fn open() -> Result<Self> {
        let (authority, config) = certificates()?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self {
            authority,
            address: tcp.local_addr()?,
            listener: Listener {
                tcp,
                tls: TlsAcceptor::from(Arc::new(config)),
            },
        })
    }

    /// Answers by that router.
    #[must_use]
    pub fn serve(self, router: Router) -> Serving {
        Serving(tokio::spawn(async move {
            // it ends with the task alone
            drop(axum::serve(self.listener, router).await);
        }))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An authority of its own, and a certificate by it for loopback.
fn certificates() -> Result<(String, ServerConfig)> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // of one name, the two would be one certificate that signed itself
    authority
        .distinguished_name
        .push(DnType::CommonName, "authority");
    let pem = authority.self_signed(&key)?.pem();
    let issuer = rcgen::Issuer::new(authority, key);
    let own = KeyPair::generate()?;
    let certificate =
        CertificateParams::new(vec![Ipv4Addr::LOCALHOST.to_string()])?.signed_by(&own, &issuer)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let own = PrivatePkcs8KeyDer::from(own.serialize_der());
    // no older version, as Hallpass serves none
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], own.into())
        .context("a certificate of our own")?;
    Ok((pem, config))
}

struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            // who breaks off is no concern of ours: whoever waits for an answer will say so
            if let Ok((tcp, address)) = self.tcp.accept().await
                && let Ok(tls) = self.tls.accept(tcp).await
            {
                return (tls, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
