//! Questions over real sockets and real TLS, to the router's own answer and to others.

use axum::{Router, routing::get};
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;

const NAME: &str = "hallpass.hallpass-system.svc";

/// A replica that gives that answer under a certificate for `name`.
struct Replica {
    address: SocketAddr,
    trust: Arc<ClientConfig>,
    _task: JoinHandle<()>,
}

async fn replica(name: &str, answer: &'static str) -> Replica {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = || Arc::new(aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let trust = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route(PATH, get(move || async move { answer }));
    let never = std::future::pending();
    Replica {
        address,
        trust: Arc::new(trust),
        _task: tokio::spawn(crate::api::serve(
            listener,
            Arc::new(tls),
            router,
            crate::clock::now,
            never,
        )),
    }
}

async fn ask(replica: &Replica) -> Result<bool, PeerError> {
    let trust = Arc::clone(&replica.trust);
    let door = Door::new(NAME.into(), move || Some(Arc::clone(&trust)));
    door.is_behind(replica.address).await
}

#[tokio::test]
async fn hears_what_the_other_replica_says() {
    let behind = replica(NAME, r#"{"behind":true}"#).await;
    assert!(ask(&behind).await.unwrap());
    let current = replica(NAME, r#"{"behind":false,"later":"more"}"#).await;
    assert!(!ask(&current).await.unwrap());
}

#[tokio::test]
async fn believes_nobody_else() {
    let other = replica("hallpass.elsewhere.svc", r#"{"behind":true}"#).await;
    assert!(matches!(ask(&other).await, Err(PeerError::Handshake(_))));
    let (one, two) = (
        replica(NAME, r#"{"behind":true}"#).await,
        replica(NAME, r#"{"behind":true}"#).await,
    );
    let mixed = Replica {
        address: one.address,
        ..two
    };
    assert!(matches!(ask(&mixed).await, Err(PeerError::Handshake(_))));
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_none() {
    let nothing = replica(NAME, "{}").await;
    assert!(matches!(ask(&nothing).await, Err(PeerError::Understand(_))));
    let long = "x".repeat(LONGEST_ANSWER + 1).leak();
    let long = replica(NAME, long).await;
    assert!(matches!(ask(&long).await, Err(PeerError::ReadAnswer(_))));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_waited_for_a_second() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let trust = replica(NAME, "{}").await.trust;
    let silent = listener.local_addr().unwrap();
    let door = Door::new(NAME.into(), move || Some(Arc::clone(&trust)));
    let asked = tokio::time::Instant::now();
    let answer = door.is_behind(silent).await;
    assert_eq!(asked.elapsed().as_secs(), 1);
    assert!(matches!(answer, Err(PeerError::NoAnswer(_))));
}
