//! Where tokens come from. A token is minted from nothing but a [`Grant`], and nobody gets one out of
//! here before [`crate::audit`] has written it down.

use std::time::Duration;

use hallpass_core::{
    decide::{Grant, Source},
    denial::Code,
    name::ObjectName,
    secret::Secret,
    token::claims::MintFault,
    wire,
};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::minted::Mismatch;
use crate::clock::since_boot;

pub mod hallpass;
pub mod kubernetes;
pub mod minted;

#[cfg(test)]
pub(crate) mod fixture;

/// Every source of tokens.
#[derive(Debug)]
pub struct Issuers {
    /// Service-account tokens.
    pub kubernetes: kubernetes::Minter,
    /// Our own.
    pub hallpass: hallpass::Mint,
}

impl Issuers {
    /// Has the token of the grant minted by whom the grant names, by then or not at all.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn mint(
        &self,
        grant: &Grant,
        now: Timestamp,
        until: Instant,
    ) -> Result<IssuedToken, MintError> {
        let since_boot = since_boot();
        match grant.source() {
            // Boxed, since it is large and would be a part of the other's state too.
            Source::Kubernetes => {
                let minted = Box::pin(self.kubernetes.mint(grant, now, until)).await;
                minted.map_err(|error| self.hallpass.reason(error, now, since_boot))
            }
            Source::Hallpass(own) => self.hallpass.mint(grant, own, now, since_boot),
        }
    }
}

/// A token that fits its grant: service account, pod and audience were compared. Only an issuer makes
/// one. It leaves the operator as [`Audited`](crate::audit::Audited) alone.
#[derive(Debug)]
pub struct IssuedToken {
    grant: Grant,
    id: String,
    token: Secret<String>,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl IssuedToken {
    /// What it was minted from.
    #[must_use]
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Its `jti`: what the API server's own audit log calls it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// From when on it is worthless.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The SHA-256 of the token in hexadecimal digits: recognises it, and is of no other use.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.token.expose().as_bytes()))
    }

    /// The token as it goes over the wire; [`Audited`](crate::audit::Audited) asks for it, nobody else.
    pub(crate) fn into_wire(self) -> wire::IssuedToken {
        wire::IssuedToken {
            name: self.grant.token().clone(),
            audience: self.grant.audience().clone(),
            scope: self.grant.scopes().cloned(),
            token: self.token,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        }
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(digits).collect()
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Why a grant could not be turned into a token. The text is for the one who asked.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The pod of the grant does not exist any more.
    #[error("the pod is gone, or another one has its name now")]
    PodGone,
    /// The service account of the grant does not exist any more.
    #[error("the service account is gone, or another one has its name now")]
    ServiceAccountGone,
    /// Hallpass lacks the right.
    #[error(
        "Hallpass may not mint tokens in namespace \"{namespace}\"; who may, allows it with: {command}"
    )]
    Forbidden {
        /// Where.
        namespace: String,
        /// What grants the right.
        command: String,
    },
    /// The right is there, and the API server still refused: an admission policy, or a pod that does
    /// not run under that service account.
    #[error("the API server refused: {message}")]
    Refused {
        /// Its own words, shortened.
        message: String,
    },
    /// What came back is not what was asked for: it is dropped.
    #[error("the API server minted another token than was asked for: {0}")]
    Mismatch(Mismatch),
    /// The API server asks to wait.
    #[error("the API server is busy")]
    Busy {
        /// How long.
        retry_after: Duration,
    },
    /// The API server answered with a fault of its own.
    #[error("the API server failed with status {status}")]
    Failed {
        /// The HTTP status.
        status: u16,
    },
    /// The call itself failed.
    #[error("the API server could not be reached")]
    Call(#[source] Box<kube::Error>),
    /// The answer broke off, or was far too long.
    #[error("the answer of the API server broke off")]
    ReadAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The issuer has no key that this replica knows of.
    #[error("the issuer \"{issuer}\" has no key that this replica knows of yet")]
    NotReady {
        /// The `TokenIssuer`.
        issuer: ObjectName,
    },
    /// The key that signs is revoked: what it signed would be worth nothing.
    #[error("the key of the issuer \"{issuer}\" that signs is revoked, and no other one signs yet")]
    RevokedKey {
        /// The `TokenIssuer`.
        issuer: ObjectName,
    },
    /// This replica does not know what time it is.
    #[error("the clocks of this replica and of the API server are {} s apart", .0.as_secs().unsigned_abs())]
    Clock(SignedDuration),
    /// The grant is one of a service-account token.
    #[error("the grant is not one of a token of Hallpass's own")]
    NotOwn,
    /// The claims are such that no verifier would accept the token.
    #[error("no token can be made of the grant")]
    Unmintable(#[source] MintFault),
    /// No answer within the time that a request has.
    #[error("the API server did not answer in time")]
    TimedOut,
}

impl MintError {
    /// The finite reason.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::PodGone => Code::PodGone,
            Self::ServiceAccountGone => Code::ServiceAccountGone,
            Self::Forbidden { .. } => Code::MintForbidden,
            Self::Refused { .. } | Self::Mismatch(_) => Code::MintRefused,
            Self::NotReady { .. } | Self::RevokedKey { .. } => Code::IssuerNotReady,
            Self::NotOwn | Self::Unmintable(_) => Code::Internal,
            Self::Clock(_)
            | Self::Busy { .. }
            | Self::Failed { .. }
            | Self::Call(_)
            | Self::ReadAnswer(_)
            | Self::TimedOut => Code::Unavailable,
        }
    }

    /// Whether the same call can end well a little later, with nothing changed by anybody.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.code(), Code::Unavailable | Code::IssuerNotReady)
    }

    /// The wait that the API server asked for.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_two_lower_case_digits_each() {
        assert_eq!(hex(&[0x00, 0x0f, 0xa5, 0xff]), "000fa5ff");
        assert_eq!(hex(&[]), "");
    }
}
