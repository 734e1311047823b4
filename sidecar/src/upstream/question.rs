//! One question to the operator, and a whole answer.

use std::time::Duration;

use hallpass_core::{
    denial::Code,
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
    hedge::{Early, hedged},
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

    /// Asks the first of these that agrees on TLS and, where it does not answer in time or is away, the next
    /// one too. The address that leads to any replica may have led to the first: so one that is silent is not
    /// the only one that is asked.
    pub(super) async fn put_to_each(
        &self,
        race: Race,
        drivers: &Drivers,
    ) -> Result<Answered, UpstreamError> {
        let (fresh, others) = race.next(drivers).await?;
        let next = Box::pin(self.put_to_each(others, drivers));
        // Where two are silent the API server may be slow: who asks them all at once makes it slower.
        hedged(
            self.put(fresh),
            next,
            MINT,
            |(answer, _)| after_one_of_many(answer),
            is_away,
            is_refusal,
        )
        .await
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
    hedged(
        first,
        second,
        patience,
        |_| Early::Counts,
        is_away,
        is_refusal,
    )
}

fn is_away((answer, _): &Answered) -> bool {
    answer.status.is_server_error()
}

fn is_refusal((answer, _): &Answered) -> bool {
    answer.status.is_client_error()
}

/// What follows the answer of one that is asked because another one was silent: where it is away, others may
/// be left that are not. One that names a pause is there, and has more to do than it can.
fn after_one_of_many(answer: &Answer) -> Early {
    if !answer.status.is_server_error() {
        Early::Counts
    } else if answer.says(Code::NotSynced) {
        Early::AtOnce
    } else if answer.headers.contains_key(header::RETRY_AFTER) {
        Early::Counts
    } else {
        // The API server may have minted what it was asked for, or be on it.
        Early::InTime
    }
}

impl Answer {
    /// What the operator says where it does not do what it was asked.
    pub(super) fn refusal(&self) -> UpstreamError {
        let retry_after = seconds(self.headers.get(header::RETRY_AFTER));
        match self.problem() {
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

    /// Whether that is its reason.
    fn says(&self, code: Code) -> bool {
        self.problem()
            .is_some_and(|problem| problem.code == code.as_str())
    }

    /// An answer that is no problem document comes from something in between.
    fn problem(&self) -> Option<Problem> {
        let problem = serde_json::from_slice::<Problem>(self.body.expose()).ok();
        problem.filter(|problem| !problem.code.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn follows(status: StatusCode, body: &str) -> Early {
        follows_with(HeaderMap::new(), status, body)
    }

    fn follows_with(headers: HeaderMap, status: StatusCode, body: &str) -> Early {
        after_one_of_many(&Answer {
            status,
            headers,
            body: Secret::new(body.as_bytes().to_vec()),
            sighting: None,
        })
    }

    #[test]
    fn the_next_of_many_is_asked_at_once_where_nothing_can_have_been_minted_and_else_in_its_time() {
        let away = StatusCode::SERVICE_UNAVAILABLE;
        let of = |code: &str| {
            format!(
                r#"{{"type":"about:blank","title":"","status":503,"code":"{code}","detail":""}}"#
            )
        };
        assert_eq!(follows(away, &of("NotSynced")), Early::AtOnce);
        for body in [
            &*of("Unavailable"),
            &of("Internal"),
            "from a proxy",
            "{}",
            "",
        ] {
            assert_eq!(follows(away, body), Early::InTime, "{body}");
        }
        let pause = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("2"))]);
        for (code, early) in [("NotSynced", Early::AtOnce), ("Unavailable", Early::Counts)] {
            let early_then = follows_with(pause.clone(), away, &of(code));
            assert_eq!(early_then, early, "{code}, after a pause");
        }
        for status in [200, 304, 403, 429] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(follows(status, &of("NotSynced")), Early::Counts, "{status}");
        }
    }
}
