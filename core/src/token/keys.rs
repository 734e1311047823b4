//! The public keys of whoever signs tokens: a JSON Web Key Set (RFC 7517 §5), read strictly.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::Value;

use super::{
    jose::{self, Flaw, Members, Parts},
    signing::Algorithm as Signs,
};

/// The keys that can verify tokens, by `kid`.
///
/// # Guarantees
/// Every key has exactly one algorithm, which follows from the key itself and from nothing that a
/// token says. A `kid` means one key. A key set never holds a private or symmetric key.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: BTreeMap<Box<str>, Key>,
    skipped: usize,
}

/// Why a document is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Longer than any key set of a cluster.
    #[error("the key set is longer than {LONGEST_DOCUMENT} bytes")]
    TooLong,
    /// Not JSON with a list `keys` of objects, or a name occurs twice in it.
    #[error("the key set is not a JSON object with a list of keys")]
    Unreadable,
    /// More keys than any cluster has.
    #[error("the key set has more than {MOST_KEYS} keys")]
    TooMany,
    /// Two keys with one `kid`: nobody could say which one a token means.
    #[error("the key set has two keys with one kid")]
    DuplicateKid,
}

impl KeySet {
    /// Reads the document of an API server. Keys that cannot verify a token of it are passed over and
    /// counted.
    ///
    /// # Errors
    /// The document as a whole cannot be trusted to say what it says.
    pub fn parse(jwks: &[u8]) -> Result<Self, KeySetFault> {
        Self::read(jwks, &["RS256", "ES256", "ES384"])
    }

    /// Reads the document of an issuer of Hallpass, which has keys of three algorithms: ES256, EdDSA
    /// (RFC 8037) and RS256. Other keys are passed over and counted.
    ///
    /// # Errors
    /// The document as a whole cannot be trusted to say what it says.
    pub fn parse_issuer(jwks: &[u8]) -> Result<Self, KeySetFault> {
        Self::read(jwks, &Signs::ALL.map(Signs::as_str))
    }

    fn read(jwks: &[u8], algorithms: &[&str]) -> Result<Self, KeySetFault> {
        if jwks.len() > LONGEST_DOCUMENT {
            return Err(KeySetFault::TooLong);
        }
        let document = jose::object(jwks);
        // What is wrong with JSON that the API server made is of no use to anybody: dropped.
        let document = document.ok().ok_or(KeySetFault::Unreadable)?;
        let list = document.get("keys").and_then(Value::as_array);
        let list = list.ok_or(KeySetFault::Unreadable)?;
        if list.len() > MOST_KEYS {
            return Err(KeySetFault::TooMany);
        }
        let mut set = Self::default();
        let mut kids = BTreeSet::new();
        for jwk in list {
            let jwk = jwk.as_object().map(Members);
            let jwk = jwk.ok_or(KeySetFault::Unreadable)?;
            let kid = jwk.get("kid").and_then(Value::as_str);
            if !kid.is_none_or(|kid| kids.insert(kid)) {
                return Err(KeySetFault::DuplicateKid);
            }
            let key = Key::parse(jwk).filter(|key| algorithms.contains(&key.name));
            match (kid, key) {
                (Some(kid), Some(key)) if (1..=LONGEST_KID).contains(&kid.len()) => {
                    set.keys.insert(kid.into(), key);
                }
                _ => set.skipped += 1,
            }
        }
        Ok(set)
    }

    /// How many keys can verify.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can verify.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys were passed over.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    pub(super) fn find(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }
}

/// A key that can verify, with its one algorithm.
#[derive(Debug, Clone)]
pub(super) struct Key {
    key: DecodingKey,
    algorithm: Algorithm,
    name: &'static str,
    signature_length: usize,
}

