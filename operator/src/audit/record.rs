//! The form of a record. JSON escapes control characters: a record is always one line.

use hallpass_core::{
    decide::Subject,
    denial::Code,
    name::{TokenId, TokenName},
    scope::ScopeSet,
};
use jiff::Timestamp;
use serde::Serialize;

use super::RequestId;
use crate::issuer::IssuedToken;

#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    time: Timestamp,
    event: Event,
    #[serde(rename = "request.id")]
    request_id: &'a str,
    subject: SubjectRecord<'a>,
    #[serde(rename = "token.name", skip_serializing_if = "Option::is_none")]
    token_name: Option<&'a str>,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Debug, Clone, Copy, Serialize)]
enum Event {
    #[serde(rename = "TokenIssued")]
    Issued,
    #[serde(rename = "TokenDenied")]
    Denied,
    #[serde(rename = "TokenRevoked")]
    Revoked,
}

#[derive(Debug, Serialize)]
struct SubjectRecord<'a> {
    namespace: &'a str,
    service_account: &'a str,
    service_account_uid: &'a str,
    pod: &'a str,
    pod_uid: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Issued {
        policy: String,
        #[serde(rename = "grant.audience")]
        audience: &'a str,
        #[serde(rename = "grant.scope", skip_serializing_if = "Option::is_none")]
        scope: Option<&'a ScopeSet>,
        #[serde(rename = "token.id")]
        token_id: &'a str,
        #[serde(rename = "token.sha256")]
        token_sha256: String,
        expires_at: Timestamp,
    },
    Denied {
        #[serde(rename = "denial.code")]
        code: &'static str,
    },
    Revoked {
        #[serde(rename = "token.id")]
        token_id: &'a str,
    },
}

impl<'a> Record<'a> {
    pub(super) fn issued(request: &'a RequestId, issued: &'a IssuedToken, now: Timestamp) -> Self {
        let grant = issued.grant();
        Self {
            time: now,
            event: Event::Issued,
            request_id: request.as_str(),
            subject: grant.subject().into(),
            token_name: Some(grant.token().as_str()),
            outcome: Outcome::Issued {
                policy: grant.policy().to_string(),
                audience: grant.audience().as_str(),
                scope: grant.scopes(),
                token_id: issued.id(),
                token_sha256: issued.sha256(),
                expires_at: issued.expires_at(),
            },
        }
    }

    pub(super) fn denied(
        request: &'a RequestId,
        subject: &'a Subject,
        name: &'a TokenName,
        code: Code,
        now: Timestamp,
    ) -> Self {
        Self {
            time: now,
            event: Event::Denied,
            request_id: request.as_str(),
            subject: subject.into(),
            token_name: Some(name.as_str()),
            outcome: Outcome::Denied {
                code: code.as_str(),
            },
        }
    }
}

impl<'a> Record<'a> {
    /// A token does not say its name.
    pub(super) fn revoked(
        request: &'a RequestId,
        subject: &'a Subject,
        id: &'a TokenId,
        now: Timestamp,
    ) -> Self {
        Self {
            time: now,
            event: Event::Revoked,
            request_id: request.as_str(),
            subject: subject.into(),
            token_name: None,
            outcome: Outcome::Revoked {
                token_id: id.as_str(),
            },
        }
    }
}

impl<'a> From<&'a Subject> for SubjectRecord<'a> {
    fn from(subject: &'a Subject) -> Self {
        Self {
            namespace: subject.namespace.as_str(),
            service_account: subject.service_account.as_str(),
            service_account_uid: subject.service_account_uid.as_str(),
            pod: subject.pod.as_str(),
            pod_uid: subject.pod_uid.as_str(),
        }
    }
}
