//! The keys that an issuer of Hallpass signs with.
//!
//! A key is read once and held in the form of the crypto library: reading it again for each signature
//! would cost more than the signature itself.

use std::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    error::{KeyRejected, Unspecified},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RsaKeyPair,
    },
};
use serde::Serialize;
use serde_json::Value;

use super::{
    jose::{self, Members},
    keys::Key,
};
use crate::secret::Secret;

/// What an issuer of Hallpass signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
    /// RSA PKCS#1 v1.5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// The algorithm of that `alg`, compared as it is written; [`None`] for every other one.
    #[must_use]
    pub fn parse(alg: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == alg)
    }

    /// Its `alg` (RFC 7518 §3.1, RFC 8037 §3.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

/// Why some bytes are no signing key. No text repeats anything of them.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum KeyFault {
    /// Not a PKCS#8 document with a key of that algorithm, or a key that is too weak or too large.
    #[error("it is no private key for {}", .algorithm.as_str())]
    Rejected {
        /// What it was to sign with.
        algorithm: Algorithm,
        /// What the crypto library says, in one word.
        source: KeyRejected,
    },
    /// A key whose public half no verifier of Hallpass takes: an RSA key of less than 2048 or more than
    /// 8192 bits, or with an exponent of more than 32 bits.
    #[error("nobody could verify what it signs")]
    Unverifiable,
}

/// A private key that signs with exactly one algorithm.
///
/// # Guarantees
/// [`KeySet`](super::keys::KeySet) takes its public half, under its [`kid`](Self::kid). Its `Debug`
/// prints the algorithm and the `kid`. The crypto library wipes the private half when it is dropped.
pub struct SigningKey {
    pair: Pair,
    public: PublicJwk,
    algorithm: Algorithm,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// Reads the private key of a PKCS#8 document (RFC 5958), in DER.
    ///
    /// # Errors
    /// The key is not one of that algorithm, is damaged, or is too weak.
    pub fn from_pkcs8(der: &Secret<Vec<u8>>, algorithm: Algorithm) -> Result<Self, KeyFault> {
        let rejected = |source| KeyFault::Rejected { algorithm, source };
        let (pair, members) = Pair::read(der.expose(), algorithm).map_err(rejected)?;
        Ok(Self {
            pair,
            public: PublicJwk::new(members, algorithm)?,
            algorithm,
        })
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its name: the thumbprint of its public half (RFC 7638 §3), in base64url.
    #[must_use]
    pub const fn kid(&self) -> &str {
        &self.public.kid
    }

    /// Its public half, for the key set of the issuer.
    #[must_use]
    pub const fn public(&self) -> &PublicJwk {
        &self.public
    }

    /// The signature of those bytes, in the form of a JWS (RFC 7518 §3). The crypto library draws the
    /// random number of an ECDSA signature itself.
    ///
    /// # Errors
    /// The crypto library has no memory or no randomness left.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Pair::Edwards(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.public.kid)
            .finish_non_exhaustive()
    }
}

impl Pair {
    fn read(der: &[u8], algorithm: Algorithm) -> Result<(Self, PublicMembers), KeyRejected> {
        Ok(match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)?;
                // The point in its uncompressed form (SEC 1 §2.3.3): a byte, x and y of 32 bytes each.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let members = PublicMembers::Elliptic {
                    crv: "P-256",
                    x: jose::text(x),
                    y: jose::text(y),
                };
                (Self::Ecdsa(pair), members)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(der)?;
                let members = PublicMembers::Edwards {
                    crv: "Ed25519",
                    x: jose::text(pair.public_key()),
                };
                (Self::Edwards(pair), members)
            }
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(der)?;
                let public = pair.public_key();
                let members = PublicMembers::Rsa {
                    n: jose::text(public.modulus().big_endian_without_leading_zero()),
                    e: jose::text(public.exponent().big_endian_without_leading_zero()),
                };
                (Self::Rsa(pair), members)
            }
        })
    }
}

/// The public half of a key as the key set of an issuer has it (RFC 7517 §4). There is no place for a
/// private member in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    #[serde(flatten)]
    members: PublicMembers,
    kid: Box<str>,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
}

impl PublicJwk {
    fn new(members: PublicMembers, algorithm: Algorithm) -> Result<Self, KeyFault> {
        let public = Self {
            kid: members.thumbprint().into(),
            members,
            alg: algorithm.as_str(),
            usage: "sig",
        };
        let jwk = serde_json::to_value(&public).ok();
        let jwk = jwk.as_ref().and_then(Value::as_object);
        let key = jwk.and_then(|jwk| Key::parse(Members(jwk)));
        key.map(|_| public).ok_or(KeyFault::Unverifiable)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kty")]
enum PublicMembers {
    #[serde(rename = "EC")]
    Elliptic {
        crv: &'static str,
        x: String,
        y: String,
    },
    #[serde(rename = "OKP")]
    Edwards { crv: &'static str, x: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

impl PublicMembers {
    /// RFC 7638 §3.2, RFC 8037 §2: the required members and `kty`, sorted, without white space. Base64url
    /// needs no escapes.
    fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Elliptic { crv, x, y } => {
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Edwards { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        jose::text(digest(&SHA256, canonical.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
