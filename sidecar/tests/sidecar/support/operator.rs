//! An operator that does what a test says, over real TLS.

mod asked;
pub(crate) mod recorded;
mod service;
mod tls;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use self::tls::{Listener, certificates};
pub(crate) use self::{
    asked::Asked,
    tls::{NAME, foreign_ca},
};
use super::clock::TestClock;

/// A handle to the operator, for the test.
#[derive(Clone)]
pub(crate) struct FakeOperator {
    addresses: [SocketAddr; 2],
    ca: String,
    next_ca: String,
    script: Arc<Mutex<Script>>,
}

/// What it says, and what it was asked.
#[derive(Default)]
struct Script {
    assignments: BTreeMap<String, Value>,
    notice: Option<Value>,
    version: u32,
    issued: u32,
    away: bool,
    next_ca: bool,
    announced: Option<String>,
    trust: String,
    stopped: [bool; 2],
    silent: [bool; 2],
    unanswered: u32,
    held: [u32; 2],
    refusal: Option<Value>,
    away_at: [Option<Value>; 2],
    refusals: BTreeMap<String, Value>,
    asked: Vec<Asked>,
    requests: Vec<(&'static str, String)>,
}

#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<Script>>,
    clock: TestClock,
    replica: usize,
}

impl FakeOperator {
    pub(crate) async fn start(clock: TestClock) -> Self {
        Self::certified(clock, Timestamp::UNIX_EPOCH).await
    }

    /// One whose certificates are valid from then on.
    pub(crate) async fn certified(clock: TestClock, from: Timestamp) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), clock, from).await
    }

    /// One that has addresses like that alone.
    pub(crate) async fn at(address: IpAddr, clock: TestClock, from: Timestamp) -> Self {
        let first = TcpListener::bind((address, 0)).await.unwrap();
        let second = TcpListener::bind((address, 0)).await.unwrap();
        Self::on([first, second], clock, from)
    }

    /// One whose replicas differ in the address alone, as those of a cluster do.
    pub(crate) async fn on_one_port(clock: TestClock) -> Self {
        Self::on(service::same_port().await, clock, Timestamp::UNIX_EPOCH)
    }

    fn on(listeners: [TcpListener; 2], clock: TestClock, from: Timestamp) -> Self {
        let (ca, config) = certificates(from);
        let (next_ca, next) = certificates(from);
        let tls = [config, next].map(|config| TlsAcceptor::from(Arc::new(config)));
        let script = Arc::new(Mutex::new(Script::default()));
        let addresses = listeners.each_ref().map(|tcp| tcp.local_addr().unwrap());
        for (replica, tcp) in listeners.into_iter().enumerate() {
            let listener = Listener {
                tcp,
                tls: tls.clone(),
                script: Arc::clone(&script),
                replica,
                held: Vec::new(),
            };
            let shared = Shared {
                script: Arc::clone(&script),
                clock: clock.clone(),
                replica,
            };
            let dated = shared.clone();
            let router = Router::new()
                .route("/v1/assignments", get(assignments))
                .route("/v1/tokens", post(tokens))
                .route("/v1/trust", get(trust))
                .with_state(shared)
                .layer(axum::middleware::map_response(move |answer| {
                    let answer = dated.date(answer);
                    async move { answer }
                }));
            tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        }
        Self {
            addresses,
            ca,
            next_ca,
            script,
        }
    }

    /// Where each replica listens.
    pub(crate) const fn replicas(&self) -> [SocketAddr; 2] {
        self.addresses
    }

    /// An address that leads to the first replica and is not its own, as that of a Service.
    pub(crate) async fn service(&self) -> SocketAddr {
        service::service(self.addresses[0]).await
    }

    pub(crate) fn address(&self) -> String {
        self.addresses[0].to_string()
    }

    /// The address of the other replica.
    pub(crate) fn other(&self) -> String {
        self.addresses[1].to_string()
    }

    /// Stops a replica as SIGSTOP does, or lets it go on: the kernel goes on connecting.
    pub(crate) fn stop(&self, replica: usize, stopped: bool) {
        self.change(|script| script.stopped[replica] = stopped);
    }

    pub(crate) fn ca(&self) -> &str {
        &self.ca
    }

    /// Assigns a token, or changes its assignment.
    pub(crate) fn assign(&self, name: &str, audience: &str, lifetime_seconds: u32) {
        self.assign_to(name, audience, lifetime_seconds, None);
    }

    pub(crate) fn assign_to(
        &self,
        name: &str,
        audience: &str,
        lifetime_seconds: u32,
        containers: Option<&[&str]>,
    ) {
        let mut assignment = json!({
            "name": name, "audience": audience, "lifetime_seconds": lifetime_seconds, "required": true,
        });
        if let Some(containers) = containers {
            assignment["containers"] = json!(containers);
        }
        self.change(|script| {
            script.version += 1;
            script.assignments.insert(name.to_owned(), assignment);
        });
    }

    pub(crate) fn unassign(&self, name: &str) {
        self.change(|script| {
            script.version += 1;
            script.assignments.remove(name);
        });
    }

    pub(crate) fn notice(&self, detail: &str) {
        self.change(|script| {
            script.version += 1;
            script.notice = Some(json!({"code": "NoPolicy", "detail": detail}));
        });
    }

    /// Drops every connection, or no longer.
    pub(crate) fn away(&self, away: bool) {
        self.change(|script| script.away = away);
    }

    /// Answers nothing but assignments any more, on connections that stay open.
    pub(crate) fn silence(&self, replica: usize) {
        self.change(|script| script.silent[replica] = true);
    }

    /// How many requests were not answered.
    pub(crate) fn unanswered(&self) -> u32 {
        self.script.lock().unwrap().unanswered
    }

    /// How many connections each replica was asked for while it was stopped.
    pub(crate) fn held(&self) -> [u32; 2] {
        self.script.lock().unwrap().held
    }

    /// The authority that comes next.
    pub(crate) fn next_ca(&self) -> String {
        self.next_ca.clone()
    }

    /// Serves with a certificate of the next authority from now on.
    pub(crate) fn use_next_ca(&self) {
        self.change(|script| script.next_ca = true);
    }

    /// Announces one trust bundle, and gives out another.
    pub(crate) fn announce(&self, bundle: &str, given: &str) {
        let sum = digest(&SHA256, bundle.as_bytes());
        let sum = sum.as_ref().iter().map(|byte| format!("{byte:02x}"));
        self.change(|script| {
            script.announced = Some(sum.collect());
            script.trust = given.to_owned();
        });
    }

    /// Refuses every request with this problem, or none. Where it has a `location`, the answer leads there.
    pub(crate) fn refuse_all(&self, problem: Option<Value>) {
        self.change(|script| script.refusal = problem);
    }

    /// Has one replica refuse every request with this problem.
    pub(crate) fn refuse_at(&self, replica: usize, problem: Value) {
        self.change(|script| script.away_at[replica] = Some(problem));
    }

    /// Refuses the token of that name.
    pub(crate) fn refuse(&self, name: &str, problem: Value) {
        self.change(|script| drop(script.refusals.insert(name.to_owned(), problem)));
    }

    pub(crate) fn relent(&self, name: &str) {
        self.change(|script| drop(script.refusals.remove(name)));
    }

    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let script = self.script.lock().unwrap();
        script
            .asked
            .iter()
            .filter(|asked| asked.path == path)
            .cloned()
            .collect()
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }
}

