//! How the operator is connected to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::Script;

/// What a replica listens on.
pub(super) struct Listener {
    pub(super) tcp: TcpListener,
    pub(super) tls: [TlsAcceptor; 2],
    pub(super) script: Arc<Mutex<Script>>,
    pub(super) replica: usize,
    pub(super) held: Vec<TcpStream>,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (tcp, address) = self.tcp.accept().await.unwrap();
            let (away, stopped, tls) = {
                let script = self.script.lock().unwrap();
                let tls = &self.tls[usize::from(script.next_ca)];
                (script.away, script.stopped[self.replica], tls.clone())
            };
            if stopped {
                self.script.lock().unwrap().held[self.replica] += 1;
                self.held.push(tcp);
                continue;
            }
            if away {
                continue;
            }
            if let Ok(tls) = tls.accept(tcp).await {
                return (tls, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// A certificate authority of its own, and a certificate by it for this machine, both valid from then on.
pub(super) fn certificates(from: Timestamp) -> (String, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let begin = rcgen::date_time_ymd(1970, 1, 1) + from.as_duration().unsigned_abs();
    let mut authority = CertificateParams::default();
    authority.not_before = begin;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let own = KeyPair::generate().unwrap();
    let names = ["127.0.0.1", "::1", NAME].map(str::to_owned);
    let mut server = CertificateParams::new(names).unwrap();
    server.not_before = begin;
    let certificate = server.signed_by(&own, &issuer).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(own.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    (ca, config)
}

/// The name that the operator has in a test of its addresses.
pub(crate) const NAME: &str = "hallpass.test";

/// Another authority that has signed nothing.
pub(crate) fn foreign_ca() -> String {
    certificates(Timestamp::UNIX_EPOCH).0
}
