//! Whom to trust: the CAs under which the replicas serve. It is public: whoever connects sees as much.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use hallpass_core::denial::Code;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Api, document::Document, problem::Refused};
use crate::{issue::refusal::Refusal, tls::Anchors};

/// `GET /v1/trust`: 200 for everybody, with all CAs to trust in PEM; 304 where the caller has them.
pub(super) async fn trust(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let bundle = api.anchors.bundle();
    let bundle = bundle.ok_or_else(|| {
        Refusal::new(
            Code::Unavailable,
            "the Secret of the CA has not been read yet",
        )
    })?;
    let document = Document {
        kind: "application/pem-certificate-chain",
        // Those of before are of no use once the next CA signs.
        keep: HeaderValue::from_static("no-cache"),
        tag: format!("\"{}\"", bundle.digest),
        body: Bytes::copy_from_slice(bundle.pem.as_bytes()),
    };
    Ok(document.answer(&headers).into_response())
}

/// The answer with what its reader compares to what it trusts: only where that differs it asks for the rest.
pub(super) fn told(anchors: &Anchors, mut answer: Response) -> Response {
    let digest = anchors.bundle();
    let digest = digest.and_then(|bundle| HeaderValue::from_str(&bundle.digest).ok());
    if let Some(digest) = digest {
        answer.headers_mut().insert(HALLPASS_TRUST, digest);
    }
    answer
}

/// The SHA-256 of what `GET /v1/trust` answers, in lower-case hexadecimal digits.
const HALLPASS_TRUST: HeaderName = HeaderName::from_static("hallpass-trust");