/// A problem document.
pub(crate) fn problem(code: &str, status: u16, detail: &str) -> Value {
    json!({"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail})
}

async fn assignments(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let mut script = shared.script.lock().unwrap();
    let etag = format!("\"{}\"", script.version);
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let paced = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, "max-age=30".to_owned()),
    ];
    let answer = match script.refusal_at(shared.replica) {
        Some(problem) => refused(problem.clone()),
        None if known => (StatusCode::NOT_MODIFIED, paced).into_response(),
        None => {
            let tokens: Vec<_> = script.assignments.values().cloned().collect();
            let body = json!({"tokens": tokens, "notice": script.notice});
            (paced, axum::Json(body)).into_response()
        }
    };
    let mut answer = answer;
    if let Some(announced) = &script.announced {
        let headers = answer.headers_mut();
        headers.insert("hallpass-trust", announced.parse().unwrap());
    }
    script.log(
        shared.replica,
        "/v1/assignments",
        &headers,
        Vec::new(),
        &answer,
    );
    answer
}

async fn trust(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let mut script = shared.script.lock().unwrap();
    let kind = [(header::CONTENT_TYPE, "application/pem-certificate-chain")];
    let answer = (kind, script.trust.clone()).into_response();
    script.log(shared.replica, "/v1/trust", &headers, Vec::new(), &answer);
    answer
}

async fn tokens(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let silent = shared.script.lock().unwrap().silent[shared.replica];
    if silent {
        shared.script.lock().unwrap().unanswered += 1;
        std::future::pending::<()>().await;
    }
    let mut script = shared.script.lock().unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    let names: Vec<String> = serde_json::from_value(request["names"].clone()).unwrap();
    let now = shared.clock.now();
    let mut entries = Vec::new();
    let mut first = None;
    for name in &names {
        if let Some(problem) = script.refusals.get(name) {
            first = first.or_else(|| Some(problem.clone()));
            entries.push(json!({"name": name, "problem": problem}));
            continue;
        }
        script.issued += 1;
        let assignment = &script.assignments[name];
        let life = assignment["lifetime_seconds"].as_i64().unwrap();
        entries.push(json!({
            "name": name,
            "token": format!("planted.{name}.{}", script.issued),
            "audience": assignment["audience"],
            "issued_at": now,
            "expires_at": now + SignedDuration::from_secs(life),
        }));
    }
    let answer = match (script.refusal_at(shared.replica), first) {
        (Some(problem), _) => refused(problem.clone()),
        (None, Some(mut problem)) if entries.iter().all(|entry| entry["token"].is_null()) => {
            problem["tokens"] = json!(entries);
            refused(problem)
        }
        (None, _) => axum::Json(json!({ "tokens": entries })).into_response(),
    };
    script.log(shared.replica, "/v1/tokens", &headers, names, &answer);
    answer
}

fn refused(problem: Value) -> Response {
    let status =
        StatusCode::from_u16(u16::try_from(problem["status"].as_u64().unwrap()).unwrap()).unwrap();
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    let mut answer = (status, kind, problem.to_string()).into_response();
    if let Some(location) = problem["location"].as_str() {
        let headers = answer.headers_mut();
        headers.insert(header::LOCATION, location.parse().unwrap());
    }
    answer
}

impl Script {
    fn refusal_at(&self, replica: usize) -> Option<&Value> {
        self.refusal.as_ref().or(self.away_at[replica].as_ref())
    }
}

impl Shared {
    /// The same answer, with the true time as its date.
    fn date(&self, mut answer: Response) -> Response {
        let now = self.clock.now();
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&now)
            .unwrap();
        let headers = answer.headers_mut();
        headers.insert(header::DATE, date.parse().unwrap());
        answer
    }
}
