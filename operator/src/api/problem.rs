//! A refusal as a response. The document itself is written by [`super::observe`], which knows the
//! request id.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hallpass_core::{
    denial::Code,
    wire::{Problem, RefusedEntry},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{audit::RequestId, issue::refusal::Refusal};

/// What a handler returns instead of an answer.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    refusal: Refusal,
    tokens: Vec<RefusedEntry>,
}

impl Refused {
    /// The refusal of a request for tokens, with what was said of each.
    pub(super) const fn each(refusal: Refusal, tokens: Vec<RefusedEntry>) -> Self {
        Self { refusal, tokens }
    }

    pub(super) const fn code(&self) -> Code {
        self.refusal.code
    }

    /// The response, whole.
    pub(super) fn respond(self, request: &RequestId) -> Response {
        let document = Problem {
            request_id: Some(request.as_str().to_owned()),
            tokens: self.tokens,
            ..self.refusal.problem()
        };
        let mut response = Response::new(Body::from(
            serde_json::to_vec(&document).unwrap_or_default(),
        ));
        *response.status_mut() =
            StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = document.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = challenge(self.refusal.code) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if ends_connection(self.refusal.code) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            tokens: Vec::new(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        Refused::from(self).into_response()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// Any other path.
pub(super) async fn no_such_path() -> Refused {
    Refusal::new(Code::NoSuchPath, "there are /v1/assignments and /v1/tokens").into()
}

/// Another method; the router adds `Allow` to whatever answer comes of it.
pub(super) async fn wrong_method() -> Refused {
    Refusal::new(
        Code::WrongMethod,
        "the header Allow names those that it takes",
    )
    .into()
}

/// The challenge that goes with a 401 (RFC 6750 §3): with an error only where a token was sent.
fn challenge(code: Code) -> Option<HeaderValue> {
    if code.status() != 401 {
        return None;
    }
    if code == Code::NoBearer {
        return Some(HeaderValue::from_static("Bearer realm=\"hallpass\""));
    }
    // A title is ASCII without quotes: nothing in it wants escaping.
    let challenge = format!(
        "Bearer error=\"invalid_token\", error_description=\"{}\"",
        code.title()
    );
    Some(HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer")))
}

/// Whether the answer ends the connection: nobody unknown keeps one open.
const fn ends_connection(code: Code) -> bool {
    matches!(code.status(), 401 | 404 | 405)
}
