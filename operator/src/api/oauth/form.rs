//! The body of a request to a token or introspection endpoint.

use std::{borrow::Cow, collections::BTreeMap};

use axum::body::Body;
use hallpass_core::{denial::Code, secret::Secret};
use http::{HeaderMap, header::CONTENT_TYPE};

use crate::{api::body, issue::refusal::Refusal};

/// The parameters. Any of them may be a credential.
#[derive(Debug)]
pub(super) struct Form(BTreeMap<String, Vec<Secret<String>>>);

impl Form {
    /// Reads a body. A parameter without a value counts as left out (RFC 6749 §3.2).
    ///
    /// # Errors
    /// [`Code::TooLarge`] above 16 KiB; [`Code::MalformedRequest`] for what is no form, does not arrive in
    /// time, or has a parameter twice that is not `repeatable`.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: Body,
        repeatable: &[&str],
    ) -> Result<Self, Refusal> {
        if !is_form(headers) {
            return Err(malformed(
                "the Content-Type is not application/x-www-form-urlencoded",
            ));
        }
        let body = body::whole(body).await?;
        let mut parameters: BTreeMap<String, Vec<Secret<String>>> = BTreeMap::new();
        for (name, value) in pairs(&body) {
            let once = !repeatable.contains(&&*name);
            let values = parameters.entry(name.into_owned()).or_default();
            values.push(Secret::new(value.into_owned()));
            if once && values.len() > 1 {
                // Its name may be anything at all: it is not told.
                return Err(malformed("a parameter occurs twice"));
            }
        }
        for values in parameters.values_mut() {
            values.retain(|value| !value.expose().is_empty());
        }
        Ok(Self(parameters))
    }

    /// The value of that parameter, where it has one.
    pub(super) fn one(&self, name: &str) -> Option<&Secret<String>> {
        self.all(name).first()
    }

    /// Every value of that parameter.
    pub(super) fn all(&self, name: &str) -> &[Secret<String>] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The parameters as `form_urlencoded` reads them. What has nothing to decode, as a token has not, is passed
/// on as it is: nearly all of a body is such a value, and to look for what stands for what takes a while.
fn pairs(body: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let plain = std::str::from_utf8(body).ok();
    let parts = plain.into_iter().flat_map(|body| body.split('&'));
    let parts = parts.filter(|part| !part.is_empty()).filter_map(|part| {
        if part.contains('%') || part.contains('+') {
            return form_urlencoded::parse(part.as_bytes()).next();
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Some((name.into(), value.into()))
    });
    let others = plain.is_none().then(|| form_urlencoded::parse(body));
    parts.chain(others.into_iter().flatten())
}

/// Whether the one `Content-Type` is that of a form; its parameters, such as a charset, say nothing more.
fn is_form(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let kind = kinds.next().filter(|_| kinds.next().is_none());
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Code::MalformedRequest, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_is_read_as_form_urlencoded_reads_it(body in "[ab=&%+2C\u{e9}]{0,40}", tail in any::<[u8; 2]>()) {
            let body = [body.as_bytes(), &tail].concat();
            let read: Vec<_> = pairs(&body).collect();
            prop_assert_eq!(read, form_urlencoded::parse(&body).collect::<Vec<_>>());
        }
    }
}
