//! One question to the operator, and a whole answer.

use std::time::Duration;

use hallpass_core::{
    secret::Secret,
    wire::{PATIENCE, Problem},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::timeout;

use super::{
    MINT,
    connect::{Connection, Drivers, Race},
    error::{Step, UpstreamError},
    hedge::hedged,
    sighting::Sighting,
};
use crate::surroundings::Clock;

/// A question, which is put to one replica or to several.
pub(super) struct Question<'a> {
    pub method: Method,
    pub path: &'static str,
    pub host: &'a str,
    pub bearer: HeaderValue,
    pub extra: Option<(HeaderName, HeaderValue)>,
    pub body: &'a [u8],
    pub clock: &'a Clock,
}

/// A whole answer. Its body may hold tokens.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Secret<Vec<u8>>,
    pub sighting: Option<Sighting>,
}

/// An answer, and the connection that it came over.
pub(super) type Answered = (Answer, Connection);

impl Question<'_> {
    /// Asks over that connection.
    pub(super) async fn put(&self, mut to: Connection) -> Result<Answered, UpstreamError> {
        let exchange = async {
            to.sender.ready().await.map_err(UpstreamError::Exchange)?;
            let asked = self.clock.now();
            let response = to.sender.send_request(self.request()).await;
            let mut answer = collect(response.map_err(UpstreamError::Exchange)?).await?;
            answer.sighting = Sighting::of(&answer.headers, asked, self.clock.now());
            Ok(answer)
        };
        let answer = timeout(PATIENCE, exchange).await;
        let answer = answer.unwrap_or(Err(UpstreamError::TooSlow {
            step: Step::Request,
            limit: PATIENCE,
        }))?;
        Ok((answer, to))
    }

    /// Asks the first of these that agrees on TLS and, where it does not answer in time, the next one too.
    /// The address that leads to any replica may have led to the first: so one that is silent is not the
    /// only one that is asked.
    pub(super) async fn put_to_each(
        &self,
        race: Race,
        drivers: &Drivers,
    ) -> Result<Answered, UpstreamError> {
        let (fresh, others) = race.next(drivers).await?;
        let next = Box::pin(self.put_to_each(others, drivers));
        // Where two are silent the API server may be slow: who asks them all at once makes it slower.
        either(self.put(fresh), next, MINT).await
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(self.body)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = http::Uri::from_static(self.path);
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.bearer.clone());
        if let Ok(host) = HeaderValue::from_str(self.host) {
            headers.insert(header::HOST, host);
        }
        headers.extend(self.extra.clone());
        if !self.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, JSON);
        }
        request
    }
}

/// The answer of the one that was asked first or, where it is not there in time, of the other one too.
pub(super) fn either(
    first: impl Future<Output = Result<Answered, UpstreamError>>,
    second: impl Future<Output = Result<Answered, UpstreamError>>,
    patience: Duration,
) -> impl Future<Output = Result<Answered, UpstreamError>> {
    let is_away = |(answer, _): &Answered| answer.status.is_server_error();
    let is_refusal = |(answer, _): &Answered| answer.status.is_client_error();
    hedged(first, second, patience, is_away, is_refusal)
}

impl Answer {
    /// What the operator says where it does not do what it was asked.
    pub(super) fn refusal(&self) -> UpstreamError {
        let retry_after = seconds(self.headers.get(header::RETRY_AFTER));
        // An answer that is no problem document comes from something in between.
        let problem = serde_json::from_slice::<Problem>(self.body.expose()).ok();
        match problem.filter(|problem| !problem.code.is_empty()) {
            Some(problem) => UpstreamError::Refused {
                retry_after: retry_after.or(problem.retry_after_seconds),
                problem: Box::new(problem),
            },
            None => UpstreamError::Unexplained {
                status: self.status,
                retry_after,
            },
        }
    }
}

async fn collect(response: Response<Incoming>) -> Result<Answer, UpstreamError> {
    let (parts, mut incoming) = response.into_parts();
    let expected = usize::try_from(incoming.size_hint().lower()).unwrap_or(BODY);
    let mut body = Vec::with_capacity(expected.min(BODY));
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(UpstreamError::Exchange)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if body.len() + data.len() > BODY {
            return Err(UpstreamError::AnswerTooLarge { limit: BODY });
        }
        body.extend_from_slice(data);
    }
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: Secret::new(body),
        sighting: None,
    })
}

/// `Retry-After` in its form of seconds (RFC 9110 §10.2.3); the operator writes no dates.
fn seconds(value: Option<&HeaderValue>) -> Option<u32> {
    value?.to_str().ok()?.trim().parse().ok()
}

const BODY: usize = 1 << 20;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
