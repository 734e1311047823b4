//! The operator's API as a client outside of any sidecar meets it: curl, the trust bundle, a bearer.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    authority::published,
    cluster::{Cluster, IDENTITY_AUDIENCE, RELEASE},
    command::{kubectl, run},
    pod::Answer,
};

/// The operator's API behind its Service, or of one replica, verified against the published trust
/// bundle.
#[derive(Debug)]
pub struct OperatorApi {
    address: String,
    port: u16,
    trust: NamedTempFile,
}

/// An answer with its head.
#[derive(Debug, Clone)]
pub struct Reply {
    head: String,
    /// The rest of it.
    pub answer: Answer,
}

impl Reply {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    }

    /// The problem document of a refusal with that status and code, which names its request twice.
    ///
    /// # Errors
    /// It is none, or another.
    pub fn refused(&self, status: u16, code: &str) -> Result<Value> {
        let problem = self.answer.json()?;
        ensure!(
            (self.answer.status, &problem["code"]) == (status, &json!(code)),
            "not {status} {code}: {self:?}"
        );
        ensure!(
            self.header("content-type") == Some("application/problem+json")
                && problem["status"] == status
                && problem["title"].is_string(),
            "no problem document: {self:?}"
        );
        let request = problem["request_id"].as_str();
        ensure!(
            request.is_some_and(|id| !id.is_empty()) && request == self.header("x-request-id"),
            "the request is not named: {self:?}"
        );
        Ok(problem)
    }
}

impl OperatorApi {
    /// Looks the address and the trust bundle up.
    ///
    /// # Errors
    /// One of them is not there.
    pub async fn find() -> Result<Self> {
        let args = [
            "get",
            "service",
            "hallpass",
            "-n",
            RELEASE,
            "-o",
            "jsonpath={.spec.clusterIP}",
        ];
        Self::at(kubectl(&args).await?.success()?, 443).await
    }

    /// What the Service for the world outside reaches.
    ///
    /// # Errors
    /// It is not there, or there is no trust bundle.
    pub async fn outside() -> Result<Self> {
        let path = "jsonpath={.spec.clusterIP}";
        let args = [
            "get",
            "service",
            "hallpass-issuer",
            "-n",
            RELEASE,
            "-o",
            path,
        ];
        Self::at(kubectl(&args).await?.success()?, 443).await
    }

    /// The API of the replica at that address.
    ///
    /// # Errors
    /// There is no trust bundle.
    pub async fn of_replica(address: &str) -> Result<Self> {
        Self::at(address.to_owned(), 8443).await
    }

    async fn at(address: String, port: u16) -> Result<Self> {
        let mut trust = NamedTempFile::new()?;
        trust.write_all(published().await?.as_bytes())?;
        Ok(Self {
            address,
            port,
            trust,
        })
    }

    /// A request with further arguments for curl, whose answer's head matters.
    ///
    /// # Errors
    /// curl got no answer.
    pub async fn reply(&self, curl: &[&str], path: &str) -> Result<Reply> {
        let head = NamedTempFile::new()?;
        let dump = head.path().to_str().context("a path in UTF-8")?;
        let answer = self.ask(&[&["-D", dump], curl].concat(), path).await?;
        let head = std::fs::read_to_string(head.path()).context("read the head")?;
        Ok(Reply { head, answer })
    }

    /// The authority of its certificate, in PEM.
    #[must_use]
    pub fn ca(&self) -> &Path {
        self.trust.path()
    }

    /// A connection on which nothing was sent yet.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        self.over(self.dial().await?).await
    }

    /// The same over a connection that was dialled.
    ///
    /// # Errors
    /// The other side is not who it should be.
    pub async fn over(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.trust.path())? {
            roots.add(certificate?)?;
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(format!("hallpass.{RELEASE}.svc"))?;
        let tls = TlsConnector::from(Arc::new(config));
        tls.connect(name, stream).await.context("shake hands")
    }

    /// A connection without TLS.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn dial(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect((self.address.as_str(), self.port)).await;
        stream.context("connect to the operator")
    }

    /// A connection without TLS that comes from that address of this machine, and is read from in small bites.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn dial_from(&self, address: Ipv4Addr) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(SMALL)?;
        socket.bind((address, 0).into())?;
        let operator = SocketAddr::new(self.address.parse()?, self.port);
        let stream = socket.connect(operator).await;
        stream.context("connect to the operator")
    }

    /// A request with further arguments for curl.
    ///
    /// # Errors
    /// curl got no answer.
    pub async fn ask(&self, curl: &[&str], path: &str) -> Result<Answer> {
        let host = format!("hallpass.{RELEASE}.svc");
        let connect = format!("{host}:443:{}:{}", self.address, self.port);
        let url = format!("https://{host}{path}");
        let trust = self.trust.path().to_str().context("a path in UTF-8")?;
        let fixed = [
            "-sS",
            "-m",
            "30",
            "-w",
            "\n%{http_code}",
            "--cacert",
            trust,
            "--connect-to",
            &connect,
        ];
        let said = run("curl", &[&fixed, curl, &[&url]].concat(), None)
            .await?
            .success()?;
        let (body, status) = said.rsplit_once('\n').context("curl printed no status")?;
        Ok(Answer {
            status: status.parse()?,
            body: body.to_owned(),
        })
    }

    /// `POST /v1/tokens` for these names, under that identity.
    ///
    /// # Errors
    /// curl got no answer.
    pub async fn tokens(&self, identity: &str, names: &[&str]) -> Result<Answer> {
        let bearer = format!("Authorization: Bearer {identity}");
        let body = serde_json::json!({ "names": names }).to_string();
        self.ask(
            &[
                "-H",
                &bearer,
                "-H",
                "Content-Type: application/json",
                "-d",
                &body,
            ],
            "/v1/tokens",
        )
        .await
    }

    /// `GET /v1/assignments` under that identity.
    ///
    /// # Errors
    /// curl got no answer.
    pub async fn assignments(&self, identity: &str) -> Result<Answer> {
        let bearer = format!("Authorization: Bearer {identity}");
        self.ask(&["-H", &bearer], "/v1/assignments").await
    }
}

impl Cluster {
    /// An identity token of the pod, as its node would get it for the sidecar.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn identity(&self, pod: &str, service_account: &str) -> Result<String> {
        let uid = self
            .kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
            .await?
            .success()?;
        let node = self
            .kubectl(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"])
            .await?
            .success()?;
        let (user, pod) = (
            format!("--as=system:node:{node}"),
            format!("--bound-object-name={pod}"),
        );
        let (uid, audience) = (
            format!("--bound-object-uid={uid}"),
            format!("--audience={IDENTITY_AUDIENCE}"),
        );
        let who = [
            &user,
            "--as-group=system:nodes",
            "--as-group=system:authenticated",
        ];
        let what = [
            "create",
            "token",
            service_account,
            "--bound-object-kind=Pod",
            &pod,
            &uid,
            &audience,
        ];
        Ok(self
            .kubectl(&[&who[..], &what[..]].concat())
            .await?
            .success()?
            .trim()
            .to_owned())
    }
}

/// What the kernel takes in for who does not read, in bytes.
const SMALL: u32 = 4096;
