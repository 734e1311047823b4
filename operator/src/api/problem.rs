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
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};

use super::oauth::error::ErrorCode;
use crate::{audit::RequestId, issue::refusal::Refusal};

/// What a handler returns instead of an answer.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    refusal: Refusal,
    form: Form,
    allow: Option<&'static str>,
}

/// What the document looks like.
#[derive(Debug, Clone)]
enum Form {
    /// RFC 9457, with what was said of each token.
    Problem(Vec<RefusedEntry>),
    /// RFC 6749 §5.2.
    OAuth(ErrorCode),
}

impl Refused {
    /// The refusal of a request for tokens, with what was said of each.
    pub(super) const fn each(refusal: Refusal, tokens: Vec<RefusedEntry>) -> Self {
        Self {
            refusal,
            form: Form::Problem(tokens),
            allow: None,
        }
    }

    /// The refusal of a token endpoint.
    pub(super) const fn oauth(refusal: Refusal, error: ErrorCode) -> Self {
        Self {
            refusal,
            form: Form::OAuth(error),
            allow: None,
        }
    }

    /// The refusal of a method where these are taken.
    pub(super) fn method(allow: &'static str) -> Self {
        let refusal = Refusal::new(
            Code::WrongMethod,
            "the header Allow names those that it takes",
        );
        Self {
            allow: Some(allow),
            ..refusal.into()
        }
    }

    pub(super) const fn code(&self) -> Code {
        self.refusal.code
    }

    /// The response, whole.
    pub(super) fn respond(self, request: &RequestId) -> Response {
        let Self {
            refusal,
            form,
            allow,
        } = self;
        let (wait, code) = (refusal.retry_after_seconds(), refusal.code);
        let challenge = match &form {
            Form::Problem(_) => challenge(code),
            Form::OAuth(error) => error.challenge(),
        };
        let (mut response, close) = match form {
            Form::Problem(tokens) => (problem(&refusal, tokens, request), ends_connection(code)),
            Form::OAuth(error) => (
                oauth(&refusal, error, request),
                error.is_of_a_stranger() || ends_connection(code),
            ),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = wait {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn problem(refusal: &Refusal, tokens: Vec<RefusedEntry>, request: &RequestId) -> Response {
    let document = Problem {
        request_id: Some(request.as_str().to_owned()),
        tokens,
        ..refusal.problem()
    };
    let body = serde_json::to_vec(&document).unwrap_or_default();
    response(document.status, "application/problem+json", body)
}

fn oauth(refusal: &Refusal, error: ErrorCode, request: &RequestId) -> Response {
    let body = error.document(refusal, request);
    let mut response = response(error.status(refusal.code), "application/json", body);
    // RFC 6749 §5.2 asks for both.
    let no_cache = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(PRAGMA, no_cache);
    response
}

fn response(status: u16, kind: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::each(refusal, Vec::new())
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
pub(super) fn no_such_path() -> Refused {
    Refusal::new(
        Code::NoSuchPath,
        "there are /v1/assignments and /v1/tokens, and what the metadata of each TokenIssuer names",
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
