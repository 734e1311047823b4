//! The words in which a token endpoint refuses (RFC 6749 §5.2).

use hallpass_core::denial::Code;
use http::HeaderValue;
use serde::Serialize;

use crate::{audit::RequestId, issue::refusal::Refusal};

/// The member `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum ErrorCode {
    /// It is not what the endpoint takes.
    InvalidRequest,
    /// The client is not who it says (RFC 7523 §3.2).
    InvalidClient(Challenge),
    /// What was to be exchanged is not accepted.
    InvalidGrant,
    /// There is no such grant.
    UnsupportedGrantType,
    /// One of the scopes is none, or not to be had.
    InvalidScope,
    /// Somebody forbids it (RFC 6749 §4.1.2.1).
    AccessDenied,
    /// There is no token for that audience (RFC 8693 §2.2.2, RFC 8707 §2).
    InvalidTarget,
    /// A later try may end well.
    ///
    /// RFC 6749 has the word in §4.1.2.1, for answers that cannot have a status; here it stands beside
    /// 429 or 503, which say the same. `slow_down` would be wrong: it tells a device to poll on
    /// (RFC 8628 §3.5), and no grant here is polled for.
    TemporarilyUnavailable,
    /// A fault of Hallpass itself: the word is from the same place.
    ServerError,
}

/// What a client that is refused is asked for. It is in the scheme that it tried, if that was one
/// (RFC 6749 §5.2), and never left out of a 401 (RFC 9110 §15.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Challenge {
    /// It tried `Basic`.
    Basic,
    /// It tried nothing, or something else.
    Bearer,
}

impl ErrorCode {
    /// The word for that reason; `credential` is the one for what is wrong with who asks.
    pub(in crate::api) const fn of(code: Code, credential: Self) -> Self {
        match code {
            Code::NoBearer
            | Code::MalformedBearer
            | Code::ExpiredBearer
            | Code::WrongAudience
            | Code::UnknownKey
            | Code::BadSignature
            | Code::PodGone
            | Code::ServiceAccountGone => credential,
            Code::MalformedRequest | Code::TooLarge | Code::NoSuchPath | Code::WrongMethod => {
                Self::InvalidRequest
            }
            Code::UnsupportedGrantType => Self::UnsupportedGrantType,
            Code::ScopeNotAllowed => Self::InvalidScope,
            Code::Locked | Code::Revoked => Self::AccessDenied,
            // RFC 6749 §5.2: it "was issued to another client".
            Code::ForeignToken => Self::InvalidGrant,
            Code::Invalid
            | Code::NoPolicy
            | Code::NoSuchToken
            | Code::NameTaken
            | Code::ServiceAccountMissing
            | Code::AudienceMissing
            | Code::AudienceNotPermitted
            | Code::Conflict
            | Code::IssuerMissing
            | Code::SubjectNotAllowed
            | Code::MintForbidden
            | Code::MintRefused => Self::InvalidTarget,
            Code::IssuerNotReady
            | Code::TooOften
            | Code::NotSynced
            | Code::Unavailable
            | Code::Expired
            | Code::Pending => Self::TemporarilyUnavailable,
            // A code that is younger than this list is not the caller's fault, as far as this list knows.
            _ => Self::ServerError,
        }
    }

    /// The word itself.
    pub(in crate::api) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::InvalidTarget => "invalid_target",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    /// The HTTP status: 400 for whatever is the caller's to change.
    pub(in crate::api) const fn status(self, code: Code) -> u16 {
        match self {
            Self::InvalidClient(_) => 401,
            Self::InvalidRequest if matches!(code, Code::TooLarge) => 413,
            Self::TemporarilyUnavailable => match code.status() {
                429 => 429,
                _ => 503,
            },
            Self::ServerError => 500,
            Self::InvalidRequest
            | Self::InvalidGrant
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::AccessDenied
            | Self::InvalidTarget => 400,
        }
    }

    /// What `WWW-Authenticate` says.
    pub(in crate::api) const fn challenge(self) -> Option<HeaderValue> {
        match self {
            Self::InvalidClient(Challenge::Basic) => {
                Some(HeaderValue::from_static("Basic realm=\"hallpass\""))
            }
            Self::InvalidClient(Challenge::Bearer) => {
                Some(HeaderValue::from_static("Bearer realm=\"hallpass\""))
            }
            _ => None,
        }
    }

    /// Whether it is said before it is known who asks.
    pub(in crate::api) const fn is_of_a_stranger(self) -> bool {
        matches!(
            self,
            Self::InvalidRequest
                | Self::InvalidClient(_)
                | Self::InvalidGrant
                | Self::UnsupportedGrantType
        )
    }

    /// The document.
    pub(in crate::api) fn document(self, refusal: &Refusal, request: &RequestId) -> Vec<u8> {
        let document = Document {
            error: self.as_str(),
            error_description: described(&refusal.detail),
            code: refusal.code.as_str(),
            request_id: request.as_str(),
            retry_after_seconds: refusal.retry_after_seconds(),
        };
        // Texts and a number always have a JSON.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    error: &'static str,
    error_description: String,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

/// The text with nothing but what RFC 6749 §5.2 lets it have: `%x20-21 / %x23-5B / %x5D-7E`. Names stay
/// quoted, with the other kind of quote.
fn described(detail: &str) -> String {
    let allowed = |c: &char| matches!(c, ' '..='~') && *c != '\\';
    let text = detail.chars().map(|c| if c == '"' { '\'' } else { c });
    text.filter(allowed).take(LONGEST_DESCRIPTION).collect()
}

const LONGEST_DESCRIPTION: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_word_and_a_status() {
        for code in Code::ALL {
            let error = ErrorCode::of(code, ErrorCode::InvalidGrant);
            let of_bearer =
                code.status() == 401 || matches!(code, Code::PodGone | Code::ServiceAccountGone);
            let word = match code {
                Code::ScopeNotAllowed => "invalid_scope",
                Code::UnsupportedGrantType => "unsupported_grant_type",
                Code::Locked | Code::Revoked => "access_denied",
                Code::ForeignToken => "invalid_grant",
                Code::Internal => "server_error",
                _ if of_bearer => "invalid_grant",
                _ => match code.status() {
                    400 | 405 | 413 => "invalid_request",
                    403 => "invalid_target",
                    404 if code == Code::NoSuchToken => "invalid_target",
                    404 => "invalid_request",
                    _ => "temporarily_unavailable",
                },
            };
            assert_eq!(error.as_str(), word, "{code}");
            let status = match code.status() {
                kept @ (413 | 429 | 500 | 503) => kept,
                _ => 400,
            };
            assert_eq!(error.status(code), status, "{code}");
            let client = ErrorCode::of(code, ErrorCode::InvalidClient(Challenge::Basic));
            assert_eq!(client.status(code) == 401, of_bearer, "{code}");
            assert_eq!(client.challenge().is_some(), of_bearer, "{code}");
        }
    }

    #[test]
    fn t38_a_description_has_no_character_that_it_must_not_have() {
        assert_eq!(
            described("a \"b\" c\\d\r\ne\u{0}\u{7f}\u{e9}\u{1f600}~ "),
            "a 'b' cde~ "
        );
        assert_eq!(described(&"\u{e9}".repeat(9)), "");
        assert_eq!(described(&"x".repeat(9000)).len(), 1000);
    }
}
