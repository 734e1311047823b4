//! Opaque access tokens: claims that only the issuer can read, sealed with XAES-256-GCM (C2SP).
//!
//! ```text
//! hpo_<issuer id>_<payload in base64url><checksum>
//! ```
//! * `issuer id`: 8 characters of `a-z2-7`, see [`IssuerId`].
//! * `payload`: a version byte (1), the key id (8 bytes), the audience tag (8 bytes), the nonce (24
//!   bytes), the sealed claims, the tag of the seal (16 bytes). The first 17 bytes are the clear header.
//! * `checksum`: CRC-32 (ISO-HDLC, as in zip) of everything before it, in base62 (`0-9A-Za-z`, most
//!   significant digit first), filled up with `0` to 6 characters. A secret scanner that finds
//!   `hpo_[a-z2-7]{8}_[A-Za-z0-9_-]{84,}` tells a real token by it, without asking anybody.
//!
//! The seal covers what is not in the payload too: the associated data is the issuer's URL, a zero byte,
//! the audience, a zero byte, the clear header. A token of one issuer or audience opens under no other.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    digest::{SHA256, digest},
    error::Unspecified,
};
use jiff::Timestamp;

pub use super::claims::{Claims, MintFault};
use super::{
    Fault, Flaw, Verified,
    jose::{self, LONGEST_TOKEN},
    xaes,
};
use crate::{
    issuer::IssuerUrl,
    name::{Audience, IssuerId},
    secret::Secret,
};

mod checksum;
mod content;

/// The name of a sealing key, written in clear into every token: the first 8 bytes of the SHA-256 of the
/// `kid` of the signing key that it lives with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id of the sealing key that lives with the signing key of that `kid`.
    #[must_use]
    pub fn of(kid: &str) -> Self {
        Self(hash(kid))
    }
}

/// What tells the opener which audience a token is for, without trying all of them: the first 8 bytes of
/// the SHA-256 of the audience, written in clear into every token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudienceTag([u8; 8]);

impl AudienceTag {
    /// The tag of that audience.
    #[must_use]
    pub fn of(audience: &Audience) -> Self {
        Self(hash(audience.as_str()))
    }
}

/// A key that seals and opens. Its `Debug` does not print it.
pub struct SealingKey {
    id: KeyId,
    kid: Arc<str>,
    key: xaes::Key,
}

