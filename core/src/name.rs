//! Names that were checked once, at the edge, and need no second look.
//!
//! A value of one of these types satisfies the rule of its kind; a `String` is a name that nobody
//! has looked at yet. None of them can be empty. To clone one costs nothing: a request clones dozens.

use std::{borrow::Borrow, fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::uuid;

mod packed;

pub use packed::PackedUid;

/// Why a text is not a name of the wanted kind. Its text says what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("must not be empty")]
    Empty,
    /// Longer than its kind allows.
    #[error("has more than {0} characters")]
    TooLong(usize),
    /// Not a label of RFC 1123 §2.1, as Kubernetes reads it.
    #[error(
        "must consist of lower-case letters, digits and '-', and begin and end with a letter or digit"
    )]
    Label,
    /// Not a subdomain of RFC 1123 §2.1, as Kubernetes reads it.
    #[error(
        "must consist of lower-case letters, digits, '-' and '.', and each part must begin and end with a letter or digit"
    )]
    Subdomain,
    /// A character that no audience or uid has: control characters, spaces, anything beyond ASCII.
    #[error("must consist of printable ASCII characters without spaces")]
    NotPrintable,
    /// Not a trust domain of SPIFFE-ID §2.1.
    #[error("must consist of lower-case letters, digits, '-', '.' and '_'")]
    TrustDomain,
    /// A character that no scope has.
    #[error("must not contain '\"', '\\' or '*'")]
    Scope,
    /// An audience that belongs to Hallpass: its identity tokens are asked for with it.
    #[error("'hallpass.dev' and what begins with 'hallpass.dev/' is reserved for Hallpass itself")]
    Reserved,
    /// A claim that a standard or Hallpass gives a meaning to.
    #[error("is the name of a claim that a standard or Hallpass gives a meaning to")]
    ReservedClaim,
    /// Not what [`IssuerId::of`] makes.
    #[error("must consist of 8 characters of a-z and 2-7")]
    IssuerId,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            /// The rule that `text` breaks.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text).map(|()| Self(text.into()))
            }

            /// The name as it is written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        // A map keyed by a name is asked with a plain `&str`: derived `Ord` and `Hash` agree with str's.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                (*name.0).into()
            }
        }
    };
}

name!(
    /// A namespace: a DNS label.
    Namespace,
    label
);
name!(
    /// The name of a service account: a DNS subdomain.
    ServiceAccount,
    subdomain
);
name!(
    /// The name of a pod: a DNS subdomain.
    PodName,
    subdomain
);
name!(
    /// The name of a container: a DNS label.
    ContainerName,
    label
);
name!(
    /// The name of a token: a DNS label, the last part of its path on the socket and its file's name.
    TokenName,
    label
);
name!(
    /// A Kubernetes uid: what identity rests on, since names come back and uids do not.
    Uid,
    |text| printable(text, 128)
);
name!(
    /// The `aud` value of a token that a policy may ask for (RFC 7519 §4.1.3): at most 512 printable
    /// characters, never one that is reserved for Hallpass.
    Audience,
    audience
);
name!(
    /// The name of an object of a kind of Hallpass's own: a DNS subdomain.
    ObjectName,
    subdomain
);
name!(
    /// A SPIFFE trust domain (SPIFFE-ID §2.1): at most 255 lower-case letters, digits, '-', '.' and '_'.
    TrustDomain,
    trust_domain
);
name!(
    /// A scope (RFC 6749 §3.3): at most 128 printable characters but `"` and `\`, and never with a
    /// `*`, which a verifier might take for more than one scope.
    Scope,
    scope
);
name!(
    /// The `jti` of a token (RFC 7519 §4.1.7): at most 64 printable characters.
    TokenId,
    |text| printable(text, 64)
);
name!(
    /// The name of a claim that the owner of an audience adds to its tokens: at most 128 printable
    /// characters, and none that a standard or Hallpass gives a meaning to.
    ClaimName,
    claim_name
);
name!(
    /// The short name of an issuer, which is a function of its URL: 8 characters of base32.
    IssuerId,
    issuer_id
);

