//! The whole operator behind its router: only the API server is scripted.

use std::{
    cell::Cell,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use axum::{body::Body, response::Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::{name::Namespace, token::cache::VerifiedCache, wire::Problem};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Api, Front, Reach, inside, observe::observe, outside, routes};
use crate::{
    attest::Attestor,
    audit::{Audit, tests::Lines},
    config::Names,
    index::{
        Index,
        fixture::{pod, policy, service_account, token},
    },
    issue::Issuance,
    issuer::{
        fixture::{ApiServer, Reply, START, TOKEN_PATH, issuers, mint, now},
        hallpass::Mint,
        kubernetes::OperatorId,
    },
    keys::Keys,
    revoke::Revoker,
    telemetry::Metrics,
    tls::Anchors,
};

const AUDIENCE: &str = "hallpass.dev/hallpass-system";
const TOKEN_REVIEW: &str = "POST /apis/authentication.k8s.io/v1/tokenreviews";
const OPERATOR_ROLE: &str = "GET /apis/rbac.authorization.k8s.io/v1/clusterroles/hallpass-operator";
pub(super) const REVOCATIONS: &str =
    "POST /apis/hallpass.dev/v1alpha1/namespaces/shop/tokenrevocations";
/// That of the token that every token of the tests is named as.
const REVOCATION: &str = "GET /apis/hallpass.dev/v1alpha1/namespaces/shop/tokenrevocations/token-07070707-0707-4707-8707-070707070707";
const ISSUER: &str = "https://kubernetes.default.svc";

thread_local! {
    static AHEAD: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
}

/// The clock of the operators of this test, which runs on one thread.
fn wall() -> Timestamp {
    now() + AHEAD.get()
}

/// Sets it so many seconds ahead.
pub(super) fn set_clock(ahead: i64) {
    AHEAD.set(SignedDuration::from_secs(ahead));
}

/// An operator that serves namespace `shop`: its pod `orders-0` may hold `queue` and `vault`, its pod
/// `idle-0` nothing.
pub(super) struct Operator {
    pub(super) lines: Lines,
    pub(super) metrics: Metrics,
    pub(super) server: ApiServer,
    pub(super) api: Option<Api>,
    /// What the API server says to a new revocation, and of the one that is there.
    pub(super) stores: Arc<Mutex<[Reply; 2]>>,
    key: rcgen::KeyPair,
}

/// The revocation of the token of that id, as it is stored.
pub(super) fn stored_revocation(id: &str) -> Value {
    json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenRevocation",
        "metadata": {"namespace": "shop", "name": "token-1", "uid": "uid-1", "resourceVersion": "7"},
        "spec": {"target": {"tokenID": id}},
    })
}

fn names() -> Names {
    let name = |text| Namespace::parse(text).unwrap();
    Names::new(name("hallpass"), name("hallpass-system"))
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Operator {
    pub(super) async fn new() -> Self {
        Self::minting(mint).await
    }

    pub(super) async fn minting(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let mut policy = policy("shop", "orders", "orders");
        policy.spec.tokens = vec![token("vault"), token("queue")];
        let pods = vec![
            pod("shop", "orders-0", "orders"),
            pod("shop", "idle-0", "idle"),
        ];
        let accounts = vec![
            service_account("shop", "orders"),
            service_account("shop", "idle"),
        ];
        Self::with(Index::filled(vec![policy], pods, accounts), answer).await
    }

    pub(super) async fn with(
        index: Index,
        answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with_keys(index, Keys::new(Metrics::new()), answer).await
    }

    /// The same, with keys of its own.
    pub(super) async fn with_keys(
        index: Index,
        keys: Keys,
        answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let jwks = jwks(&key);
        let stores = Arc::new(Mutex::new([
            Reply::Json(201, stored_revocation("any")),
            Reply::Json(200, stored_revocation("any")),
        ]));
        let told = |which: usize| {
            let stores = Arc::clone(&stores);
            move |_: &Value| stores.lock().unwrap()[which].clone()
        };
        let server = ApiServer::default()
            .on(REVOCATIONS, told(0))
            .on(REVOCATION, told(1))
            .on(OPERATOR_ROLE, |_| {
                Reply::Json(
                    200,
                    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "hallpass-operator", "uid": "uid-role"}}),
                )
            })
            .on("GET /openid/v1/jwks", move |_| {
                Reply::Json(200, jwks.clone())
            })
            .on("GET /.well-known/openid-configuration", |_| {
                Reply::Json(200, json!({"issuer": ISSUER}))
            })
            // It knows no more than what it publishes.
            .on(TOKEN_REVIEW, |_| {
                Reply::Json(201, json!({"spec": {}, "status": {"authenticated": false}}))
            })
            .on(TOKEN_PATH, answer);
        let (lines, metrics) = (Lines::default(), Metrics::new());
        let mut issuers = issuers(&server, operator_id(), &metrics);
        issuers.hallpass = Mint::new(keys.clone(), index.revocations().clone(), rand::random);
        let attestor = attestor(&index, &server, &metrics).await;
        let audit = Audit::new(lines.clone());
        let issuance = Issuance::new(index.clone(), issuers, audit, metrics.clone());
        let api = Api {
            attestor,
            index,
            issuance,
            keys,
            verified: Mutex::new(VerifiedCache::new(16)),
            revoker: Revoker::new(server.client(), names()),
            anchors: Anchors::default(),
            webhook: None,
            metrics: metrics.clone(),
            clock: wall,
        };
        Self {
            lines,
            metrics,
            server,
            api: Some(api),
            stores,
            key,
        }
    }

    /// Somebody panics who holds the lock of what was verified a moment ago.
    pub(super) fn poison(&self) {
        let verified = &self.api.as_ref().unwrap().verified;
        let amidst = AssertUnwindSafe(|| {
            let _held = verified.lock();
            panic!("injected")
        });
        let ended: std::thread::Result<()> = std::panic::catch_unwind(amidst);
        drop(ended);
        assert!(verified.is_poisoned());
    }

    /// Whom the callers are told to trust.
    pub(super) fn anchors(&self) -> Anchors {
        self.api.as_ref().unwrap().anchors.clone()
    }

    pub(super) fn router(&mut self) -> Front {
        inside(Arc::new(self.api.take().unwrap()))
    }

    /// Both routers of one operator: that of the cluster, and that of the world.
    pub(super) fn routers(&mut self) -> (Front, Front) {
        let api = Arc::new(self.api.take().unwrap());
        (inside(Arc::clone(&api)), outside(api))
    }

    /// What becomes of a request that is handled so.
    pub(super) async fn observed(
        &mut self,
        request: Request<Body>,
        handling: impl Future<Output = Response>,
    ) -> Answer {
        let api = self.api.take().unwrap();
        let from = [10, 0, 0, 1].into();
        read(observe(&api, request, from, |_, _, _| handling).await).await
    }

    /// The router with a route more.
    pub(super) fn router_with(&mut self, path: &str, route: axum::routing::MethodRouter) -> Front {
        let api = Arc::new(self.api.take().unwrap());
        let routes = routes(Arc::clone(&api)).route(path, route);
        Front::new(Reach::Inside, routes, api)
    }

    /// The identity token of that pod.
    pub(super) fn bearer(&self, pod: &str, account: &str) -> String {
        self.signed(&identity(pod, account))
    }

    pub(super) fn signed(&self, claims: &Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"one"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let key = EncodingKey::from_ec_der(self.key.serialized_der());
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }
}

