//! An API server that stores the Secrets of one namespace, with its versions and preconditions.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, stream, stream::BoxStream};
use hallpass_core::{name::IssuerId, token::signing::Algorithm};
use http::{Method, Request, Response, request::Parts};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{sync::broadcast, time::Instant};
use tower::BoxError;

use super::{Keys, rotation::Plan, secret::NewKey, shelf::Shelf};
use crate::{clock::since_boot, telemetry::Metrics};

pub(super) const PATH: &str = "/api/v1/namespaces/hallpass-keys/secrets";

#[derive(Debug)]
pub(super) struct Server {
    pub(super) secrets: BTreeMap<String, Value>,
    version: u64,
    /// What happened, for the watches.
    events: broadcast::Sender<Value>,
    pub(super) calls: Vec<String>,
    /// Writes that are refused with 500.
    pub(super) refusals: u32,
    /// What the next write is overtaken by.
    pub(super) rival: Option<fn(&mut Self)>,
    pub(super) date: Option<String>,
    /// After so many calls no answer comes any more.
    pub(super) budget: Option<usize>,
    /// Every answer to a read is this.
    pub(super) garbage: Option<&'static str>,
    /// How late it begins a watch.
    pub(super) busy: Duration,
    /// Set once those watches have fallen silent that were open then.
    silent: Arc<AtomicBool>,
}

type Frames = StreamBody<BoxStream<'static, Result<Frame<Bytes>, BoxError>>>;

#[derive(Clone)]
pub(super) struct Cluster(pub(super) Arc<Mutex<Server>>);

impl Cluster {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Server {
            secrets: BTreeMap::new(),
            version: 10,
            events: broadcast::Sender::new(100),
            calls: Vec::new(),
            refusals: 0,
            rival: None,
            date: None,
            budget: None,
            garbage: None,
            busy: Duration::ZERO,
            silent: Arc::default(),
        })))
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Server) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// The writes so far.
    pub(super) fn writes(&self) -> Vec<String> {
        let calls = self.with(|server| server.calls.clone());
        calls
            .into_iter()
            .filter(|call| !call.starts_with("GET"))
            .collect()
    }

    pub(super) fn client(&self) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request| {
            let cluster = cluster.clone();
            async move { cluster.answer(request).await }
        });
        Client::new(service, "hallpass-system")
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Frames>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if head
            .uri
            .query()
            .is_some_and(|query| query.contains("watch=true"))
        {
            tokio::time::sleep(self.with(|server| server.busy)).await;
        }
        let response = self.serve(&head, &body);
        if self.with(Server::is_exhausted) {
            std::future::pending::<()>().await;
        }
        response
    }

    fn serve(&self, head: &Parts, body: &Value) -> Result<Response<Frames>, BoxError> {
        let query = head.uri.query().unwrap_or_default();
        let mut server = self.0.lock().unwrap();
        server
            .calls
            .push(format!("{} {}", head.method, head.uri.path()));
        if query.contains("watch=true") {
            let seconds = query
                .split('&')
                .find_map(|part| part.strip_prefix("timeoutSeconds="));
            let end = Duration::from_secs(seconds.unwrap().parse().unwrap());
            let frames = watch(&server.events, end, Arc::clone(&server.silent));
            return Ok(dated(frames, server.date.as_deref()));
        }
        let (code, text) = match (&head.method, server.garbage) {
            (&Method::GET, Some(garbage)) => (200, garbage.to_owned()),
            (&Method::GET, None) => (200, server.list(query).to_string()),
            (method, _) => {
                let accept = head.headers["accept"].to_str().unwrap();
                assert!(accept.contains("as=PartialObjectMetadata"), "{accept}");
                let (code, answer) = server.write(method, head.uri.path(), body);
                (code, answer.to_string())
            }
        };
        let response = Response::builder().status(code);
        let frames = stream::iter([Ok(Frame::data(Bytes::from(text)))]);
        let response = response.body(StreamBody::new(frames.boxed()))?;
        Ok(dated(response, server.date.as_deref()))
    }
}

fn dated(mut response: Response<Frames>, date: Option<&str>) -> Response<Frames> {
    if let Some(date) = date {
        let headers = response.headers_mut();
        headers.insert("date", date.parse().unwrap());
    }
    response
}

impl Server {
    /// Whether this was one call too many.
    fn is_exhausted(&mut self) -> bool {
        let left = self.budget.map(|budget| budget.checked_sub(1));
        self.budget = left.map(Option::unwrap_or_default);
        left == Some(None)
    }