impl TokenId {
    /// The id that those random bytes make: a UUID of version 4 (RFC 9562 §5.4), so that it looks like
    /// every other id in the log of a cluster. 122 bits of it are random.
    #[must_use]
    pub fn from_random(mut random: [u8; 16]) -> Self {
        random[6] = random[6] & 0x0f | 0x40;
        random[8] = random[8] & 0x3f | 0x80;
        Self(uuid::text(random).into())
    }
}

impl IssuerId {
    /// The id of the issuer with that URL: the first 8 characters of the SHA-256 of the URL, in
    /// lower-case base32 (RFC 4648 §6).
    #[must_use]
    pub fn of(issuer_url: &str) -> Self {
        let hash = digest(&SHA256, issuer_url.as_bytes());
        let bits = hash.as_ref().iter().take(5);
        let bits = bits.fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
        let symbol = |place: u32| char::from(BASE32[(bits >> (35 - 5 * place) & 31) as usize]);
        Self((0..8).map(symbol).collect::<String>().into())
    }
}

/// The audience that is Hallpass's own, and the prefix of every one of them.
const RESERVED: &str = "hallpass.dev";

fn audience(text: &str) -> Result<(), NameError> {
    printable(text, 512)?;
    match text.strip_prefix(RESERVED) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Err(NameError::Reserved),
        Some(_) | None => Ok(()),
    }
}

fn trust_domain(text: &str) -> Result<(), NameError> {
    length(text, 255)?;
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    if text.bytes().all(inner) {
        Ok(())
    } else {
        Err(NameError::TrustDomain)
    }
}

fn scope(text: &str) -> Result<(), NameError> {
    printable(text, 128)?;
    if text.bytes().any(|b| b"\"\\*".contains(&b)) {
        Err(NameError::Scope)
    } else {
        Ok(())
    }
}

/// The claims that have a meaning in RFC 7519, 7662, 7800, 8693, 9068 and OpenID Connect, in Kubernetes or in
/// common use: no owner of an audience adds one of that name, in whatever case.
pub const RESERVED_CLAIMS: [&str; 27] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "scp",
    "azp",
    "act",
    "may_act",
    "cnf",
    "typ",
    "auth_time",
    "acr",
    "amr",
    "nonce",
    "at_hash",
    "groups",
    "roles",
    "entitlements",
    "active",
    "token_type",
    "username",
    "kubernetes.io",
];

fn claim_name(text: &str) -> Result<(), NameError> {
    printable(text, 128)?;
    // There are readers to whom `Sub` is `sub`.
    let lower = text.to_ascii_lowercase();
    let ours = lower.starts_with("hp") || lower.contains(RESERVED);
    if ours || RESERVED_CLAIMS.contains(&&*lower) {
        Err(NameError::ReservedClaim)
    } else {
        Ok(())
    }
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn issuer_id(text: &str) -> Result<(), NameError> {
    if text.len() == 8 && text.bytes().all(|b| BASE32.contains(&b)) {
        Ok(())
    } else {
        Err(NameError::IssuerId)
    }
}

fn printable(text: &str, most: usize) -> Result<(), NameError> {
    length(text, most)?;
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(NameError::NotPrintable)
    }
}

fn label(text: &str) -> Result<(), NameError> {
    length(text, 63)?;
    if is_label(text) {
        Ok(())
    } else {
        Err(NameError::Label)
    }
}

fn subdomain(text: &str) -> Result<(), NameError> {
    length(text, 253)?;
    if text.split('.').all(is_label) {
        Ok(())
    } else {
        Err(NameError::Subdomain)
    }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn length(text: &str, most: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        n if n > most => Err(NameError::TooLong(most)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
