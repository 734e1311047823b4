//! Why a token is refused. No text repeats anything of the token.

use super::{jose::LONGEST_TOKEN, signature::Unsigned};
use crate::denial::Code;

/// Why a text cannot be read as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Longer than any token.
    #[error("it is longer than {LONGEST_TOKEN} bytes")]
    TooLong,
    /// Not three parts with dots between.
    #[error("it does not consist of three parts with dots between")]
    Parts,
    /// Padded, with a character outside of the alphabet, or with bits that belong to no byte.
    #[error("a part of it is not canonical base64url")]
    Base64,
    /// Not a JSON object, one with a name that occurs twice, or one that is nested too deeply.
    #[error("a part of it is not a JSON object without duplicate members")]
    Json,
    /// A member other than `alg`, `kid` and `typ`: `crit`, `b64`, `jwk`, `jku`, `x5u` and the like.
    #[error("its header has a member other than alg, kid and typ")]
    UnknownHeader,
    /// A `typ` that is not the one of its kind.
    #[error("its typ is not the one of its kind")]
    Type,
    /// An `alg` that is not the one of the key, or that its issuer never signs with.
    #[error("its alg is not that of the key")]
    Algorithm,
    /// A member that is missing or not of its type.
    #[error("its member {0} is missing or not of its type")]
    Member(&'static str),
    /// A `sub` that is not the service account of the claims.
    #[error("its sub is not its service account")]
    Subject,
    /// A claim that its issuer never writes.
    #[error("it has a claim that its issuer never writes")]
    UnknownClaim,
    /// Made for longer than an hour, or for no time at all.
    #[error("it was not made for 1 s to 1 h")]
    Lifetime,
    /// Not an opaque token: another prefix, or an alphabet that none has.
    #[error("it is not of the form of an opaque token")]
    Form,
    /// A checksum that is not the one of the rest: cut off, mistyped or made up.
    #[error("its checksum does not fit")]
    Checksum,
    /// An opaque token of a version that is not known here.
    #[error("its version is not known")]
    Version,
    /// Sealed by its issuer, and yet not what its issuer writes.
    #[error("its content is not what its issuer writes")]
    Content,
}

/// Why a token of an issuer of Hallpass is not accepted, signed or sealed: the first check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No token that an issuer of Hallpass could have made.
    #[error(transparent)]
    Malformed(#[from] Flaw),
    /// The key is not one of the issuer's.
    #[error("its key is not among the keys of the issuer")]
    UnknownKey,
    /// The signature, or the tag of the seal, is not the key's.
    #[error("it was not made with its key")]
    BadSignature,
    /// Made by another issuer. A key counts only together with its issuer.
    #[error("its issuer is another one")]
    WrongIssuer,
    /// The audience is another one.
    #[error("it was made for another audience")]
    WrongAudience,
    /// Everything fits but the time.
    #[error("it is past its time")]
    Expired,
}

impl Fault {
    /// The finite reason.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Malformed(_) => Code::MalformedBearer,
            Self::UnknownKey | Self::WrongIssuer => Code::UnknownKey,
            Self::BadSignature => Code::BadSignature,
            Self::WrongAudience => Code::WrongAudience,
            Self::Expired => Code::ExpiredBearer,
        }
    }
}

impl From<Unsigned> for Fault {
    fn from(unsigned: Unsigned) -> Self {
        match unsigned {
            Unsigned::Malformed(flaw) => Self::Malformed(flaw),
            Unsigned::UnknownKey => Self::UnknownKey,
            Unsigned::BadSignature => Self::BadSignature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_code() {
        for (fault, code) in [
            (Fault::Malformed(Flaw::Parts), Code::MalformedBearer),
            (Fault::UnknownKey, Code::UnknownKey),
            (Fault::BadSignature, Code::BadSignature),
            (Fault::WrongIssuer, Code::UnknownKey),
            (Fault::WrongAudience, Code::WrongAudience),
            (Fault::Expired, Code::ExpiredBearer),
        ] {
            assert_eq!(fault.code(), code, "{fault}");
        }
    }
}
