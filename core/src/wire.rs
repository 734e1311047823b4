//! The JSON between operator and sidecar, and between sidecar and application.
//!
//! Readers are tolerant: an unknown member is passed over, so that an operator and a sidecar of
//! different versions understand each other. Credentials are [`Secret`]s on both sides of the wire;
//! they are written and read in one function each, at the end of this file.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    denial::Code,
    name::{Audience, ContainerName, TokenName},
    scope::ScopeSet,
    secret::Secret,
};

/// How long a sidecar waits for the answer to a request that it has sent. Then it asks anew.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How long the operator has for a request, from the moment on at which its headers are there. What is left
/// of [`PATIENCE`] is for the way there and back: nothing is minted for a sidecar that has given up.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(13);

/// `GET /v1/assignments`: what the sidecar of one pod is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignments {
    /// The tokens, by name.
    pub tokens: Vec<Assignment>,
    /// Why there is none, where that wants a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// One token to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its name on the socket and the name of its file.
    pub name: TokenName,
    /// Its `aud`; absent where it is not known, since the audience that the policy names is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// How long one lives, in seconds; absent where nobody allows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
    /// What one is good for (RFC 6749 §3.3); absent for a service-account token and where nobody allows
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    /// Whether the pod starts only when it is there.
    pub required: bool,
    /// The containers that see it; absent means all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<ContainerName>>,
}

/// A remark beside an answer that is no refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// One of [`Code`]'s words.
    pub code: Cow<'static, str>,
    /// What it means here.
    pub detail: String,
}

/// `POST /v1/tokens`: the tokens that are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensRequest {
    /// Their names; absent means every token that the pod may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<TokenName>>,
}

/// The answer to [`TokensRequest`]: an entry for each name.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokensResponse {
    /// In the order of the names asked for.
    pub tokens: Vec<TokenEntry>,
}

/// One token, or why not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenEntry {
    /// It was issued.
    Issued(IssuedToken),
    /// It was not.
    Refused(RefusedEntry),
}

/// A token on the wire between operator and sidecar.
#[derive(Debug, Serialize, Deserialize)]
pub struct IssuedToken {
    /// Its name.
    pub name: TokenName,
    /// The token itself.
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    pub token: Secret<String>,
    /// Its `aud`.
    pub audience: Audience,
    /// What it is good for (RFC 6749 §3.3); absent for a service-account token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it is worthless.
    pub expires_at: Timestamp,
}

/// A refusal as a document (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the `code` says what kind it is.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: Cow<'static, str>,
    /// The same sentence for every occurrence of the code.
    #[serde(default)]
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, and what to do about it.
    #[serde(default)]
    pub detail: String,
    /// One of [`Code`]'s words; a reader may meet one that is newer than itself.
    #[serde(default)]
    pub code: Cow<'static, str>,
    /// What the logs of both sides call this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The wait that is asked for, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// Beside a refusal of [`TokensRequest`]: an entry for each name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<RefusedEntry>,
}

/// A name and why its token was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEntry {
    /// The name of the token.
    pub name: TokenName,
    /// Why.
    pub problem: Box<Problem>,
}

impl Problem {
    /// The document for a code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: about_blank(),
            title: Cow::Borrowed(code.title()),
            status: code.status(),
            detail: detail.into(),
            code: Cow::Borrowed(code.as_str()),
            request_id: None,
            retry_after_seconds: None,
            tokens: Vec::new(),
        }
    }
}

const fn about_blank() -> Cow<'static, str> {
    Cow::Borrowed("about:blank")
}

/// How a token stands, in the words of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    /// None yet.
    Pending,
    /// Valid, and not due.
    Fresh,
    /// Valid, and a newer one could not be had so far.
    Stale,
    /// Past its time: it is not served.
    Expired,
}

/// `GET /v1/tokens/{name}` on the socket: the members that RFC 6749 §5.1 names, and ours.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServedToken {
    /// Its name.
    pub name: TokenName,
    /// The token itself.
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    pub access_token: Secret<String>,
    /// Always `Bearer`.
    pub token_type: Cow<'static, str>,
    /// Its `aud`.
    pub audience: Audience,
    /// What it is good for (RFC 6749 §3.3); absent for a service-account token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it is worthless.
    pub expires_at: Timestamp,
    /// The seconds until then (RFC 6749 §5.1).
    pub expires_in: u64,
    /// How it stands.
    pub state: TokenState,
}

/// `GET /v1/tokens` on the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenList {
    /// The tokens that this container may read, by name.
    pub tokens: Vec<ListedToken>,
}

/// The answer of a token endpoint (RFC 6749 §5.1).
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenResponse {
    /// The token itself.
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    pub access_token: Secret<String>,
    /// What kind of token it is, where it was exchanged for another one (RFC 8693 §2.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<Cow<'static, str>>,
    /// Always `Bearer`.
    pub token_type: Cow<'static, str>,
    /// The seconds until it is worthless.
    pub expires_in: u64,
    /// What it is good for, which may be less than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
}

/// A token without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedToken {
    /// Its name.
    pub name: TokenName,
    /// Its `aud`; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// How it stands.
    pub state: TokenState,
    /// From when on it is worthless; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// An event of `GET /v1/watch` on the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEvent {
    /// The token's name.
    pub name: TokenName,
    /// How it stands now.
    pub state: TokenState,
    /// From when on it is worthless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

fn write_secret<S: Serializer>(secret: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

fn read_secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_token_or_a_problem() {
        let answer = r#"{"later":1,"tokens":[
            {"name":"vault","token":"planted","audience":"v","issued_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-01T01:00:00Z","new":true},
            {"name":"queue","problem":{"status":403,"code":"FromTheFuture","detail":"d"}}]}"#;
        let answer: TokensResponse = serde_json::from_str(answer).unwrap();
        let [TokenEntry::Issued(issued), TokenEntry::Refused(refused)] = &answer.tokens[..] else {
            panic!("{answer:?}");
        };
        assert_eq!(issued.token.expose(), "planted");
        assert_eq!(
            issued.expires_at.as_second() - issued.issued_at.as_second(),
            3600
        );
        assert_eq!(
            (refused.problem.code.as_ref(), refused.problem.status),
            ("FromTheFuture", 403)
        );
        assert!(!format!("{answer:?}").contains("planted"));
    }

    #[test]
    fn a_problem_is_written_as_rfc_9457_says() {
        let problem = Problem::new(Code::NoPolicy, "why");
        assert_eq!(
            serde_json::to_value(problem).unwrap(),
            serde_json::json!({
                "type": "about:blank", "title": "no policy gives this pod that token", "status": 403,
                "detail": "why", "code": "NoPolicy"
            })
        );
    }

    #[test]
    fn f11_the_operator_has_answered_before_a_sidecar_gives_up() {
        let way = PATIENCE.checked_sub(ANSWER_WITHIN).unwrap();
        assert!(way >= Duration::from_secs(2), "{way:?}");
    }

    #[test]
    fn a_request_without_names_asks_for_all() {
        assert_eq!(
            serde_json::from_str::<TokensRequest>("{}").unwrap(),
            TokensRequest { names: None }
        );
        assert_eq!(
            serde_json::to_string(&TokensRequest::default()).unwrap(),
            "{}"
        );
    }
}
