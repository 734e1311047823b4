//! An API server by hand, and a cluster with one pod of ours in it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto, jwk::Jwk};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::index::fixture;

pub(super) const AUDIENCE: &str = "hallpass.dev/hallpass-system";
pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
pub(super) const JWKS: &str = "GET /openid/v1/jwks";
pub(super) const DISCOVERY: &str = "GET /.well-known/openid-configuration";
pub(super) const REVIEW: &str = "POST /apis/authentication.k8s.io/v1/tokenreviews";
pub(super) const POD: &str = "GET /api/v1/namespaces/shop/pods/orders-0";
pub(super) const ACCOUNT: &str = "GET /api/v1/namespaces/shop/serviceaccounts/orders";

/// When the tokens begin, and when they end.
pub(super) const START: i64 = 1_790_000_000;
pub(super) const END: i64 = START + 7200;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A minute after the tokens begin.
pub(super) fn now() -> Timestamp {
    at(START + 60)
}

/// What the fake says to a request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Json(u16, Value),
    /// Never comes.
    Silence,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self::Json(200, body)
    }

    pub(super) fn not_found() -> Self {
        Self::failure(404, "NotFound")
    }

    pub(super) fn failure(code: u16, reason: &str) -> Self {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure",
            "message": "no", "reason": reason, "code": code,
        });
        Self::Json(code, status)
    }
}

/// The fake API server: it answers what it was told to, counts, and holds every other call against
/// the test.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: BTreeMap<&'static str, Answer>,
    calls: BTreeMap<String, usize>,
    bodies: Vec<Value>,
    unexpected: Vec<String>,
}

impl Fake {
    pub(super) fn answer(&self, call: &'static str, answer: Answer) {
        self.0.lock().unwrap().answers.insert(call, answer);
    }

    pub(super) fn calls(&self, call: &str) -> usize {
        let state = self.0.lock().unwrap();
        state.calls.get(call).copied().unwrap_or_default()
    }

    /// The bodies that were posted.
    pub(super) fn bodies(&self) -> Vec<Value> {
        self.0.lock().unwrap().bodies.clone()
    }

    pub(super) fn client(&self) -> Client {
        let fake = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.serve(request).await) }
        });
        Client::new(service, "default")
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let call = format!("{} {}", request.method(), request.uri());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let answer = {
            let mut state = self.0.lock().unwrap();
            *state.calls.entry(call.clone()).or_default() += 1;
            if !body.is_empty() {
                state.bodies.push(serde_json::from_slice(&body).unwrap());
            }
            let answer = state.answers.get(call.as_str()).cloned();
            if answer.is_none() {
                state.unexpected.push(call);
            }
            answer.unwrap_or_else(|| Answer::failure(500, "Unexpected"))
        };
        // One turn of the scheduler, so that calls that are made at once overlap.
        tokio::task::yield_now().await;
        match answer {
            Answer::Json(code, body) => Response::builder()
                .status(code)
                .body(Body::from(body.to_string().into_bytes()))
                .unwrap(),
            Answer::Silence => std::future::pending().await,
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.unexpected, [] as [String; 0], "unexpected calls");
        }
    }
}

/// A key that signs tokens.
pub(super) struct Signer {
    kid: &'static str,
    pair: rcgen::KeyPair,
}

impl Signer {
    pub(super) fn new(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { kid, pair }
    }

    fn jwk(&self) -> Value {
        let key = DecodingKey::from_ec_der(self.pair.public_key_raw());
        let jwk = Jwk::from_decoding_key(&key, Some(Algorithm::ES256)).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = self.kid.into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub(super) fn sign(&self, claims: &Value) -> Secret<String> {
        let header = json!({"alg": "ES256", "kid": self.kid});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(claims));
        let key = EncodingKey::from_ec_der(self.pair.serialized_der());
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
        Secret::new(format!("{message}.{signature}"))
    }

    /// The token of pod `orders-0`.
    pub(super) fn token(&self) -> Secret<String> {
        self.sign(&claims())
    }
}

/// What the identity token of pod `orders-0` says.
pub(super) fn claims() -> Value {
    json!({
        "aud": [AUDIENCE],
        "exp": END,
        "iat": START,
        "iss": ISSUER,
        "jti": "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11",
        "kubernetes.io": {
            "namespace": "shop",
            "pod": {"name": "orders-0", "uid": "uid-shop-orders-0"},
            "serviceaccount": {"name": "orders", "uid": "uid-shop-orders"},
        },
        "nbf": START,
        "sub": "system:serviceaccount:shop:orders",
    })
}

