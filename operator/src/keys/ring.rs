//! The keys of one issuer, ready for use.

use std::{collections::BTreeSet, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::token::{
    keys::KeySet,
    opaque::{KeyId, SealingKey},
    signing::{PublicJwk, SigningKey},
};
use jiff::Timestamp;
use serde::Serialize;

use super::{rotation::KeyState, secret::Material};

/// The keys of one issuer at one time.
///
/// # Guarantees
/// There is always one that signs. The key set is that of all of them: of those that signed, and of
/// those that will.
#[derive(Debug)]
pub struct KeyRing {
    /// Began to sign before all others.
    first: Key,
    /// Those that followed, or will, in that order.
    later: Vec<(Timestamp, Key)>,
    waiting: Vec<Key>,
    jwks: Jwks,
    verifying: KeySet,
}

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    number: u32,
    material: Arc<Material>,
}

/// The public keys of an issuer (RFC 7517 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    /// The document, the same bytes for the same keys.
    pub body: Bytes,
    /// Its entity tag, with the quotes (RFC 9110 §8.8.3).
    pub etag: Box<str>,
}

#[derive(Serialize)]
struct Document<'a> {
    keys: Vec<&'a PublicJwk>,
}

impl Key {
    /// What it signs with.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.material.signing
    }

    /// What it seals with.
    #[must_use]
    pub fn sealing(&self) -> &SealingKey {
        &self.material.sealing
    }
}

impl KeyRing {
    /// The ring of those keys; [`None`] if nothing is said of when any of them begins to sign.
    pub(super) fn new<'a>(
        keys: impl IntoIterator<Item = (&'a KeyState, &'a Arc<Material>)>,
    ) -> Option<Self> {
        let (mut activated, mut waiting) = (Vec::new(), Vec::new());
        for (state, material) in keys {
            let key = Key {
                number: state.number,
                material: Arc::clone(material),
            };
            match state.activated {
                Some(at) => activated.push((at, key)),
                None => waiting.push(key),
            }
        }
        activated.sort_by_key(|(at, key)| (*at, key.number));
        let mut later = activated.into_iter();
        let (_, first) = later.next()?;
        let later: Vec<_> = later.collect();
        let jwks = Jwks::new(all(&first, &later, &waiting))?;
        // It was made of keys that a verifier takes, a few of them, each with its own kid.
        let verifying = KeySet::parse_issuer(&jwks.body).ok()?;
        Some(Self {
            first,
            later,
            waiting,
            jwks,
            verifying,
        })
    }

    /// The key that signs at `now`: of those that began, the last one. By a clock that is behind all of
    /// them, the first one.
    #[must_use]
    pub fn active(&self, now: Timestamp) -> &Key {
        let began = self.later.iter().rev().find(|(at, _)| *at <= now);
        began.map_or(&self.first, |(_, key)| key)
    }

    /// What the tokens under that id were sealed with.
    #[must_use]
    pub fn sealing(&self, id: KeyId) -> Option<&SealingKey> {
        let keys = all(&self.first, &self.later, &self.waiting);
        keys.map(Key::sealing).find(|sealing| sealing.id() == id)
    }

    /// What verifiers are told.
    #[must_use]
    pub const fn jwks(&self) -> &Jwks {
        &self.jwks
    }

    /// What tokens of this issuer are checked with.
    #[must_use]
    pub const fn verifying(&self) -> &KeySet {
        &self.verifying
    }
}

fn all<'a>(
    first: &'a Key,
    later: &'a [(Timestamp, Key)],
    waiting: &'a [Key],
) -> impl Iterator<Item = &'a Key> {
    let later = later.iter().map(|(_, key)| key);
    std::iter::once(first).chain(later).chain(waiting)
}

impl Jwks {
    /// By number. [`None`] if two of them are one.
    fn new<'a>(keys: impl Iterator<Item = &'a Key>) -> Option<Self> {
        let mut keys: Vec<&Key> = keys.collect();
        keys.sort_by_key(|key| key.number);
        let kids: BTreeSet<&str> = keys.iter().map(|key| key.signing().kid()).collect();
        if kids.len() < keys.len() {
            return None;
        }
        let keys = keys.iter().map(|key| key.signing().public()).collect();
        let body = serde_json::to_vec(&Document { keys }).ok()?;
        let etag = digest(&SHA256, &body);
        let etag = URL_SAFE_NO_PAD.encode(&etag.as_ref()[..16]);
        Some(Self {
            body: body.into(),
            etag: format!("\"{etag}\"").into(),
        })
    }
}

#[cfg(test)]
mod tests;