/// The claims of the identity token of that pod in namespace `shop`.
pub(super) fn identity(pod: &str, account: &str) -> Value {
    json!({
        "aud": [AUDIENCE],
        "iss": ISSUER,
        "iat": START - 60,
        "nbf": START - 60,
        "exp": START + 7140,
        "jti": "identity",
        "sub": format!("system:serviceaccount:shop:{account}"),
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "node-a", "uid": "uid-node-a"},
            "pod": {"name": pod, "uid": format!("uid-shop-{pod}")},
            "serviceaccount": {"name": account, "uid": format!("uid-shop-{account}")},
        },
    })
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem document, after what every one of them must be.
    pub(super) fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(
            problem.request_id.as_deref(),
            Some(self.header("x-request-id"))
        );
        let wait = problem
            .retry_after_seconds
            .map(|s| s.to_string())
            .unwrap_or_default();
        assert_eq!(wait, self.header("retry-after"));
        problem
    }

    pub(super) fn code(&self) -> (u16, String) {
        (self.status.as_u16(), self.problem().code.into_owned())
    }
}

/// A request with an `Authorization` header.
pub(super) fn request(
    method: &str,
    path: &str,
    bearer: &str,
    body: impl Into<Body>,
) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {bearer}"))
        .body(body.into())
        .unwrap()
}

pub(super) async fn send(router: &Front, request: Request<Body>) -> Answer {
    read(router.clone().oneshot(request).await.unwrap()).await
}

async fn read(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer {
        status: head.status,
        headers: head.headers,
        body,
    }
}

fn operator_id() -> OperatorId {
    OperatorId {
        namespace: "hallpass-system".into(),
        name: "hallpass".into(),
    }
}

/// An attestor that has read the keys.
async fn attestor(index: &Index, server: &ApiServer, metrics: &Metrics) -> Arc<Attestor> {
    let attestor = Attestor::new(
        index.clone(),
        server.client(),
        AUDIENCE.to_owned(),
        metrics.clone(),
    );
    let attestor = Arc::new(attestor);
    tokio::spawn(Arc::clone(&attestor).run());
    while !attestor.ready() {
        tokio::task::yield_now().await;
    }
    attestor
}

fn jwks(key: &rcgen::KeyPair) -> Value {
    // An uncompressed point: 4, x, y.
    let (x, y) = key.public_key_raw()[1..].split_at(32);
    let encode = |n: &[u8]| URL_SAFE_NO_PAD.encode(n);
    json!({"keys": [
        {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one", "x": encode(x), "y": encode(y)},
    ]})
}

/// The body as gzip has it (RFC 1952), not made smaller.
pub(super) fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut crc = !0u32;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    let length = u16::try_from(body.len()).unwrap();
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    let tail = [(!crc).to_le_bytes(), u32::from(length).to_le_bytes()].concat();
    [&head[..], &lengths, body, &tail].concat()
}