impl SealingKey {
    /// The key of those random bytes, which lives with the signing key of that `kid`.
    ///
    /// # Errors
    /// The crypto library failed.
    pub fn new(kid: &str, key: &Secret<[u8; xaes::KEY]>) -> Result<Self, Unspecified> {
        Ok(Self {
            id: KeyId::of(kid),
            kid: kid.into(),
            key: xaes::Key::new(key.expose())?,
        })
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// Makes a token of those claims. Times are cut off to whole seconds. `nonce` is random and never used
/// twice with one key.
///
/// # Guarantees
/// [`Sealed::open`] accepts it with the same key, issuer and audience until it expires.
///
/// # Errors
/// The claims are such that no verifier would accept the token, or the crypto library failed.
pub fn seal(
    key: &SealingKey,
    claims: &Claims,
    nonce: [u8; xaes::NONCE],
) -> Result<Secret<String>, MintFault> {
    claims.check()?;
    let header = header(key.id, AudienceTag::of(&claims.audience));
    let associated = associated(&claims.issuer, &claims.audience, &header);
    let mut sealed = content::encode(claims)?;
    key.key.seal(&nonce, &associated, &mut sealed)?;
    let payload = jose::text([&header[..], &nonce, &sealed].concat());
    let mut token = format!("{PREFIX}{}_{payload}", IssuerId::of(&claims.issuer));
    token.push_str(&checksum::of(&token));
    if token.len() > LONGEST_TOKEN {
        return Err(Flaw::TooLong.into());
    }
    Ok(Secret::new(token))
}

/// Reads the outside of a token: its form, its one spelling, its checksum and its version. It is not
/// proven to be anybody's.
///
/// # Errors
/// What no opaque token of Hallpass looks like.
pub fn parse(token: &Secret<String>) -> Result<Sealed, Fault> {
    Ok(Sealed::read(token.expose())?)
}

/// An opaque token whose seal was not opened yet: nothing of it is proven. Its `Debug` does not print
/// the token.
pub struct Sealed {
    issuer: IssuerId,
    header: [u8; HEADER],
    nonce: [u8; xaes::NONCE],
    /// Together with the rest it is the token itself.
    content: Secret<Vec<u8>>,
}

impl Sealed {
    fn read(token: &str) -> Result<Self, Flaw> {
        if token.len() > LONGEST_TOKEN {
            return Err(Flaw::TooLong);
        }
        let rest = token.strip_prefix(PREFIX).ok_or(Flaw::Form)?;
        let (issuer, _) = rest.split_once('_').ok_or(Flaw::Form)?;
        let end = token.len().checked_sub(checksum::LENGTH);
        let (text, checksum) = end
            .and_then(|end| token.split_at_checked(end))
            .ok_or(Flaw::Form)?;
        let payload = text
            .get(PREFIX.len() + issuer.len() + 1..)
            .ok_or(Flaw::Form)?;
        // Which rule of issuer ids is broken tells nothing: dropped.
        let issuer = IssuerId::parse(issuer).ok().ok_or(Flaw::Form)?;
        if checksum::of(text) != checksum {
            return Err(Flaw::Checksum);
        }
        let payload = jose::bytes(payload)?;
        let (header, rest) = payload.split_first_chunk::<HEADER>().ok_or(Flaw::Form)?;
        let (nonce, content) = rest.split_first_chunk().ok_or(Flaw::Form)?;
        if header[0] != VERSION {
            return Err(Flaw::Version);
        }
        if content.len() <= xaes::TAG {
            return Err(Flaw::Form);
        }
        Ok(Self {
            issuer,
            header: *header,
            nonce: *nonce,
            content: Secret::new(content.to_vec()),
        })
    }

    /// Which issuer it says it is from.
    #[must_use]
    pub const fn issuer_id(&self) -> &IssuerId {
        &self.issuer
    }

    /// Which key it says it was sealed with.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(self.eight(1))
    }

    /// Which audience it says it is for.
    #[must_use]
    pub fn audience_tag(&self) -> AudienceTag {
        AudienceTag(self.eight(9))
    }

    fn eight(&self, from: usize) -> [u8; 8] {
        std::array::from_fn(|place| self.header[from + place])
    }

    /// Opens the seal and checks what is inside, and last the time.
    ///
    /// # Guarantees
    /// A token is accepted in exactly one spelling, under the one issuer and audience that it was made
    /// for. One of which a single character was changed is refused.
    ///
    /// # Errors
    /// The first check that failed. [`Fault::Expired`] means that everything else fits.
    pub fn open(
        &self,
        key: &SealingKey,
        issuer: &IssuerUrl,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Verified<Claims>, Fault> {
        if key.id != self.key_id() {
            return Err(Fault::UnknownKey);
        }
        // The issuer id in front is not part of the payload: this binds it.
        if issuer.id() != self.issuer {
            return Err(Fault::WrongIssuer);
        }
        let issuer = issuer.as_str();
        let associated = associated(issuer, audience, &self.header);
        let content = key
            .key
            .open(&self.nonce, &associated, self.content.expose());
        // The crypto library never says why, so of two causes the one that can be told is looked for.
        let content = content.map_err(|Unspecified| {
            if AudienceTag::of(audience) == self.audience_tag() {
                Fault::BadSignature
            } else {
                Fault::WrongAudience
            }
        })?;
        let claims = content::decode(&content, issuer, audience).ok_or(Flaw::Content)?;
        claims.check()?;
        claims.at(Arc::clone(&key.kid), now)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

fn hash(text: &str) -> [u8; 8] {
    let hash = digest(&SHA256, text.as_bytes());
    std::array::from_fn(|place| hash.as_ref()[place])
}

fn header(key: KeyId, audience: AudienceTag) -> [u8; HEADER] {
    let mut header = [VERSION; HEADER];
    header[1..9].copy_from_slice(&key.0);
    header[9..].copy_from_slice(&audience.0);
    header
}

/// Neither an issuer nor an audience has a zero byte, so no two of them run into each other.
fn associated(issuer: &str, audience: &Audience, header: &[u8; HEADER]) -> Vec<u8> {
    [
        issuer.as_bytes(),
        &[0],
        audience.as_str().as_bytes(),
        &[0],
        header,
    ]
    .concat()
}

const PREFIX: &str = "hpo_";
const VERSION: u8 = 1;

/// Version, key id, audience tag.
const HEADER: usize = 17;

#[cfg(test)]
mod tests;
