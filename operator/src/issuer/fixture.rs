//! A scripted API server, and grants to mint from.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::{
    decide::{Grant, Holding, Subject},
    labels::PodLabels,
    name::{Namespace, PodName, ServiceAccount, TokenName, Uid},
};
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Issuers,
    hallpass::Mint,
    kubernetes::{Minter, OperatorId},
};
use crate::{
    index::{
        Index,
        fixture::{policy, token},
    },
    keys::Keys,
    telemetry::Metrics,
};

/// The time of the tests.
pub(crate) const START: i64 = 1_790_000_000;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(START).unwrap()
}

/// Later than anything that a test waits for.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// What the API server answers.
#[derive(Clone)]
pub(crate) enum Reply {
    Json(u16, Value),
    Busy { retry_after: &'static str },
    Bytes(&'static str),
    Silence,
}

type Script = Arc<dyn Fn(&Value) -> Reply + Send + Sync>;

/// An API server that knows the calls of its script, and panics at any other.
#[derive(Clone, Default)]
pub(crate) struct ApiServer {
    script: BTreeMap<&'static str, Script>,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
}

impl ApiServer {
    /// Answers that call, such as `POST /path`, from its body.
    pub(crate) fn on(
        mut self,
        call: &'static str,
        answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.script.insert(call, Arc::new(answer));
        self
    }

    /// The calls so far, with their bodies.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, std::convert::Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let call = format!("{} {}", request.method(), request.uri().path());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.calls
            .lock()
            .unwrap()
            .push((call.clone(), body.clone()));
        let script = self
            .script
            .get(call.as_str())
            .unwrap_or_else(|| panic!("unexpected call: {call}"));
        let response = Response::builder();
        match script(&body) {
            Reply::Json(status, body) => response
                .status(status)
                .body(body.to_string().into_bytes().into()),
            Reply::Busy { retry_after } => response
                .status(429)
                .header("retry-after", retry_after)
                .body(Body::empty()),
            Reply::Bytes(bytes) => response.body(bytes.as_bytes().to_vec().into()),
            Reply::Silence => std::future::pending().await,
        }
        .unwrap()
    }
}

pub(crate) const TOKEN_PATH: &str = "POST /api/v1/namespaces/shop/serviceaccounts/orders/token";
pub(crate) const REVIEW_PATH: &str = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// Mints what is asked for, as the API server does.
pub(crate) fn mint(request: &Value) -> Reply {
    answer(
        claims(request),
        START + request["spec"]["expirationSeconds"].as_i64().unwrap(),
    )
}

/// A minted token with those claims.
pub(crate) fn answer(claims: Value, expires: i64) -> Reply {
    Reply::Json(
        201,
        json!({"kind": "TokenRequest", "status": {
            "token": jwt(&claims),
            "expirationTimestamp": Timestamp::from_second(expires).unwrap().to_string(),
        }}),
    )
}

/// The claims that fit the request.
pub(crate) fn claims(request: &Value) -> Value {
    let (metadata, spec) = (&request["metadata"], &request["spec"]);
    json!({
        "aud": spec["audiences"],
        "exp": START + spec["expirationSeconds"].as_i64().unwrap(),
        "iat": START,
        "jti": "b5c4d1c0-token-id",
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "orders", "uid": metadata["uid"]},
            "pod": {"name": spec["boundObjectRef"]["name"], "uid": spec["boundObjectRef"]["uid"]},
        },
    })
}

/// A token that nobody signed, recognisable by its last part.
pub(crate) fn jwt(claims: &Value) -> String {
    format!(
        "{}.{}.{PLANTED}",
        URL_SAFE_NO_PAD.encode("{}"),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

/// Must turn up nowhere but in an answer that is a token.
pub(crate) const PLANTED: &str = "planted-signature";

/// A failure as the API server words it.
pub(crate) fn status(code: u16, kind: &str, message: &str) -> Reply {
    Reply::Json(
        code,
        json!({"kind": "Status", "status": "Failure", "message": message, "code": code, "details": {"kind": kind}}),
    )
}

/// Every source of tokens, without a key of our own.
pub(crate) fn issuers(server: &ApiServer, operator: OperatorId, metrics: &Metrics) -> Issuers {
    Issuers {
        kubernetes: Minter::new(server.client(), operator, metrics.clone()),
        hallpass: Mint::new(
            Keys::new(metrics.clone()),
            Index::new(metrics.clone(), now).revocations().clone(),
            rand::random,
        ),
    }
}

/// Pod `orders-0` under service account `orders` in namespace `shop`.
pub(crate) fn subject() -> Arc<Subject> {
    subject_in("shop", "orders-0")
}

pub(crate) fn subject_in(namespace: &str, pod: &str) -> Arc<Subject> {
    Arc::new(Subject {
        namespace: Namespace::parse(namespace).unwrap(),
        service_account: ServiceAccount::parse("orders").unwrap(),
        service_account_uid: Uid::parse(&format!("uid-{namespace}-orders")).unwrap(),
        pod: PodName::parse(pod).unwrap(),
        pod_uid: Uid::parse(&format!("uid-{namespace}-{pod}")).unwrap(),
        labels: PodLabels::default(),
        annotations: Arc::default(),
    })
}

/// The grant of the token `vault` for 1 h.
pub(crate) fn grant() -> Grant {
    grant_for(&subject(), "vault")
}

pub(crate) fn grant_for(subject: &Arc<Subject>, name: &str) -> Grant {
    let mut policy = policy(subject.namespace.as_str(), "policy", "orders");
    policy.spec.tokens = vec![token(name)];
    let index = Index::filled(vec![policy], vec![], vec![]);
    let (snapshot, name) = (index.snapshot().unwrap(), TokenName::parse(name).unwrap());
    let holding = Holding::new(snapshot.rules(), subject);
    snapshot
        .decide(now(), |scene| {
            holding.decide(scene.revocations, &name, scene.now)
        })
        .unwrap()
}
