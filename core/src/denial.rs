//! Why not: the finite list of reasons that Hallpass gives, and the one refusal of a decision.

use std::fmt;

/// The reason of a refusal or a fault. One word everywhere: the `code` of a problem document, the
/// reason of a status condition and of an event, the label of a metric, the field of an audit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The request carries no bearer token.
    NoBearer,
    /// The bearer token is none that Kubernetes could have made.
    MalformedBearer,
    /// The bearer token is past its time, or before it.
    ExpiredBearer,
    /// The bearer token was made for somebody else, or is not bound to a pod.
    WrongAudience,
    /// The bearer token names a key that this cluster does not have.
    UnknownKey,
    /// The bearer token's signature does not fit.
    BadSignature,
    /// The pod of the bearer token is deleted, finished, or another one of the same name.
    PodGone,
    /// The service account of the bearer token is deleted, or another one of the same name.
    ServiceAccountGone,
    /// The stored policy says what no policy may say: it is left out.
    Invalid,
    /// No policy gives this pod that token.
    NoPolicy,
    /// The socket has no token of that name.
    NoSuchToken,
    /// An older policy gives the same pods a token of the same name.
    NameTaken,
    /// The policy names a service account that does not exist.
    ServiceAccountMissing,
    /// The policy names an audience that does not exist or cannot be used.
    AudienceMissing,
    /// The audience's `aud` is not its namespace's to state.
    AudienceNotPermitted,
    /// An older object claims the same value.
    Conflict,
    /// The audience names an issuer that does not exist or cannot be used.
    IssuerMissing,
    /// The issuer has no key that this replica knows of yet.
    IssuerNotReady,
    /// The audience allows the subject nothing.
    SubjectNotAllowed,
    /// The audience allows the subject none of the scopes that are asked for.
    ScopeNotAllowed,
    /// A lock forbids it.
    Locked,
    /// A revocation refuses what is issued now.
    Revoked,
    /// The token was issued to another pod.
    ForeignToken,
    /// The token endpoint knows no such grant.
    UnsupportedGrantType,
    /// Hallpass lacks the right to mint tokens in that namespace.
    MintForbidden,
    /// The API server refused to mint the token, or minted another one than was asked for.
    MintRefused,
    /// Asked for more often than allowed.
    TooOften,
    /// The request is too large.
    TooLarge,
    /// The request cannot be read.
    MalformedRequest,
    /// There is nothing at that path.
    NoSuchPath,
    /// The path does not take that method.
    WrongMethod,
    /// The operator has not read the cluster's state yet.
    NotSynced,
    /// The step needs another program, which does not answer.
    Unavailable,
    /// A fault of Hallpass itself.
    Internal,
    /// The token is past its time, and no new one could be had.
    Expired,
    /// The token is on its way.
    Pending,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Self; 36] = [
        Self::NoBearer,
        Self::MalformedBearer,
        Self::ExpiredBearer,
        Self::WrongAudience,
        Self::UnknownKey,
        Self::BadSignature,
        Self::PodGone,
        Self::ServiceAccountGone,
        Self::Invalid,
        Self::NoPolicy,
        Self::NoSuchToken,
        Self::NameTaken,
        Self::ServiceAccountMissing,
        Self::AudienceMissing,
        Self::AudienceNotPermitted,
        Self::Conflict,
        Self::IssuerMissing,
        Self::IssuerNotReady,
        Self::SubjectNotAllowed,
        Self::ScopeNotAllowed,
        Self::Locked,
        Self::Revoked,
        Self::ForeignToken,
        Self::UnsupportedGrantType,
        Self::MintForbidden,
        Self::MintRefused,
        Self::TooOften,
        Self::TooLarge,
        Self::MalformedRequest,
        Self::NoSuchPath,
        Self::WrongMethod,
        Self::NotSynced,
        Self::Unavailable,
        Self::Internal,
        Self::Expired,
        Self::Pending,
    ];

    /// The word itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoBearer => "NoBearer",
            Self::MalformedBearer => "MalformedBearer",
            Self::ExpiredBearer => "ExpiredBearer",
            Self::WrongAudience => "WrongAudience",
            Self::UnknownKey => "UnknownKey",
            Self::BadSignature => "BadSignature",
            Self::PodGone => "PodGone",
            Self::ServiceAccountGone => "ServiceAccountGone",
            Self::Invalid => "Invalid",
            Self::NoPolicy => "NoPolicy",
            Self::NoSuchToken => "NoSuchToken",
            Self::NameTaken => "NameTaken",
            Self::ServiceAccountMissing => "ServiceAccountMissing",
            Self::AudienceMissing => "AudienceMissing",
            Self::AudienceNotPermitted => "AudienceNotPermitted",
            Self::Conflict => "Conflict",
            Self::IssuerMissing => "IssuerMissing",
            Self::IssuerNotReady => "IssuerNotReady",
            Self::SubjectNotAllowed => "SubjectNotAllowed",
            Self::ScopeNotAllowed => "ScopeNotAllowed",
            Self::Locked => "Locked",
            Self::Revoked => "Revoked",
            Self::ForeignToken => "ForeignToken",
            Self::UnsupportedGrantType => "UnsupportedGrantType",
            Self::MintForbidden => "MintForbidden",
            Self::MintRefused => "MintRefused",
            Self::TooOften => "TooOften",
            Self::TooLarge => "TooLarge",
            Self::MalformedRequest => "MalformedRequest",
            Self::NoSuchPath => "NoSuchPath",
            Self::WrongMethod => "WrongMethod",
            Self::NotSynced => "NotSynced",
            Self::Unavailable => "Unavailable",
            Self::Internal => "Internal",
            Self::Expired => "Expired",
            Self::Pending => "Pending",
        }
    }

    /// The HTTP status that goes with the code (RFC 9110 §15, RFC 6585 §4).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedRequest | Self::UnsupportedGrantType => 400,
            Self::NoBearer
            | Self::MalformedBearer
            | Self::ExpiredBearer
            | Self::WrongAudience
            | Self::UnknownKey
            | Self::BadSignature => 401,
            Self::PodGone
            | Self::ServiceAccountGone
            | Self::Invalid
            | Self::NoPolicy
            | Self::NameTaken
            | Self::ServiceAccountMissing
            | Self::AudienceMissing
            | Self::AudienceNotPermitted
            | Self::Conflict
            | Self::IssuerMissing
            | Self::SubjectNotAllowed
            | Self::ScopeNotAllowed
            | Self::Locked
            | Self::Revoked
            | Self::ForeignToken
            | Self::MintForbidden
            | Self::MintRefused => 403,
            Self::NoSuchToken | Self::NoSuchPath => 404,
            Self::WrongMethod => 405,
            Self::TooLarge => 413,
            Self::TooOften => 429,
            Self::Internal => 500,
            Self::NotSynced
            | Self::IssuerNotReady
            | Self::Unavailable
            | Self::Expired
            | Self::Pending => 503,
        }
    }

    /// One sentence for a person: the `title` of a problem document, the same for every occurrence
    /// (RFC 9457 §3.1.4).
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::NoBearer => "the request carries no bearer token",
            Self::MalformedBearer => "the bearer token cannot be read",
            Self::ExpiredBearer => "the bearer token is not valid at this time",
            Self::WrongAudience => "the bearer token was made for somebody else",
            Self::UnknownKey => {
                "the bearer token was signed by a key that this cluster does not have"
            }
            Self::BadSignature => "the signature of the bearer token does not fit",
            Self::PodGone => "the pod is gone",
            Self::ServiceAccountGone => "the service account is gone",
            Self::Invalid => "the stored object is not valid",
            Self::NoPolicy => "no policy gives this pod that token",
            Self::NoSuchToken => "there is no token of that name here",
            Self::NameTaken => "an older policy gives the same pods a token of that name",
            Self::ServiceAccountMissing => "the service account does not exist",
            Self::AudienceMissing => "the audience does not exist",
            Self::AudienceNotPermitted => "the namespace may not state that audience",
            Self::Conflict => "an older object claims the same value",
            Self::IssuerMissing => "the issuer does not exist",
            Self::IssuerNotReady => "the issuer has no key yet",
            Self::SubjectNotAllowed => "the audience allows that service account nothing",
            Self::ScopeNotAllowed => "the audience does not allow that scope",
            Self::Locked => "a lock forbids it",
            Self::Revoked => "what is issued now is revoked already",
            Self::ForeignToken => "the token was issued to another pod, or by another issuer",
            Self::UnsupportedGrantType => "the token endpoint knows no such grant type",
            Self::MintForbidden => "Hallpass may not mint tokens in that namespace",
            Self::MintRefused => "the API server did not mint the token",
            Self::TooOften => "asked for too often",
            Self::TooLarge => "the request is too large",
            Self::MalformedRequest => "the request cannot be read",
            Self::NoSuchPath => "there is nothing at that path",
            Self::WrongMethod => "the path does not take that method",
            Self::NotSynced => "the operator is still reading the state of the cluster",
            Self::Unavailable => "a needed program does not answer",
            Self::Internal => "a fault of Hallpass itself",
            Self::Expired => "the token is past its time and no new one could be had",
            Self::Pending => "the token is on its way",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The other outcome of a decision: a code and what is missing, in words for the one who asked.
/// It names no object of another namespace but the audience that the policy itself names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Denial {
    /// The finite reason.
    pub code: Code,
    /// What is missing, and what to do about it.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(
            words
                .iter()
                .all(|w| w.bytes().all(|b| b.is_ascii_alphabetic())),
            "a word is CamelCase: {words:?}"
        );
    }

    #[test]
    fn the_word_is_the_name_of_the_variant() {
        for code in Code::ALL {
            assert_eq!(format!("{code:?}"), code.as_str());
        }
    }
}
