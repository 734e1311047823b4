//! Tokens of Hallpass's own: signed or sealed here, with the keys of the grant's issuer, without asking
//! anybody. Nothing is stored.

use std::time::Duration;

use hallpass_core::{
    audience::Format,
    decide::{Grant, Own},
    name::TokenId,
    token::{jwt, opaque},
};
use jiff::Timestamp;

use super::{IssuedToken, MintError, minted::Mismatch};
use crate::{index::revocations::Revocations, keys::Keys};

/// Mints tokens of Hallpass's own.
#[derive(Debug, Clone)]
pub struct Mint {
    keys: Keys,
    revocations: Revocations,
    random: fn() -> [u8; 32],
}

impl Mint {
    /// A mint with those keys, of which it uses none that is revoked. `random` gives other random bytes at every call: 32 of them name a token
    /// or are the nonce of its seal.
    #[must_use]
    pub const fn new(keys: Keys, revocations: Revocations, random: fn() -> [u8; 32]) -> Self {
        Self {
            keys,
            revocations,
            random,
        }
    }

    /// Mints the token of the grant.
    ///
    /// # Errors
    /// [`MintError::Clock`] where this replica's clock is off; [`MintError::NotReady`] while it knows no key
    /// of the issuer; [`MintError::RevokedKey`] until another key signs than one that is revoked;
    /// [`MintError::Unmintable`] for claims that no verifier would accept.
    pub(super) fn mint(
        &self,
        grant: &Grant,
        own: &Own,
        now: Timestamp,
        since_boot: Duration,
    ) -> Result<IssuedToken, MintError> {
        if let Some(ahead) = self.keys.clock_fault(now, since_boot) {
            return Err(MintError::Clock(ahead));
        }
        let ring = self.keys.ring(&own.issuer.url.id());
        let ring = ring.ok_or_else(|| MintError::NotReady {
            issuer: own.issuer.name.clone(),
        })?;
        let key = ring.active(now);
        let kid = key.signing().kid();
        if self.revocations.ask(|set| set.keys().contains(kid)) {
            return Err(MintError::RevokedKey {
                issuer: own.issuer.name.clone(),
            });
        }
        let claims = grant.claims(self.id(), now).ok_or(MintError::NotOwn)?;
        let token = match own.format {
            Format::Jwt => jwt::sign(key.signing(), &claims),
            Format::Opaque => opaque::seal(key.sealing(), &claims, self.nonce()),
        };
        Ok(IssuedToken {
            grant: grant.clone(),
            id: claims.id.as_str().to_owned(),
            token: token.map_err(MintError::Unmintable)?,
            issued_at: claims.issued,
            expires_at: claims.expires,
        })
    }

    /// That error of another issuer, or that this replica's clock is off, where it is the reason.
    pub(super) fn reason(
        &self,
        error: MintError,
        now: Timestamp,
        since_boot: Duration,
    ) -> MintError {
        let by_the_clock = matches!(error, MintError::Mismatch(Mismatch::Lifetime));
        let ahead = self.keys.clock_fault(now, since_boot);
        ahead
            .filter(|_| by_the_clock)
            .map_or(error, MintError::Clock)
    }

    fn id(&self) -> TokenId {
        TokenId::from_random(first((self.random)()))
    }

    fn nonce(&self) -> [u8; 24] {
        first((self.random)())
    }
}

fn first<const N: usize>(random: [u8; 32]) -> [u8; N] {
    std::array::from_fn(|i| random[i])
}
