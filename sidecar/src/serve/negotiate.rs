//! The two request headers that change an answer.

use std::time::Duration;

use http::{HeaderMap, header};

/// Whether the bare token is wanted rather than the document: `text/plain` stands in `Accept` with
/// more weight than `application/json` (RFC 9110 §12.5.1).
pub(crate) fn wants_text(headers: &HeaderMap) -> bool {
    let (mut text, mut json) = (0.0, 0.0);
    for value in headers.get_all(header::ACCEPT) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            let weight = weight.unwrap_or(1.0_f32);
            if kind.eq_ignore_ascii_case("text/plain") {
                text = weight;
            } else if kind.eq_ignore_ascii_case("application/json") {
                json = weight;
            }
        }
    }
    text > json
}

/// The wait in `Prefer: wait=N` (RFC 7240 §4.3), at most 30 s.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter();
    let preferences = values.flat_map(|value| value.to_str().unwrap_or_default().split([',', ';']));
    let seconds = preferences
        .filter_map(|preference| preference.trim().strip_prefix("wait="))
        .find_map(|seconds| seconds.trim_matches('"').parse().ok())?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn text_is_served_only_where_it_is_wanted_more_than_json() {
        let cases = [
            ("text/plain", true),
            ("text/plain;charset=utf-8, */*", true),
            ("*/*", false),
            ("application/json, text/plain, */*", false),
            ("application/json;q=0.5, text/plain", true),
            ("text/plain;q=0", false),
        ];
        for (accept, expected) in cases {
            assert_eq!(
                wants_text(&with(header::ACCEPT, accept)),
                expected,
                "{accept}"
            );
        }
        assert!(!wants_text(&HeaderMap::new()));
    }

    #[test]
    fn a_preferred_wait_is_bounded() {
        let prefer = HeaderName::from_static("prefer");
        let cases = [
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("wait=\"3\"", Some(3)),
            ("wait=3600", Some(30)),
            ("wait=-1", None),
            ("handling=lenient", None),
        ];
        for (value, expected) in cases {
            let waited = wait(&with(prefer.clone(), value)).map(|wait| wait.as_secs());
            assert_eq!(waited, expected, "{value}");
        }
    }
}
