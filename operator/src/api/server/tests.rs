//! Over real sockets and real TLS, with short limits. Who is cut off gives back the only slot: that
//! another caller is answered shows it.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{body::Bytes, routing::get};
use http_body_util::BodyExt;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::date::clock;
use super::*;

mod date;
mod protocol;

/// More than the kernel buffers of both sides hold.
const LARGE: usize = 8 * 1024 * 1024;

struct Server {
    port: u16,
    connector: TlsConnector,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

fn short() -> ConnectionLimits {
    ConnectionLimits {
        connections: 1,
        per_address: 8,
        handshake: Duration::from_millis(500),
        head: Duration::from_millis(300),
        idle: Duration::from_secs(60),
        write: Duration::from_millis(300),
        drain: Duration::from_secs(5),
    }
}

/// Answers with the address that it is asked from.
#[derive(Clone)]
struct Who(Option<IpAddr>);

impl Service<Request> for Who {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok(Response::new(format!("{:?}", self.0).into())))
    }
}

impl Answers for Who {
    fn asked_from(self, address: IpAddr) -> Self {
        Self(Some(address))
    }
}

async fn server(limits: ConnectionLimits) -> Server {
    let router = Router::new()
        .route("/", get(async || "here"))
        .route(
            "/panic",
            get(async || -> &'static str { panic!("injected") }),
        )
        .route("/large", get(async || Bytes::from(vec![b'x'; LARGE])))
        .route(
            "/body",
            axum::routing::post(async |body: Body| {
                match timeout(Duration::from_millis(300), body.collect()).await {
                    Ok(_) => "read",
                    Err(_) => "slow",
                }
            }),
        )
        .route(
            "/wait",
            get(async || {
                sleep(Duration::from_millis(300)).await;
                "waited"
            }),
        );
    serving(limits, router).await
}

async fn serving(limits: ConnectionLimits, service: impl Answers) -> Server {
    let (tls, connector) = tls();
    serving_over(limits, tls, connector, service).await
}

async fn serving_over(
    limits: ConnectionLimits,
    tls: Arc<ServerConfig>,
    connector: TlsConnector,
    service: impl Answers,
) -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve_within(limits, listener, tls, service, clock, async {
        drop(stopped.await);
    }));
    Server {
        port,
        connector,
        stop: Some(stop),
        task,
    }
}

fn tls() -> (Arc<ServerConfig>, TlsConnector) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = || Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), TlsConnector::from(Arc::new(client)))
}

impl Server {
    /// A connection with a small receive buffer: what is not read stays with the server.
    async fn tcp(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket
            .connect(([127, 0, 0, 1], self.port).into())
            .await
            .unwrap()
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, self.tcp().await).await
    }

    /// A whole request on a connection of its own.
    async fn ask(&self, path: &str) -> String {
        let mut stream = self.connect().await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Fails the test if the server does not get to the next caller.
    async fn answers_another(&self) {
        let answer = timeout(Duration::from_secs(20), self.ask("/"))
            .await
            .expect("the slot came free");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn serves_requests_one_after_the_other_on_one_connection() {
    let server = server(short()).await;
    let mut stream = server.connect().await.unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn who_answers_is_told_which_address_asks() {
    let server = serving(short(), Who(None)).await;
    let answer = server.ask("/").await;
    assert!(answer.ends_with("Some(127.0.0.1)"), "{answer}");
}

/// It would be the last one, or the last of that address, if it kept what it has.
#[tokio::test]
async fn f22_a_connection_that_a_panic_ends_gives_back_its_place() {
    let server = server(short()).await;
    for _ in 0..=short().per_address {
        let mut stream = server.connect().await.unwrap();
        let request = b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert_eq!(answer, b"");
    }
    server.answers_another().await;
}

#[tokio::test]
async fn t39_cuts_off_who_never_shakes_hands() {
    let server = server(short()).await;
    let _silent = server.tcp().await;
    server.answers_another().await;
}

#[tokio::test]
async fn t39_cuts_off_who_sends_a_head_slowly() {
    let server = server(short()).await;
    let mut slow = server.connect().await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    server.answers_another().await;
    let mut rest = Vec::new();
    drop(slow.read_to_end(&mut rest).await);
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn t39_cuts_off_who_sends_a_body_slowly() {
    let server = server(short()).await;
    let mut slow = server.connect().await.unwrap();
    slow.write_all(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nx")
        .await
        .unwrap();
    server.answers_another().await;
    let mut answer = Vec::new();
    drop(slow.read_to_end(&mut answer).await);
    assert!(answer.ends_with(b"slow"));
}

#[tokio::test]
async fn t39_cuts_off_who_does_not_read_the_answer() {
    let server = server(short()).await;
    let mut slow = server.connect().await.unwrap();
    slow.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    server.answers_another().await;
    let mut answer = Vec::new();
    drop(slow.read_to_end(&mut answer).await);
    assert!(answer.len() < LARGE, "{}", answer.len());
    assert!(server.ask("/large").await.len() > LARGE);
}

#[tokio::test]
async fn t39_closes_a_connection_that_is_silent_for_too_long() {
    let server = server(ConnectionLimits {
        idle: Duration::from_millis(400),
        ..short()
    })
    .await;
    let mut stream = server.connect().await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    server.answers_another().await;
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(answer.ends_with(b"here"));
}

#[tokio::test]
async fn t39_one_address_does_not_take_all_connections() {
    let server = server(ConnectionLimits {
        connections: 4,
        per_address: 2,
        ..short()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        held.push(stream);
    }
    assert!(server.connect().await.is_err(), "the third is closed");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let other = socket
        .connect(([127, 0, 0, 1], server.port).into())
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    assert!(server.connector.connect(name, other).await.is_ok());
    held.pop();
    server.answers_another().await;
}

#[tokio::test]
async fn t39_refuses_a_head_that_is_too_large() {
    let server = server(short()).await;
    let mut stream = server.connect().await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(HEAD_SIZE)
    );
    drop(stream.write_all(head.as_bytes()).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(
        answer.starts_with(b"HTTP/1.1 431"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    server.answers_another().await;
}

#[tokio::test]
async fn finishes_open_requests_at_shutdown_and_takes_no_new_ones() {
    let mut server = server(ConnectionLimits {
        connections: 8,
        ..short()
    })
    .await;
    let mut idle = server.connect().await.unwrap();
    let mut busy = server.connect().await.unwrap();
    for stream in [&mut idle, &mut busy] {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    }
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    // The server has read it once it has answered somebody who came later.
    server.answers_another().await;
    drop(server.stop.take());
    let mut answer = Vec::new();
    drop(busy.read_to_end(&mut answer).await);
    assert!(answer.ends_with(b"waited"));
    timeout(Duration::from_secs(20), &mut server.task)
        .await
        .unwrap()
        .unwrap();
    let mut rest = Vec::new();
    drop(idle.read_to_end(&mut rest).await);
    assert_eq!(rest, b"");
    let refused = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let limits = ConnectionLimits {
        drain: Duration::from_millis(50),
        write: Duration::from_secs(600),
        ..short()
    };
    let mut server = server(limits).await;
    let mut slow = server.connect().await.unwrap();
    slow.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    slow.read_exact(&mut [0; 1024]).await.unwrap();
    drop(server.stop.take());
    timeout(Duration::from_secs(20), &mut server.task)
        .await
        .unwrap()
        .unwrap();
}
