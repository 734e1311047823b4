//! What the socket of one container answers.

use std::{sync::Arc, time::Duration};

use hallpass_core::{
    denial::Code,
    name::{ContainerName, TokenName},
    secret::Secret,
    wire::ListedToken,
};
use http::{HeaderValue, Method, Request, Response, header};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};

use super::{
    answer::{self, Body, JSON, TEXT},
    metrics, negotiate,
    readiness::{Standings, UNREACHED, ready},
    watching::{Events, Watching},
};
use crate::{
    hold::{Failure, HeldToken, Hold, Listed, Readiness, Reading},
    surroundings::{Clock, Moment},
    telemetry::Counters,
};

/// The answers of one socket. It knows the tokens of its container and no others.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    container: ContainerName,
    hold: Arc<Hold>,
    clock: Clock,
    counters: Arc<Counters>,
    watches: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Socket {
    pub(crate) fn new(
        container: ContainerName,
        hold: Arc<Hold>,
        clock: Clock,
        counters: Arc<Counters>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            container,
            hold,
            clock,
            counters,
            watches: Arc::new(Semaphore::new(WATCHES)),
            stop,
        }
    }

    /// Answers a request.
    pub(crate) async fn answer<B: hyper::body::Body>(&self, request: Request<B>) -> Response<Body> {
        let path = request.uri().path();
        let Some(route) = Route::of(path) else {
            return answer::problem(Code::NoSuchPath, PATHS);
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response =
                answer::problem(Code::WrongMethod, "everything here is read with GET");
            let headers = response.headers_mut();
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if !request.body().is_end_stream() {
            let mut response =
                answer::problem(Code::MalformedRequest, "no request here has a body");
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        let now = self.clock.now();
        match route {
            Route::Token(name) => {
                let text = negotiate::wants_text(request.headers());
                let form = if text { Form::Text } else { Form::Json };
                self.token(name, form).await
            }
            Route::Header(name) => self.token(name, Form::Header).await,
            Route::Tokens => answer::json(&list(self.hold.list(&self.container, now), now)),
            Route::Watch => self.watch(),
            Route::Healthz => answer::whole(TEXT, "ok\n"),
            Route::Readyz => self.readyz(negotiate::wait(request.headers())).await,
            Route::Metrics => {
                let tokens = self.hold.list(&self.container, now);
                let contact = self.hold.contact();
                let text = metrics::text(&self.counters, &tokens, contact, now);
                answer::whole("text/plain; version=0.0.4; charset=utf-8", text)
            }
        }
    }

    async fn token(&self, name: &str, form: Form) -> Response<Body> {
        let outcome = match self.read(name) {
            Reading::Pending { .. } | Reading::Unreached { .. } => self.await_token(name).await,
            outcome => outcome,
        };
        let now = self.clock.now();
        let (code, detail) = match outcome {
            Reading::Valid { token, state } => {
                self.counters.reads.succeeded();
                return form.of(&token, state, now);
            }
            Reading::Pending { last } => (
                Code::Pending,
                told(
                    format!("token '{name}' is on its way"),
                    last.as_deref(),
                    now,
                ),
            ),
            Reading::Unreached { last } => (
                Code::Pending,
                told(UNREACHED.to_owned(), last.as_deref(), now),
            ),
            Reading::Expired { last } => {
                self.hold.hurry(now);
                let expired = format!("token '{name}' is past its time and is not served");
                (Code::Expired, told(expired, last.as_deref(), now))
            }
            Reading::Unknown { names, notice } => {
                (Code::NoSuchToken, unknown(name, &names, notice))
            }
        };
        self.counters.reads.failed(code.as_str());
        let mut response = answer::problem(code, detail);
        if code.status() == 503 {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    fn read(&self, name: &str) -> Reading {
        self.hold.read(&self.container, name, self.clock.now())
    }

    /// Waits for a token that is on its way, but not for ever.
    async fn await_token(&self, name: &str) -> Reading {
        let mut changed = self.hold.subscribe();
        let deadline = Instant::now() + PATIENCE;
        self.hold.hurry(self.clock.now());
        loop {
            let outcome = self.read(name);
            if !matches!(outcome, Reading::Pending { .. } | Reading::Unreached { .. })
                || timeout_at(deadline, changed.changed()).await.is_err()
            {
                return outcome;
            }
        }
    }

    fn watch(&self) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.watches).try_acquire_owned() else {
            return answer::problem(
                Code::TooOften,
                format!("{WATCHES} watches are open on this socket already"),
            );
        };
        let watching = Watching {
            hold: Arc::clone(&self.hold),
            container: self.container.clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
        };
        answer::events(Events::new(watching, place))
    }

    async fn readyz(&self, wait: Option<Duration>) -> Response<Body> {
        let mut changed = self.hold.subscribe();
        let deadline = Instant::now() + wait.unwrap_or_default();
        if wait.is_some() {
            self.hold.hurry(self.clock.now());
        }
        let readiness = loop {
            let readiness = self.hold.readiness(&self.container, self.clock.now());
            if readiness == Readiness::Ready
                || timeout_at(deadline, changed.changed()).await.is_err()
            {
                break readiness;
            }
        };
        let now = self.clock.now();
        let tokens = self.hold.list(&self.container, now);
        let standings = Standings::of(&tokens, self.hold.contact(), now);
        let mut response = ready(readiness, &standings);
        if let Some(wait) = wait
            && let Ok(applied) = HeaderValue::from_str(&format!("wait={}", wait.as_secs()))
        {
            response.headers_mut().insert("preference-applied", applied);
        }
        response
    }
}

/// Where a path leads.
enum Route<'a> {
    Tokens,
    Token(&'a str),
    Header(&'a str),
    Watch,
    Healthz,
    Readyz,
    Metrics,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        match path {
            "/v1/tokens" => Some(Self::Tokens),
            "/v1/watch" => Some(Self::Watch),
            "/healthz" => Some(Self::Healthz),
            "/readyz" => Some(Self::Readyz),
            "/metrics" => Some(Self::Metrics),
            _ => {
                let rest = path.strip_prefix("/v1/tokens/")?;
                match rest.split_once('/') {
                    None if !rest.is_empty() => Some(Self::Token(rest)),
                    Some((name, "header")) if !name.is_empty() => Some(Self::Header(name)),
                    None | Some(_) => None,
                }
            }
        }
    }
}

/// The ways to write a token.
enum Form {
    Json,
    Text,
    Header,
}

impl Form {
    fn of(
        &self,
        token: &HeldToken,
        state: hallpass_core::wire::TokenState,
        now: Moment,
    ) -> Response<Body> {
        match self {
            Self::Json => answer::secret(JSON, token.json(state, now)),
            Self::Text => answer::secret(TEXT, token.secret().clone()),
            Self::Header => {
                let header = format!("Bearer {}", token.secret().expose());
                answer::secret(TEXT, Secret::new(header))
            }
        }
    }
}

/// A token in the list, with why it is not fresh.
#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    token: ListedToken,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<LastError>,
}

