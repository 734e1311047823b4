//! Tokens that were verified a moment ago: the same token comes again and again, and its signature does
//! not change.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;

use super::{Expected, LEEWAY, Verified, claims::Claims, keys::KeySet};
use crate::secret::Secret;

/// Verified tokens, by their SHA-256.
///
/// # Guarantees
/// What it gives was verified, is for that issuer and audience, was signed with a key that is still in
/// the set, and is not past its time. Whether it was revoked is not its business: ask after it. It holds
/// neither a token nor more than twice as many entries as it was made for; the older half goes first.
#[derive(Debug)]
pub struct VerifiedCache {
    young: Entries,
    old: Entries,
    half: usize,
}

/// What finds a token without being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

type Entries = HashMap<TokenHash, Arc<Verified<Claims>>>;

impl TokenHash {
    /// The hash of that token.
    #[must_use]
    pub fn of(token: &Secret<String>) -> Self {
        let hash = digest(&SHA256, token.expose().as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }
}

impl VerifiedCache {
    /// An empty one for so many tokens.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            young: Entries::new(),
            old: Entries::new(),
            half: most.max(1),
        }
    }

    /// What that token says, if it was verified before and everything still fits.
    pub fn get(
        &mut self,
        hash: &TokenHash,
        keys: &KeySet,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Option<Arc<Verified<Claims>>> {
        let young = self.young.get(hash).map(Arc::clone);
        let verified = young.or_else(|| {
            let old = self.old.remove(hash)?;
            self.put(*hash, Arc::clone(&old));
            Some(old)
        })?;
        let claims = verified.claims();
        let fits = *claims.issuer == *expected.issuer
            && claims.audience.as_str() == expected.audience
            && keys.find(verified.kid()).is_some()
            && now.duration_since(claims.expires) < LEEWAY;
        fits.then_some(verified)
    }

    /// Keeps what was verified.
    pub fn put(&mut self, hash: TokenHash, verified: Arc<Verified<Claims>>) {
        if self.young.len() >= self.half && !self.young.contains_key(&hash) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, verified);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::token::{
        fixture::{HALLPASS, START, Signer, access, jwks},
        jwt,
    };

    const EXPECTED: Expected<'_> = Expected {
        issuer: HALLPASS,
        audience: "https://payments.example",
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    struct World {
        keys: KeySet,
        signer: Signer,
        cache: VerifiedCache,
    }

    fn world(most: usize) -> World {
        let signer = Signer::es256("").of_issuer();
        World {
            keys: KeySet::parse_issuer(&jwks(&[&signer])).unwrap(),
            signer,
            cache: VerifiedCache::new(most),
        }
    }

    impl World {
        fn token(&mut self, id: u8) -> TokenHash {
            let claims = Claims {
                id: crate::name::TokenId::from_random([id; 16]),
                ..access()
            };
            let token = jwt::sign(&self.signer.key(), &claims).unwrap();
            let verified = jwt::verify(&self.keys, &token, &EXPECTED, at(START)).unwrap();
            let hash = TokenHash::of(&token);
            self.cache.put(hash, Arc::new(verified));
            hash
        }
    }

    #[test]
    fn gives_what_was_verified_until_it_expires() {
        let mut world = world(4);
        let hash = world.token(1);
        let World { keys, cache, .. } = &mut world;
        let end = START + 900;
        let said = cache.get(&hash, keys, &EXPECTED, at(end + 4)).unwrap();
        assert_eq!(said.claims().subject, access().subject);
        assert!(cache.get(&hash, keys, &EXPECTED, at(end + 5)).is_none());
        let other = TokenHash::of(&Secret::new("another".into()));
        assert!(cache.get(&other, keys, &EXPECTED, at(START)).is_none());
    }

    #[test]
    fn t11_gives_nothing_for_another_issuer_or_audience() {
        let mut world = world(4);
        let hash = world.token(1);
        let World { keys, cache, .. } = &mut world;
        for expected in [
            Expected {
                issuer: "https://tokens.example",
                ..EXPECTED
            },
            Expected {
                audience: "https://payments.example/",
                ..EXPECTED
            },
        ] {
            assert!(cache.get(&hash, keys, &expected, at(START)).is_none());
        }
    }

    #[test]
    fn gives_nothing_that_a_removed_key_signed() {
        let mut world = world(4);
        let hash = world.token(1);
        let other = Signer::es256("").of_issuer();
        let keys = KeySet::parse_issuer(&jwks(&[&other])).unwrap();
        assert!(
            world
                .cache
                .get(&hash, &keys, &EXPECTED, at(START))
                .is_none()
        );
    }

    #[test]
    fn t14_finds_a_token_by_its_hash_and_holds_no_token() {
        let mut world = world(4);
        let token = jwt::sign(&world.signer.key(), &access()).unwrap();
        let verified = jwt::verify(&world.keys, &token, &EXPECTED, at(START)).unwrap();
        let sha256 = digest(&SHA256, token.expose().as_bytes());
        assert_eq!(TokenHash::of(&token).0, sha256.as_ref());
        world.cache.put(TokenHash::of(&token), Arc::new(verified));
        let printed = format!("{:?}", world.cache);
        for part in token.expose().split('.') {
            assert!(!printed.contains(part), "{printed}");
        }
    }

    #[test]
    fn holds_no_more_than_it_may_and_keeps_what_is_asked_for() {
        let mut world = world(4);
        let wanted = world.token(0);
        for id in 1..40 {
            world.token(id);
            assert!(world.cache.young.len() + world.cache.old.len() <= 8);
            let World { keys, cache, .. } = &mut world;
            assert!(
                cache.get(&wanted, keys, &EXPECTED, at(START)).is_some(),
                "{id}"
            );
        }
    }

    #[test]
    fn finds_the_last_ones_that_it_was_made_for() {
        let mut world = world(4);
        let mut hashes = Vec::new();
        for id in 0..11 {
            hashes.push(world.token(id));
            let World { keys, cache, .. } = &mut world;
            for (back, hash) in hashes.iter().rev().take(4).enumerate() {
                let found = cache.get(hash, keys, &EXPECTED, at(START));
                assert!(found.is_some(), "{back} before {id}");
            }
        }
    }
}
