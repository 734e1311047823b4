//! Reads a request's body, up to a size and within a time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use hallpass_core::{denial::Code, wire::TokensRequest};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::issue::refusal::Refusal;

/// Reads `POST /v1/tokens`.
///
/// # Errors
/// [`Code::TooLarge`] above 16 KiB or 64 names, [`Code::MalformedRequest`] for what is not the JSON of
/// that request or does not arrive within 5 s.
pub(super) async fn tokens_request(body: Body) -> Result<TokensRequest, Refusal> {
    let body = whole(body).await?;
    // serde would read an array as the members in order, and so an empty one as a request for all.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed("the body is no JSON object"));
    }
    let request: TokensRequest = serde_json::from_slice(&body).map_err(|e| {
        // Where and not what: serde quotes, and it may be a token that was sent for a name.
        malformed(format!(
            r#"the body is no request for tokens, such as {{"names": ["vault"]}}: look at line {}, column {}"#,
            e.line(),
            e.column()
        ))
    })?;
    match &request.names {
        Some(names) if names.is_empty() => {
            Err(malformed("names is empty; leave it out to ask for all"))
        }
        Some(names) if names.len() > NAMES => Err(Refusal::new(
            Code::TooLarge,
            "a request has at most 64 names",
        )),
        Some(_) | None => Ok(request),
    }
}

/// Reads all of a body.
///
/// # Errors
/// [`Code::TooLarge`] above 16 KiB, [`Code::MalformedRequest`] for one that does not arrive within 5 s.
pub(super) async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let body = timeout(TIME, Limited::new(body, SIZE).collect()).await;
    // Neither error says more than its kind: the sender is slow, or gone.
    let body = body
        .ok()
        .ok_or_else(|| malformed("the body did not arrive within 5 s"))?;
    let body = body.map_err(|e| match e.downcast::<LengthLimitError>() {
        Ok(_) => Refusal::new(Code::TooLarge, "a body has at most 16 KiB"),
        Err(_) => malformed("the body broke off"),
    })?;
    Ok(body.to_bytes())
}

fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::MalformedRequest, detail)
}

const SIZE: usize = 16 * 1024;
const TIME: Duration = Duration::from_secs(5);
const NAMES: usize = 64;
