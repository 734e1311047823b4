//! Whether a token is one that the caller may know of, and what it says.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::{
    audience::Statement,
    consent::AudienceSet,
    issuer::Issuer,
    secret::Secret,
    token::{
        Expected, Verified,
        cache::{TokenHash, VerifiedCache},
        claims::Claims,
        jwt, opaque,
    },
};
use jiff::Timestamp;
use serde::Deserialize;

use crate::keys::ring::KeyRing;

/// What a token is held against.
pub(in crate::api::oauth) struct Recogniser<'a, F> {
    pub(in crate::api::oauth) audiences: &'a AudienceSet,
    /// The keys of `issuer`.
    pub(in crate::api::oauth) ring: &'a KeyRing,
    /// The issuer that is asked: tokens of another one are as unknown to it as any.
    pub(in crate::api::oauth) issuer: &'a Issuer,
    /// Whether the caller may ask about the tokens of that audience.
    pub(in crate::api::oauth) may_ask: F,
    /// What was verified a moment ago.
    pub(in crate::api::oauth) verified: &'a Mutex<VerifiedCache>,
    pub(in crate::api::oauth) now: Timestamp,
}

impl<F: Fn(&Statement) -> bool> Recogniser<'_, F> {
    /// What the token says, if it is valid now and for an audience that the caller may ask about. Why it is
    /// not, is nobody's to know. Whether it was revoked is not looked at.
    ///
    /// # Guarantees
    /// At most one key and one audience are tried.
    pub(in crate::api::oauth) fn recognise(
        &self,
        token: &Secret<String>,
    ) -> Option<Arc<Verified<Claims>>> {
        if token.expose().len() > LONGEST_TOKEN {
            return None;
        }
        if token.expose().starts_with("hpo_") {
            self.sealed(token).map(Arc::new)
        } else {
            self.signed(token)
        }
    }

    fn signed(&self, token: &Secret<String>) -> Option<Arc<Verified<Claims>>> {
        let said = Said::of(token)?;
        if said.iss != self.issuer.url.as_str() {
            return None;
        }
        let statement = self.audiences.of_value(&said.aud)?;
        if !self.is_asked(statement) {
            return None;
        }
        let expected = Expected {
            issuer: self.issuer.url.as_str(),
            audience: statement.audience.as_str(),
        };
        let (hash, keys) = (TokenHash::of(token), self.ring.verifying());
        let known = self.cache().get(&hash, keys, &expected, self.now);
        if known.is_some() {
            return known;
        }
        let verified = jwt::verify(keys, token, &expected, self.now).ok()?;
        let verified = Arc::new(verified);
        self.cache().put(hash, Arc::clone(&verified));
        Some(verified)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, VerifiedCache> {
        // Every change of it is whole, whatever became of the one before.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sealed(&self, token: &Secret<String>) -> Option<Verified<Claims>> {
        let sealed = opaque::parse(token).ok()?;
        let key = self.ring.sealing(sealed.key_id())?;
        let mut meant = self.audiences.tagged(sealed.audience_tag());
        let statement = meant.find(|statement| self.is_asked(statement))?;
        let opened = sealed.open(key, &self.issuer.url, &statement.audience, self.now);
        opened.ok()
    }

    /// Whether the caller may ask about the tokens of that audience, and this issuer makes them.
    fn is_asked(&self, statement: &Statement) -> bool {
        statement.issuer == self.issuer.name && (self.may_ask)(statement)
    }
}

/// What a token says that nobody has checked: it finds an audience in a table, and is good for nothing
/// else.
#[derive(Deserialize)]
struct Said {
    iss: String,
    aud: String,
}

impl Said {
    fn of(token: &Secret<String>) -> Option<Self> {
        let payload = token.expose().split('.').nth(1)?;
        let payload = Secret::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(payload.expose()).ok()
    }
}

/// No token is longer.
const LONGEST_TOKEN: usize = 8 * 1024;
