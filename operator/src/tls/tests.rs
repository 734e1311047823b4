//! The authority against an API server that knows one Secret, one ClusterRole and one
//! ClusterTrustBundle, and fails on every call that it does not expect.

use hallpass_core::name::Namespace;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    material::tests::{DNS, now},
    *,
};

/// What the API server stores.
#[derive(Debug, Default)]
struct Cluster {
    version: u64,
    data: Value,
    bundle: Option<Value>,
    bundle_version: u64,
    /// The registration of the webhook; where there is one, there are no trust bundles.
    webhook: Option<Value>,
    secret_writes: u32,
    bundle_writes: u32,
}

type Shared = Arc<Mutex<Cluster>>;

const SECRET: &str = "/api/v1/namespaces/hallpass-system/secrets/hallpass-serving";
const BUNDLE: &str =
    "/apis/certificates.k8s.io/v1/clustertrustbundles/hallpass.dev:serving:hallpass-system";
const WEBHOOK: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hallpass-inject";
const BY_POLICY: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hallpass-inject-by-policy";
const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/hallpass-operator";

impl Cluster {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        match (method, path) {
            (&Method::GET, SECRET) => (StatusCode::OK, self.secret()),
            (&Method::PATCH, SECRET) => {
                if body["metadata"]["resourceVersion"] != json!(self.version.to_string()) {
                    return failure(StatusCode::CONFLICT, "Conflict");
                }
                self.version += 1;
                self.secret_writes += 1;
                self.data = body["data"].clone();
                (StatusCode::OK, self.secret())
            }
            (&Method::GET, ROLE) => (
                StatusCode::OK,
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "hallpass-operator", "uid": "role-uid"}}),
            ),
            (&Method::GET, WEBHOOK) => (StatusCode::OK, self.webhook.clone().unwrap()),
            (&Method::GET, BY_POLICY) => failure(StatusCode::NOT_FOUND, "NotFound"),
            (&Method::PATCH, WEBHOOK) => {
                let told = &body["webhooks"][0]["clientConfig"];
                self.webhook.as_mut().unwrap()["webhooks"][0]["clientConfig"] = told.clone();
                (StatusCode::OK, self.webhook.clone().unwrap())
            }
            (&Method::GET, BUNDLE) if self.webhook.is_none() => match &self.bundle {
                Some(bundle) => (StatusCode::OK, bundle.clone()),
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
            },
            (&Method::PATCH, BUNDLE) if self.webhook.is_none() => self.publish(body.clone()),
            (method, path) => panic!("unexpected call: {method} {path}"),
        }
    }

    fn publish(&mut self, mut body: Value) -> (StatusCode, Value) {
        let seen = &body["metadata"]["resourceVersion"];
        if !seen.is_null() && seen != &json!(self.bundle_version.to_string()) {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        self.bundle_writes += 1;
        self.bundle_version += 1;
        body["metadata"]["resourceVersion"] = json!(self.bundle_version.to_string());
        self.bundle = Some(body.clone());
        (StatusCode::CREATED, body)
    }

    fn secret(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "hallpass.dev/serving", "data": self.data,
            "metadata": {"name": "hallpass-serving", "resourceVersion": self.version.to_string()},
        })
    }
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16()}),
    )
}

fn client(cluster: &Shared) -> Client {
    let cluster = Arc::clone(cluster);
    let service = tower::service_fn(move |request: Request<Body>| {
        let cluster = Arc::clone(&cluster);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&body).unwrap()
            };
            let (status, answer) =
                cluster
                    .lock()
                    .unwrap()
                    .answer(&head.method, head.uri.path(), &body);
            let answer = Response::builder()
                .status(status)
                .body(Body::from(answer.to_string().into_bytes()));
            Ok::<_, std::convert::Infallible>(answer.unwrap())
        }
    });
    Client::new(service, "hallpass-system")
}

fn authority(cluster: &Shared) -> Authority {
    authority_for(cluster, Engine::AdmissionPolicy)
}

fn authority_for(cluster: &Shared, engine: Engine) -> Authority {
    let name = |text| Namespace::parse(text).unwrap();
    let names = Names::new(name("hallpass"), name("hallpass-system"));
    Authority::new(client(cluster), names, engine, Metrics::new())
}

fn later(days: u64) -> Timestamp {
    now() + Duration::from_secs(days * 24 * 3600)
}

