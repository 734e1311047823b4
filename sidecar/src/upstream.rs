//! The one HTTPS client: it asks the operator for the assignments and the tokens of this pod.
//!
//! A connection is used for a burst of requests and closed by [`Upstream::rest`]; every step has a
//! time limit, and no answer is read beyond 1 MiB.

mod address;
mod connect;
mod error;
mod hedge;
mod question;
mod renew;
mod sighting;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hallpass_core::{
    name::TokenName,
    secret::Secret,
    wire::{Assignments, TokenEntry, TokensRequest, TokensResponse},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{
    config::Config, identity::Identity, surroundings::Clock, telemetry::Counters, trust::Trust,
};

use self::{
    address::Addresses,
    connect::{Connection, Connector, Drivers},
    question::{Answer, Question, either},
};
pub(crate) use self::{
    error::UpstreamError,
    sighting::{Sighting, Skew},
};

/// The client.
#[derive(Debug)]
pub(crate) struct Upstream {
    identity: Identity,
    trust: Arc<Trust>,
    connector: Connector,
    host: String,
    operator: Addresses,
    replicas: Option<Addresses>,
    drivers: Drivers,
    clock: Clock,
    counters: Arc<Counters>,
    connection: Option<Connection>,
    sighting: Option<Sighting>,
}

/// An answer to `GET /v1/assignments`.
#[derive(Debug)]
pub(crate) struct Polled {
    /// What is to be held; absent where nothing has changed since the last answer.
    pub assignments: Option<Assignments>,
    /// The version of what is to be held, for the next question.
    pub etag: Option<HeaderValue>,
    /// When to ask again.
    pub max_age: Duration,
    /// Whether there is a new trust bundle.
    pub renewed: bool,
}

impl Upstream {
    pub(crate) fn new(
        config: &Config,
        identity: Identity,
        trust: Arc<Trust>,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> Self {
        let operator = config.operator.clone();
        Self {
            host: operator.to_string(),
            connector: Connector::new(operator.clone(), Arc::clone(&trust)),
            operator: Addresses::new(operator),
            replicas: config.replicas.clone().map(Addresses::new),
            drivers: Drivers::default(),
            identity,
            trust,
            clock,
            counters,
            connection: None,
            sighting: None,
        }
    }

    /// What this pod is to hold.
    ///
    /// # Errors
    /// The operator was not reached, refused, or answered something else.
    pub(crate) async fn assignments(
        &mut self,
        etag: Option<&HeaderValue>,
    ) -> Result<Polled, UpstreamError> {
        let known = etag.map(|etag| (header::IF_NONE_MATCH, etag.clone()));
        let answer = self
            .ask(Method::GET, "/v1/assignments", known, &[], HEDGE)
            .await?;
        let assignments = match answer.status {
            StatusCode::NOT_MODIFIED => None,
            StatusCode::OK => Some(parse::<Assignments>(&answer)?),
            _ => return Err(answer.refusal()),
        };
        let renewed = self.renew_trust(&answer.headers).await;
        Ok(Polled {
            renewed,
            assignments,
            etag: answer.headers.get(header::ETAG).cloned(),
            max_age: max_age(&answer.headers),
        })
    }

    /// The tokens of these names, or why not: all in one request. The operator is told for how long the pod
    /// still has all of them: where many ask at once, who has least comes first among those of a namespace.
    ///
    /// # Errors
    /// The operator was not reached, refused every one, or answered something else.
    pub(crate) async fn tokens(
        &mut self,
        names: Vec<TokenName>,
        left: Duration,
    ) -> Result<Vec<TokenEntry>, UpstreamError> {
        let body = serde_json::to_vec(&TokensRequest { names: Some(names) })
            .map_err(UpstreamError::WriteRequest)?;
        // A mint may take the API server that long: who has time does not have it done twice.
        let patience = if left > PLENTY { MINT } else { HEDGE };
        let left = Some((EXPIRES_IN, HeaderValue::from(left.as_secs())));
        let answer = self
            .ask(Method::POST, "/v1/tokens", left, &body, patience)
            .await?;
        match answer.status {
            StatusCode::OK => Ok(parse::<TokensResponse>(&answer)?.tokens),
            _ => Err(answer.refusal()),
        }
    }

    /// What the last answer said of the operator's clock, once; [`None`] where there was no answer.
    pub(crate) const fn take_sighting(&mut self) -> Option<Sighting> {
        self.sighting.take()
    }

    /// Closes the connection: nothing will be asked for a while.
    pub(crate) fn rest(&mut self) {
        self.connection = None;
    }

    /// Asks, and asks other replicas too where the first one does not answer soon. `POST /v1/tokens` may
    /// then be done several times: the tokens that nobody takes expire by themselves, and each replica counts for
    /// itself how often a pod asks.
    async fn ask(
        &mut self,
        method: Method,
        path: &'static str,
        extra: Option<(HeaderName, HeaderValue)>,
        body: &[u8],
        patience: Duration,
    ) -> Result<Answer, UpstreamError> {
        // Read before anything is sent, and each time: the kubelet replaces it.
        let mut bearer = bearer(&self.identity.token()?)?;
        bearer.set_sensitive(true);
        let question = Question {
            method,
            path,
            host: &self.host,
            bearer,
            extra,
            body,
            clock: &self.clock,
        };
        let dialer = self.connector.dialer()?;
        let drivers = &self.drivers;
        let kept = self.connection.take();
        let peer = Mutex::new(kept.as_ref().map(|kept| kept.peer));
        let note = |address| *peer.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        let operator = &mut self.operator;
        let first = async {
            // The operator may have closed a connection that was kept: that is no answer of its.
            if let Some(kept) = kept {
                match question.put(kept).await {
                    Err(UpstreamError::Exchange(_)) => {}
                    answer => return answer,
                }
            }
            question
                .put(dialer.open(operator, drivers, note).await?)
                .await
        };
        let asked = match &mut self.replicas {
            None => first.await,
            Some(replicas) => {
                let second = async {
                    self.counters.hedges.add();
                    let not = *peer.lock().unwrap_or_else(PoisonError::into_inner);
                    let race = dialer.race(replicas, not).await?;
                    // Boxed: it is large, and seldom made.
                    Box::pin(question.put_to_each(race, drivers)).await
                };
                either(first, second, patience).await
            }
        };
        if matches!(asked, Err(UpstreamError::Handshake { .. })) {
            self.trust.doubt();
        }
        let (answer, connection) = asked?;
        self.sighting = answer.sighting;
        self.connection = Some(connection);
        Ok(answer)
    }
}

fn parse<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, UpstreamError> {
    // The parser's own words may quote what it read, a token included: only the place is kept.
    serde_json::from_slice(answer.body.expose()).map_err(|error| UpstreamError::ReadAnswer {
        line: error.line(),
        column: error.column(),
    })
}

fn bearer(token: &Secret<String>) -> Result<HeaderValue, UpstreamError> {
    let text = Secret::new(format!("Bearer {}", token.expose()));
    // The error says no more, and a quote of the token would be too much.
    HeaderValue::from_str(text.expose()).map_err(|_bare| UpstreamError::IdentityMalformed)
}

fn max_age(headers: &HeaderMap) -> Duration {
    let control = headers.get(header::CACHE_CONTROL);
    let told = control
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let directives = value.split(',').map(str::trim);
            directives
                .filter_map(|directive| directive.strip_prefix("max-age="))
                .find_map(|seconds| seconds.parse().ok())
        });
    told.map_or(MAX_AGE, Duration::from_secs)
        .clamp(Duration::from_secs(1), Duration::from_secs(300))
}

/// What is not answered by then is asked of another replica too.
const HEDGE: Duration = Duration::from_millis(300);
/// The same for tokens of which the pod has some that are good for longer than [`PLENTY`].
const MINT: Duration = Duration::from_secs(2);
const PLENTY: Duration = Duration::from_secs(60);
const MAX_AGE: Duration = Duration::from_secs(30);
const EXPIRES_IN: HeaderName = HeaderName::from_static("hallpass-expires-in");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_what_the_answer_says_within_bounds() {
        let cases = [
            ("max-age=30", 30),
            ("private, max-age=45", 45),
            ("max-age=0", 1),
            ("max-age=86400", 300),
            ("no-store", 30),
        ];
        for (told, expected) in cases {
            let value = HeaderValue::from_static(told);
            let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, value)]);
            assert_eq!(max_age(&headers).as_secs(), expected, "{told}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_quoted() {
        let answer = Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Secret::new(br#"{"tokens":"eyJ.planted.sig"}"#.to_vec()),
            sighting: None,
        };
        let error = parse::<TokensResponse>(&answer).unwrap_err();
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains("planted"), "{printed}");
    }
}