/// The claims with one changed.
pub(super) fn with(pointer: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    *claims.pointer_mut(pointer).unwrap() = value.into();
    claims
}

pub(super) fn jwks(signers: &[&Signer]) -> Answer {
    let keys: Vec<Value> = signers.iter().map(|s| s.jwk()).collect();
    Answer::ok(json!({ "keys": keys }))
}

/// What a TokenReview says of the token of pod `orders-0`.
pub(super) fn vouched() -> Value {
    json!({
        "authenticated": true,
        "audiences": [AUDIENCE],
        "user": {
            "username": "system:serviceaccount:shop:orders",
            "uid": "uid-shop-orders",
            "groups": ["system:serviceaccounts"],
            "extra": {
                "authentication.kubernetes.io/pod-name": ["orders-0"],
                "authentication.kubernetes.io/pod-uid": ["uid-shop-orders-0"],
            },
        },
    })
}

pub(super) fn reviewed(status: Value) -> Answer {
    Answer::Json(
        201,
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
            "spec": {"token": "echoed"}, "status": status}),
    )
}

/// Pod `orders-0` as the API server has it.
pub(super) fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "shop", "name": "orders-0", "uid": "uid-shop-orders-0",
            "labels": {"hallpass.dev/injected": "true", "app": "orders"},
        },
        "spec": {"containers": []},
        "status": {"phase": "Running"},
    })
}

pub(super) fn account() -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"namespace": "shop", "name": "orders", "uid": "uid-shop-orders"},
    })
}

/// An index with pod `orders-0` and service account `orders` of namespace `shop`.
pub(super) fn index() -> Index {
    let pod = fixture::pod("shop", "orders-0", "orders");
    Index::filled(
        vec![],
        vec![pod],
        vec![fixture::service_account("shop", "orders")],
    )
}

/// An index that knows of nothing.
pub(super) fn empty_index() -> Index {
    Index::filled(vec![], vec![], vec![])
}

/// A cluster with one key and an attestor that has read it.
pub(super) struct Cluster {
    pub(super) fake: Fake,
    pub(super) signer: Signer,
    pub(super) attestor: Arc<Attestor>,
    pub(super) metrics: Metrics,
    _run: tokio::task::JoinSet<()>,
}

impl Cluster {
    pub(super) async fn new(index: Index) -> Self {
        let (fake, signer) = (Fake::default(), Signer::new("first"));
        fake.answer(JWKS, jwks(&[&signer]));
        fake.answer(DISCOVERY, Answer::ok(json!({ "issuer": ISSUER })));
        let metrics = Metrics::default();
        let audience = AUDIENCE.to_owned();
        let attestor = Attestor::new(index, fake.client(), audience, metrics.clone());
        let attestor = Arc::new(attestor);
        let mut run = tokio::task::JoinSet::new();
        run.spawn(Arc::clone(&attestor).run());
        attestor.keys.renew().await;
        assert!(attestor.ready());
        Self {
            fake,
            signer,
            attestor,
            metrics,
            _run: run,
        }
    }

    /// Who holds the token, or the code of the rejection.
    pub(super) async fn attest(&self, token: &Secret<String>) -> Result<Authenticated, Code> {
        self.attest_at(token, now()).await
    }

    pub(super) async fn attest_at(
        &self,
        token: &Secret<String>,
        now: Timestamp,
    ) -> Result<Authenticated, Code> {
        let attested = self.attestor.attest(Some(token), now).await;
        attested.map_err(|rejection| {
            assert_tells_nothing(&rejection, token);
            rejection.code
        })
    }

    /// Whether the metrics have that line.
    pub(super) fn shows(&self, line: &str) -> bool {
        self.metrics.encode().unwrap().lines().any(|l| l == line)
    }
}

/// T36: no part of the token is in what goes back.
fn assert_tells_nothing(rejection: &Rejection, token: &Secret<String>) {
    let text = format!("{rejection} {rejection:?}");
    for part in token.expose().split('.').filter(|part| part.len() > 4) {
        assert!(!text.contains(part), "{text}");
    }
    assert!(text.len() < 1000, "{text}");
}

/// Whom `attest` found, by name.
pub(super) fn name(attested: &Authenticated) -> String {
    let subject = attested.subject();
    format!(
        "{}/{}/{}",
        subject.namespace, subject.service_account, subject.pod
    )
}