impl Key {
    /// The `alg` of every token that was signed with this key.
    pub(super) const fn algorithm(&self) -> &'static str {
        self.name
    }

    /// Whether the signature is this key's.
    pub(super) fn signed(&self, token: &Parts<'_>) -> Result<bool, Flaw> {
        self.verify(token.signed.as_bytes(), token.signature)
    }

    pub(super) fn verify(&self, message: &[u8], signature: &str) -> Result<bool, Flaw> {
        if jose::bytes(signature)?.len() != self.signature_length {
            return Ok(false);
        }
        // An error says that the key is unusable: a signature that cannot be checked is none.
        Ok(crypto::verify(signature, message, &self.key, self.algorithm).unwrap_or(false))
    }

    pub(super) fn parse(jwk: Members<'_>) -> Option<Self> {
        let key = match jwk.get("kty")?.as_str()? {
            "RSA" => Self::rsa(jwk),
            "EC" => Self::elliptic(jwk),
            "OKP" => Self::edwards(jwk),
            _ => None,
        }?;
        // Where the key says what it is for, it must say this. `d` would make it a private key.
        let says = |name, wanted| jwk.get(name).is_none_or(|v| v.as_str() == Some(wanted));
        let verifies = |ops: &Value| {
            let ops = ops.as_array();
            ops.is_some_and(|ops| ops.iter().any(|op| op == "verify"))
        };
        let fits = says("use", "sig")
            && says("alg", key.name)
            && jwk.get("key_ops").is_none_or(verifies)
            && jwk.get("d").is_none();
        fits.then_some(key)
    }

    fn rsa(jwk: Members<'_>) -> Option<Self> {
        let modulus = unsigned(jwk, "n")?;
        let exponent = unsigned(jwk, "e")?;
        let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
        // What the crypto library takes, asked here so that the number of usable keys is true.
        let odd = exponent.last()? % 2 == 1 && modulus.last()? % 2 == 1;
        let usable = (2048..=8192).contains(&bits) && odd && exponent.len() <= 4 && exponent != [1];
        let usable = usable && !is_roca(&modulus);
        usable.then(|| Self {
            key: DecodingKey::from_rsa_raw_components(&modulus, &exponent),
            algorithm: Algorithm::RS256,
            name: "RS256",
            signature_length: modulus.len(),
        })
    }

    fn elliptic(jwk: Members<'_>) -> Option<Self> {
        let (algorithm, name, length) = match jwk.get("crv")?.as_str()? {
            "P-256" => (Algorithm::ES256, "ES256", 32),
            "P-384" => (Algorithm::ES384, "ES384", 48),
            // P-521 is Kubernetes' third curve; nothing here can verify it.
            _ => return None,
        };
        let x = jose::bytes(jwk.text("x").ok()?).ok()?;
        let y = jose::bytes(jwk.text("y").ok()?).ok()?;
        // The point in its uncompressed form (SEC 1 §2.3.3). Whether it is on the curve, the crypto
        // library asks at each verification.
        let point = [[4].as_slice(), &x, &y].concat();
        (x.len() == length && y.len() == length).then(|| Self {
            key: DecodingKey::from_ec_der(&point),
            algorithm,
            name,
            signature_length: 2 * length,
        })
    }

    fn edwards(jwk: Members<'_>) -> Option<Self> {
        let x = jose::bytes(jwk.text("x").ok()?).ok()?;
        let fits = jwk.get("crv")? == "Ed25519" && x.len() == 32;
        fits.then(|| Self {
            key: DecodingKey::from_ed_der(&x),
            algorithm: Algorithm::EdDSA,
            name: "EdDSA",
            signature_length: 64,
        })
    }
}

/// Whether the modulus is one of those that certain chips made of primes with a structure, and that can
/// be factored (ROCA, CVE-2017-15361): modulo every small prime it is a power of 65537.
fn is_roca(modulus: &[u8]) -> bool {
    let is_power = |prime: u64| {
        let rest = modulus
            .iter()
            .fold(0, |rest, &byte| (rest << 8 | u64::from(byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * 65537 % prime));
        // There are fewer powers than `prime`, over and over.
        powers.take(prime as usize).any(|power| power == rest)
    };
    SMALL_PRIMES.into_iter().all(is_power)
}

/// As many as the detector of those who found it looks at. One modulus in 2^27 is suspected wrongly.
const SMALL_PRIMES: [u64; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// A positive number without leading zeros (RFC 7518 §2, Base64urlUInt).
fn unsigned(jwk: Members<'_>, name: &'static str) -> Option<Vec<u8>> {
    let bytes = jose::bytes(jwk.text(name).ok()?).ok()?;
    (*bytes.first()? != 0).then_some(bytes)
}

/// The longest document that is looked at.
const LONGEST_DOCUMENT: usize = 128 * 1024;

/// The most keys that a document may have.
const MOST_KEYS: usize = 64;

/// The longest `kid`: what Kubernetes allows to an external signer (KEP-740).
const LONGEST_KID: usize = 1024;

#[cfg(test)]
mod tests;