#[derive(Serialize)]
struct LastError {
    code: String,
    detail: String,
    age_seconds: u64,
}

#[derive(Serialize)]
struct List {
    tokens: Vec<Entry>,
}

fn list(tokens: Vec<Listed>, now: Moment) -> List {
    let entry = |token: Listed| Entry {
        last_error: token.last.map(|last| LastError {
            code: last.code.to_string(),
            detail: last.detail.clone(),
            age_seconds: last.at.until(now).as_secs(),
        }),
        token: ListedToken {
            name: token.name,
            audience: token.audience,
            state: token.state,
            expires_at: token.expires_at,
        },
    };
    List {
        tokens: tokens.into_iter().map(entry).collect(),
    }
}

fn told(what: String, last: Option<&Failure>, now: Moment) -> String {
    match last {
        Some(last) => format!("{what}; {}", last.aged(now)),
        None => what,
    }
}

fn unknown(name: &str, names: &[TokenName], notice: Option<String>) -> String {
    // What cannot be a name is not repeated.
    let asked = match TokenName::parse(name) {
        Ok(name) => format!("this container has no token '{name}'"),
        Err(error) => format!("the name of a token {error}"),
    };
    let names: Vec<_> = names.iter().map(TokenName::as_str).collect();
    match (names.as_slice(), notice) {
        ([], Some(notice)) => format!("{asked}, and no other: {notice}"),
        ([], None) => format!("{asked}, and no other"),
        (names, _) => format!("{asked}; it has: {}", names.join(", ")),
    }
}

const PATHS: &str = "there are /v1/tokens, /v1/tokens/NAME, /v1/tokens/NAME/header, /v1/watch, /healthz, /readyz and /metrics";
/// How long a read waits for a token that is on its way.
const PATIENCE: Duration = Duration::from_secs(10);
const WATCHES: usize = 16;
