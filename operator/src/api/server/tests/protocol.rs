//! HTTP/1.1 is all that is spoken.

use hallpass_core::name::Namespace;
use kube::{Client, client::Body as KubeBody};
use rustls::AlertDescription;

use super::*;
use crate::{
    config::{Engine, Names},
    telemetry::Metrics,
    tls::Authority,
};

/// A server that offers what the operator's own does.
async fn offering() -> Server {
    let never = tower::service_fn(async |_: http::Request<KubeBody>| {
        std::future::pending::<Result<http::Response<KubeBody>, Infallible>>().await
    });
    let name = |text| Namespace::parse(text).unwrap();
    let names = Names::new(name("hallpass"), name("hallpass-system"));
    let client = Client::new(never, "hallpass-system");
    let authority = Authority::new(client, names, Engine::AdmissionPolicy, Metrics::new());
    let offered = authority.server_config().unwrap().alpn_protocols;
    let (tls, connector) = tls();
    let mut tls = Arc::unwrap_or_clone(tls);
    tls.alpn_protocols = offered;
    let router = Router::new().route("/", get(async || "here"));
    serving_over(short(), Arc::new(tls), connector, router).await
}

impl Server {
    /// A connection of a client that speaks these.
    async fn speaking(&self, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let mut client = (**self.connector.config()).clone();
        client.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        connector.connect(name, self.tcp().await).await
    }
}

#[tokio::test]
async fn t39_a_client_that_speaks_http_2_alone_gets_no_connection() {
    let server = offering().await;
    let stream = server.speaking(&["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    drop(stream);
    let mut refused = server.speaking(&["h2"]).await;
    if let Ok(stream) = &mut refused {
        // The client of TLS 1.3 is done before it hears of it.
        let read = stream.read_u8().await;
        refused = read.map(|byte| panic!("answered with {byte}"));
    }
    let error = refused.unwrap_err();
    let alert = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(error.get_ref().unwrap().to_string(), alert.to_string());
    server.answers_another().await;
}

#[tokio::test]
async fn t39_who_speaks_http_2_unasked_is_cut_off() {
    let server = offering().await;
    let mut stream = server.connect().await.unwrap();
    // The preface, and an empty frame of settings.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.unwrap();
    let mut answer = Vec::new();
    drop(
        timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
            .await
            .expect("cut off"),
    );
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 400"),
        "{text}"
    );
    server.answers_another().await;
}
