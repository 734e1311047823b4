//! The one `Authorization` header, and the subject behind it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use hallpass_core::{denial::Code, secret::Secret};
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use jiff::Timestamp;

use super::{Api, observe::Arrival};
use crate::{attest::Authenticated, issue::refusal::Refusal};

impl FromRequestParts<Arc<Api>> for Authenticated {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let now = Arrival::of(&parts.extensions)?.at;
        authenticate(api, &mut parts.headers, now).await
    }
}

/// The subject behind the bearer token of a request, which is taken out of it.
///
/// # Errors
/// There is none, or it is not accepted.
pub(super) async fn authenticate(
    api: &Api,
    headers: &mut HeaderMap,
    now: Timestamp,
) -> Result<Authenticated, Refusal> {
    let bearer = bearer(headers)?;
    // Nothing behind this line needs it.
    headers.remove(AUTHORIZATION);
    let attested = api.attestor.attest(bearer.as_ref(), now).await;
    attested.map_err(Refusal::from)
}

/// The bearer token of a request (RFC 6750 §2.1); [`None`] where there is no `Authorization` or one of
/// another scheme.
///
/// # Errors
/// [`Code::MalformedBearer`]: more than one header, or something that is no token.
fn bearer(headers: &HeaderMap) -> Result<Option<Secret<String>>, Refusal> {
    let malformed = |detail: &str| Refusal::new(Code::MalformedBearer, detail);
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed(
            "the request carries more than one Authorization header",
        ));
    }
    // The cause would say no more.
    let value = value
        .to_str()
        .ok()
        .ok_or_else(|| malformed("the Authorization header is not ASCII"))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Ok(None);
    }
    let token = token.trim_start_matches(' ');
    if !is_b64token(token) {
        return Err(malformed("what follows Bearer is no token"));
    }
    Ok(Some(Secret::new(token.to_owned())))
}

/// Whether the text could be a bearer token at all (RFC 6750 §2.1): nothing else goes any further.
pub(super) fn is_b64token(text: &str) -> bool {
    // Without an early end: the compiler then looks at many bytes at once, and nearly all texts are tokens.
    !text.is_empty() && text.bytes().fold(true, |all, b| all & is_of_token(b))
}

const fn is_of_token(b: u8) -> bool {
    let alphanumeric = (b | 0x20).wrapping_sub(b'a') < 26 || b.wrapping_sub(b'0') < 10;
    // '-', '.' and '/' follow each other
    alphanumeric || b.wrapping_sub(b'-') < 3 || b == b'_' || b == b'~' || b == b'+' || b == b'='
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&'static [u8]]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        bearer(&headers)
            .map(|b| b.map(|b| b.expose().clone()))
            .map_err(|r| r.code)
    }

    #[test]
    fn reads_one_token_of_the_bearer_scheme_in_any_case() {
        assert_eq!(read(&[b"Bearer abc.d-e_f"]), Ok(Some("abc.d-e_f".into())));
        assert_eq!(read(&[b"bearer  abc="]), Ok(Some("abc=".into())));
    }

    #[test]
    fn a_token_has_the_characters_of_rfc_6750_and_no_other() {
        let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(b);
        for b in u8::MIN..=u8::MAX {
            assert_eq!(is_of_token(b), fits(&b), "{b:#x}");
        }
    }

    #[test]
    fn another_scheme_is_no_bearer() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"Basic YTpi"]), Ok(None));
        assert_eq!(read(&[b""]), Ok(None));
    }

    #[test]
    fn refuses_two_headers_and_what_is_no_token() {
        for values in [
            &[&b"Bearer a"[..], b"Bearer a"][..],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Bearer a b"],
            &[b"Bearer a,b"],
            &[b"Bearer \xc3\xa4"],
        ] {
            assert_eq!(read(values), Err(Code::MalformedBearer), "{values:?}");
        }
    }
}
