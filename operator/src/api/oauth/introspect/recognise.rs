//! Whether a token is one that the caller may know of, and what it says. Pure.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::{
    audience::Statement,
    consent::AudienceSet,
    decide::Subject,
    issuer::Issuer,
    secret::Secret,
    token::{
        Expected, Verified,
        claims::Claims,
        jwt,
        opaque::{self, AudienceTag},
    },
};
use jiff::Timestamp;
use serde::Deserialize;

use crate::keys::ring::KeyRing;

/// What a token is held against.
pub(super) struct Recogniser<'a> {
    pub(super) audiences: &'a AudienceSet,
    /// The keys of `issuer`.
    pub(super) ring: &'a KeyRing,
    /// The issuer that is asked: tokens of another one are as unknown to it as any.
    pub(super) issuer: &'a Issuer,
    pub(super) caller: &'a Subject,
    pub(super) now: Timestamp,
}

impl Recogniser<'_> {
    /// What the token says, if it is valid now and for an audience that the caller checks tokens for.
    /// Why it is not, is nobody's to know.
    ///
    /// # Guarantees
    /// At most one key and one audience are tried.
    pub(super) fn claims(&self, token: &Secret<String>) -> Option<Claims> {
        if token.expose().len() > LONGEST_TOKEN {
            return None;
        }
        let verified = if token.expose().starts_with("hpo_") {
            self.sealed(token)
        } else {
            self.signed(token)
        };
        verified.map(Verified::into_claims)
    }

    fn signed(&self, token: &Secret<String>) -> Option<Verified<Claims>> {
        let said = Said::of(token)?;
        if said.iss != self.issuer.url.as_str() {
            return None;
        }
        let statement = self.audiences.of_value(&said.aud)?;
        if !self.may_ask(statement) {
            return None;
        }
        let expected = Expected {
            issuer: self.issuer.url.as_str(),
            audience: statement.audience.as_str(),
        };
        jwt::verify(self.ring.verifying(), token, &expected, self.now).ok()
    }

    fn sealed(&self, token: &Secret<String>) -> Option<Verified<Claims>> {
        let sealed = opaque::parse(token).ok()?;
        let key = self.ring.sealing(sealed.key_id())?;
        let meant = |statement: &&Arc<Statement>| {
            self.may_ask(statement) && AudienceTag::of(&statement.audience) == sealed.audience_tag()
        };
        let statement = self.audiences.counting().find(meant)?;
        let issuer = self.issuer.url.as_str();
        let opened = sealed.open(key, issuer, &statement.audience, self.now);
        opened.ok()
    }

    /// Whether the caller checks the tokens of that audience, and this issuer makes them.
    fn may_ask(&self, statement: &Statement) -> bool {
        statement.id.namespace == self.caller.namespace
            && statement.verifiers.contains(&self.caller.service_account)
            && statement.issuer == self.issuer.name
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
