//! The forms that an answer has.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use hallpass_core::{denial::Code, secret::Secret, wire::Problem};
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Bytes, Frame, SizeHint};
use serde::Serialize;

use super::watching::Events;
use crate::surroundings::request_id;

/// The body of an answer.
pub(crate) enum Body {
    /// Whole; taken when it was sent.
    Whole(Option<Bytes>),
    /// Server-sent events, as they happen.
    Events(Events),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => events
                .poll_next(cx)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// 200 with a body that no one may keep.
pub(crate) fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    respond(StatusCode::OK, content_type, Body::Whole(Some(body.into())))
}

/// 200 with a token, which is wiped when it was sent.
pub(crate) fn secret(content_type: &'static str, body: Secret<String>) -> Response<Body> {
    whole(content_type, Bytes::from_owner(Exposed(body)))
}

/// The last step of a token on its way out.
struct Exposed(Secret<String>);

impl AsRef<[u8]> for Exposed {
    fn as_ref(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

/// 200 with events as they happen.
pub(crate) fn events(events: Events) -> Response<Body> {
    respond(StatusCode::OK, "text/event-stream", Body::Events(events))
}

/// 200 with a document.
pub(crate) fn json(document: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(document) {
        Ok(body) => whole(JSON, body),
        Err(_unwritable) => internal(),
    }
}

/// A refusal (RFC 9457), under the code's own status.
pub(crate) fn problem(code: Code, detail: impl Into<String>) -> Response<Body> {
    refusal(Problem::new(code, detail), None::<&()>)
}

/// A fault of this program.
pub(crate) fn internal() -> Response<Body> {
    problem(
        Code::Internal,
        "this request met a fault of the sidecar; its log has the place",
    )
}

/// A refusal with further members (RFC 9457 §3.2).
pub(crate) fn refusal(mut problem: Problem, more: Option<&impl Serialize>) -> Response<Body> {
    let id = request_id();
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let header = HeaderValue::from_str(&id);
    problem.request_id = Some(id);
    // Text and numbers alone: there is nothing in it that could not be written.
    let body = serde_json::to_vec(&Refusal { problem, more }).unwrap_or_default();
    let body = Body::Whole(Some(body.into()));
    let mut response = respond(status, "application/problem+json", body);
    if let Ok(id) = header {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

#[derive(Serialize)]
struct Refusal<'a, M> {
    #[serde(flatten)]
    problem: Problem,
    #[serde(flatten)]
    more: Option<&'a M>,
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