    /// Stores it as the API server does.
    pub(super) fn put(&mut self, mut secret: Value) {
        self.version += 1;
        secret["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if secret["metadata"]["uid"].is_null() {
            secret["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        }
        let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
        let known = self.secrets.insert(name, secret.clone()).is_some();
        let kind = if known { "MODIFIED" } else { "ADDED" };
        drop(self.events.send(json!({"type": kind, "object": secret})));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.version += 1;
        let mut secret = self.secrets.remove(name).unwrap();
        secret["metadata"]["resourceVersion"] = json!(self.version.to_string());
        drop(
            self.events
                .send(json!({"type": "DELETED", "object": secret})),
        );
    }

    /// Nothing comes of the open watches any more, not even their end.
    pub(super) fn fall_silent(&mut self) {
        std::mem::take(&mut self.silent).store(true, Ordering::Relaxed);
    }

    pub(super) fn say(&self, line: Value) {
        drop(self.events.send(line));
    }

    fn list(&self, query: &str) -> Value {
        let wanted = query
            .split('&')
            .find_map(|part| part.strip_prefix("labelSelector="));
        let wanted = wanted
            .unwrap()
            .strip_prefix("hallpass.dev%2Fissuer-id")
            .unwrap();
        let wanted = wanted.strip_prefix("%3D");
        let fits = |secret: &&Value| {
            let label = secret["metadata"]["labels"]["hallpass.dev/issuer-id"].as_str();
            label.is_some() && (wanted.is_none() || label == wanted)
        };
        let items: Vec<_> = self.secrets.values().filter(fits).collect();
        json!({"kind": "SecretList", "metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }

    fn write(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        if let Some(rival) = self.rival.take() {
            rival(self);
        }
        if self.refusals > 0 {
            self.refusals -= 1;
            return status(500, "InternalError");
        }
        let name = path.strip_prefix(PATH).unwrap().trim_start_matches('/');
        if *method == Method::POST {
            let name = body["metadata"]["name"].as_str().unwrap();
            if self.secrets.contains_key(name) {
                return status(409, "AlreadyExists");
            }
            self.put(body.clone());
            return (201, json!({}));
        }
        let Some(stored) = self.secrets.get(name).cloned() else {
            return status(404, "NotFound");
        };
        let wanted = if *method == Method::PATCH {
            "metadata"
        } else {
            "preconditions"
        };
        for part in ["uid", "resourceVersion"] {
            if body[wanted][part] != stored["metadata"][part] {
                return status(409, "Conflict");
            }
        }
        match *method {
            Method::PATCH => {
                let mut changed = stored;
                for (key, value) in body["metadata"]["annotations"].as_object().unwrap() {
                    changed["metadata"]["annotations"][key] = value.clone();
                }
                self.put(changed);
            }
            Method::DELETE => self.remove(name),
            _ => panic!("unexpected call: {method} {path}"),
        }
        (200, json!({}))
    }
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let message = "planted: it quotes data";
    (
        code,
        json!({"kind": "Status", "code": code, "reason": reason, "message": message}),
    )
}

/// A watch that ends in time, unless it falls silent.
fn watch(
    events: &broadcast::Sender<Value>,
    end: Duration,
    silent: Arc<AtomicBool>,
) -> Response<Frames> {
    let mut events = events.subscribe();
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    tokio::spawn(async move {
        let end = tokio::time::sleep(end);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end, if !silent.load(Ordering::Relaxed) => break,
                Ok(event) = events.recv() => {
                    if silent.load(Ordering::Relaxed) {
                        continue;
                    }
                    let line = Bytes::from(format!("{event}\n"));
                    // In two pieces: a line need not come at once.
                    let pieces = [line.slice(..7), line.slice(7..)];
                    if !pieces.into_iter().all(|piece| sender.unbounded_send(piece).is_ok()) {
                        break;
                    }
                }
            }
        }
    });
    let frames = receiver.map(|line| Ok::<_, BoxError>(Frame::data(line)));
    Response::new(StreamBody::new(frames.boxed()))
}

pub(super) fn id() -> IssuerId {
    IssuerId::parse("abcdefgh").unwrap()
}

pub(super) fn namespace() -> String {
    "hallpass-keys".to_owned()
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

pub(super) fn plan() -> Plan {
    Plan {
        algorithm: Algorithm::Es256,
        rotate_every: Duration::from_secs(86_400),
        rotate: None,
        rotate_now: None,
        restored: None,
        revoked: Arc::default(),
    }
}

/// A new Secret, published then.
pub(super) fn secret(number: u32, published: i64, activated: Option<i64>) -> Value {
    secret_of(Algorithm::Es256, number, published, activated)
}

pub(super) fn secret_of(
    algorithm: Algorithm,
    number: u32,
    published: i64,
    activated: Option<i64>,
) -> Value {
    let manifest = NewKey::make(algorithm)
        .unwrap()
        .manifest(&id(), number, at(published), false);
    let mut secret: Value = serde_json::from_slice(manifest.expose()).unwrap();
    secret["metadata"]["uid"] = json!(format!("uid-of-{number}"));
    secret["metadata"]["resourceVersion"] = json!("1");
    if let Some(activated) = activated {
        secret["metadata"]["annotations"]["hallpass.dev/activated"] =
            json!(at(activated).to_string());
    }
    secret
}

impl Keys {
    /// What is known once the one key of each of these issuers has been read. It signs since a day.
    pub(crate) fn of(urls: &[&str]) -> Self {
        let (keys, mut shelf) = (Self::new(Metrics::default()), Shelf::default());
        for url in urls {
            let key = NewKey::make(Algorithm::Es256).unwrap();
            let manifest = key.manifest(&IssuerId::of(url), 1, at(-86_400), true);
            let mut secret: Value = serde_json::from_slice(manifest.expose()).unwrap();
            secret["metadata"]["uid"] = json!(format!("uid-of-{url}"));
            secret["metadata"]["resourceVersion"] = json!("1");
            shelf.put(&serde_json::from_value(secret).unwrap());
        }
        keys.publish(&mut shelf, None);
        keys.heard(Instant::now());
        keys
    }
}

impl Keys {
    /// Every key is gone.
    pub(crate) fn forget_all(&self) {
        self.publish(&mut Shelf::default(), None);
    }

    /// The API server says that it is `seconds` earlier than this replica's clock does.
    pub(crate) fn be_ahead(&self, seconds: i64) {
        self.compared(Some(at(-seconds)), since_boot());
    }
}

/// What is in the data of a Secret.
pub(super) fn value(secret: &Value, key: &str) -> Vec<u8> {
    STANDARD
        .decode(secret["data"][key].as_str().unwrap())
        .unwrap()
}
