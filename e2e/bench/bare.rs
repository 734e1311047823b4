//! The server that does nothing: what an answer costs before anybody has thought about it. It is the
//! operator's own way of serving, with the same settings, over an empty handler.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv4Addr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, atomic::AtomicUsize},
};

use anyhow::{Context as _, Result};
use axum::Router;
use hallpass_operator::clock;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{load::Target, operator::ONE_CORE};

/// The name in the certificate of the servers that are started here.
pub(crate) const NAME: &str = "bench.example";

/// A key and its certificate, in files, for servers that are started here.
#[derive(Debug)]
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    pub(crate) fn make() -> Result<Self> {
        let folder = TempDir::new()?;
        // of the same kind as the operator's
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
        std::fs::write(folder.path().join("tls.crt"), certificate.pem())?;
        std::fs::write(folder.path().join("tls.key"), key.serialize_pem())?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What takes that certificate and no other.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>> {
        trusting(&self.folder().join("tls.crt"))
    }
}

/// A client that trusts the certificates in that file.
pub(crate) fn trusting(file: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}

/// A server that was started here, and ends with this.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Held, so that it can go on printing.
    _stdout: BufReader<ChildStdout>,
    /// Its port.
    pub(crate) port: u16,
    /// The process in whose network it is.
    pub(crate) beside: u32,
}

impl Server {
    /// Starts it in the network of that process. It prints its port.
    pub(crate) fn start(beside: u32, program: &[&str]) -> Result<Self> {
        let mut child = Command::new("nsenter")
            .arg(format!("--net=/proc/{beside}/ns/net"))
            .args(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a server")?;
        let stdout = child.stdout.take().context("stdout was asked for")?;
        let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
        stdout.read_line(&mut line)?;
        let port = line.trim().parse();
        let port = port.with_context(|| format!("{program:?} prints no port but: {line}"))?;
        Ok(Self {
            child,
            _stdout: stdout,
            port,
            beside,
        })
    }

    /// Its process: what `nsenter` has become.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // it has nothing to tidy up
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The bare handler as a target, in the network of that process.
pub(crate) fn start(beside: u32, own: &Certificate) -> Result<(Server, Arc<Target>)> {
    let program = std::env::current_exe()?;
    let program = program.to_str().context("a path in UTF-8")?;
    let folder = own.folder().to_str().context("a path in UTF-8")?;
    let server = Server::start(beside, &["env", ONE_CORE, program, "bare", folder])?;
    let target = Target {
        pid: server.pid(),
        aside: Some(server.beside),
        port: server.port,
        name: ServerName::try_from(NAME)?,
        tls: own.client()?,
        write: Box::new(|_, request| request.extend_from_slice(REQUEST)),
        good: Box::new(|status, _| status == 200),
        made: AtomicUsize::new(0),
    };
    Ok((server, Arc::new(target)))
}

/// Serves, with the key and the certificate in that folder, until it is killed.
pub(crate) async fn serve(folder: &Path) -> Result<()> {
    let certificate = CertificateDer::from_pem_file(folder.join("tls.crt"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?.port())?;
    stdout.flush()?;
    let router = Router::new().fallback(|| async {});
    let never = std::future::pending();
    hallpass_operator::api::serve(listener, Arc::new(tls), router, clock::now, never).await;
    Ok(())
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n";