/// The leaf that a client sees which trusts the published CA.
async fn leaf(cluster: &Shared, authority: &Authority) -> Vec<u8> {
    let ca = cluster.lock().unwrap().bundle.as_ref().unwrap()["spec"]["trustBundle"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    shown(authority, client).await
}

/// The leaf that such a client sees.
async fn shown(authority: &Authority, client: ClientConfig) -> Vec<u8> {
    let (near, far) = loopback().await;
    let acceptor = TlsAcceptor::from(Arc::new(authority.server_config().unwrap()));
    let server = async {
        let mut stream = acceptor.accept(far).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let client = async {
        let connector = TlsConnector::from(Arc::new(client));
        let mut stream = connector
            .connect(ServerName::try_from(DNS).unwrap(), near)
            .await
            .unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    tokio::join!(server, client).1
}

async fn loopback() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (near, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn the_leader_fills_the_secret_and_every_replica_serves_it_to_those_who_trust_the_bundle() {
    // The client looks at the clock, so this is the one test that does too.
    let now = clock::now();
    let cluster = Shared::default();
    let (leader, replica) = (authority(&cluster), authority(&cluster));
    replica.tend(false, || now).await.unwrap();
    assert_eq!(
        replica.ready(now),
        Err("the Secret hallpass-serving is still empty; the leader fills it".into())
    );
    leader.tend(true, || now).await.unwrap();
    replica.tend(false, || now).await.unwrap();
    assert_eq!((leader.ready(now), replica.ready(now)), (Ok(()), Ok(())));
    assert_eq!(
        leaf(&cluster, &leader).await,
        leaf(&cluster, &replica).await
    );
    assert_eq!(cluster.lock().unwrap().secret_writes, 1);
}

#[tokio::test]
async fn each_replica_trusts_what_the_others_serve() {
    let now = clock::now();
    let cluster = Shared::default();
    let (leader, replica) = (authority(&cluster), authority(&cluster));
    assert!(replica.trust().is_none());
    leader.tend(true, || now).await.unwrap();
    replica.tend(false, || now).await.unwrap();
    let trust = ClientConfig::clone(&replica.trust().unwrap());
    assert_eq!(shown(&leader, trust).await, leaf(&cluster, &leader).await);
}

#[tokio::test]
async fn a_renewed_certificate_is_picked_up_under_the_same_ca() {
    let now = clock::now();
    let half = now - Duration::from_secs(46 * 24 * 3600);
    let cluster = Shared::default();
    let (leader, replica) = (authority(&cluster), authority(&cluster));
    leader.tend(true, || half).await.unwrap();
    replica.tend(false, || half).await.unwrap();
    let old = leaf(&cluster, &replica).await;
    leader.tend(true, || now).await.unwrap();
    replica.tend(false, || now).await.unwrap();
    assert_ne!(leaf(&cluster, &replica).await, old);
    let cluster = cluster.lock().unwrap();
    assert_eq!((cluster.secret_writes, cluster.bundle_writes), (2, 1));
}

#[tokio::test]
async fn a_leader_writes_nothing_while_all_is_well() {
    let cluster = Shared::default();
    let leader = authority(&cluster);
    for days in [0, 1, 30, 44] {
        leader.tend(true, || later(days)).await.unwrap();
    }
    let cluster = cluster.lock().unwrap();
    assert_eq!((cluster.secret_writes, cluster.bundle_writes), (1, 1));
}

#[tokio::test]
async fn two_leaders_never_overwrite_each_other() {
    let cluster = Shared::default();
    let (one, other) = (authority(&cluster), authority(&cluster));
    let seen = one.store.read().await.unwrap().unwrap();
    other.tend(true, now).await.unwrap();
    let stored = cluster.lock().unwrap().data.clone();
    let (step, late) = one.due(None, None, now()).unwrap().unwrap();
    assert!(!one.write(&seen, &late.data(), step).await.unwrap());
    assert_eq!(cluster.lock().unwrap().data, stored);
    one.tend(true, now).await.unwrap();
    assert_eq!(one.ready(now()), Ok(()));
    assert_eq!(cluster.lock().unwrap().data, stored);
}

#[tokio::test]
async fn a_broken_secret_is_left_alone_and_told() {
    let cluster = Shared::default();
    cluster.lock().unwrap().data = json!({"ca.crt": "Z2FyYmFnZQ==", "ca.key": "Z2FyYmFnZQ==", "tls.crt": "Z2FyYmFnZQ==", "tls.key": "Z2FyYmFnZQ=="});
    let leader = authority(&cluster);
    let outcome = leader.tend(true, now).await;
    assert!(
        matches!(outcome, Err(AuthorityError::BrokenSecret { .. })),
        "{outcome:?}"
    );
    assert_eq!(leader.settle(outcome), EAGER);
    let reason = leader.ready(now()).unwrap_err();
    assert!(
        reason.contains("kubectl -n hallpass-system patch secret hallpass-serving"),
        "{reason}"
    );
    assert_eq!(cluster.lock().unwrap().secret_writes, 0);
}

#[tokio::test]
async fn a_secret_that_breaks_later_does_not_stop_who_has_read_it() {
    let cluster = Shared::default();
    let leader = authority(&cluster);
    leader.tend(true, now).await.unwrap();
    cluster.lock().unwrap().data["tls.key"] = json!("Z2FyYmFnZQ==");
    let outcome = leader.tend(true, now).await;
    leader.settle(outcome);
    assert_eq!(leader.ready(now()), Ok(()));
    let ended = leader.ready(later(91)).unwrap_err();
    assert!(ended.contains("its tls.key is not PEM"), "{ended}");
}

#[tokio::test]
async fn a_bundle_that_somebody_changed_is_put_right() {
    let cluster = Shared::default();
    let leader = authority(&cluster);
    leader.tend(true, now).await.unwrap();
    let published =
        || cluster.lock().unwrap().bundle.clone().unwrap()["spec"]["trustBundle"].clone();
    let right = published();
    cluster.lock().unwrap().bundle.as_mut().unwrap()["spec"]["trustBundle"] =
        json!("something else");
    leader.tend(true, now).await.unwrap();
    assert_eq!(published(), right);
}

#[tokio::test]
async fn f03_a_leader_of_before_does_not_undo_what_is_published_now() {
    let cluster = Shared::default();
    let leader = authority(&cluster);
    leader.tend(true, now).await.unwrap();
    cluster.lock().unwrap().bundle.as_mut().unwrap()["spec"]["trustBundle"] = json!("");
    let seen = bundle::find(&leader.client, &leader.names).await.unwrap();
    leader.tend(true, now).await.unwrap();
    let late = seen
        .publish(&leader.client, &leader.names, "of before")
        .await;
    assert!(!late.unwrap());
    let cluster = cluster.lock().unwrap();
    let published = cluster.bundle.as_ref().unwrap()["spec"]["trustBundle"].clone();
    assert_eq!(published, json!(leader.bundle()));
}

mod ended;
mod model;
mod webhook;
