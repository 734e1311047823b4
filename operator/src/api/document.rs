//! A document that its reader may keep for a while, and ask for again by its tag.

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use sha2::{Digest, Sha256};

use crate::issuer::hex;

/// The document, and how long it may be kept.
#[derive(Debug)]
pub(super) struct Document {
    /// Its `Content-Type`.
    pub(super) kind: &'static str,
    /// Its `Cache-Control`.
    pub(super) keep: HeaderValue,
    /// Its `ETag`, with the quotes.
    pub(super) tag: String,
    /// The document itself.
    pub(super) body: Bytes,
}

impl Document {
    /// A document in JSON, tagged by what it says.
    pub(super) fn json(body: Vec<u8>, keep: HeaderValue) -> Self {
        Self {
            kind: "application/json",
            keep,
            tag: format!("\"{}\"", hex(&Sha256::digest(&body))),
            body: body.into(),
        }
    }

    /// The answer to a request with those headers: 304 where the caller has it already.
    pub(super) fn answer(self, headers: &HeaderMap) -> Response {
        let mut response = if matches_tag(headers, &self.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Response::new(Body::from(self.body));
            let kind = HeaderValue::from_static(self.kind);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        };
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(ETAG, tag);
        }
        headers.insert(CACHE_CONTROL, self.keep);
        response
    }
}

/// Whether the caller has what is tagged so (RFC 9110 §13.1.2: weak comparison, lists, `*`).
fn matches_tag(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        // A tag of ours has no comma, so that splitting within one of another's does no harm.
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|candidate| {
            candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag
        })
}
