//! Which token is meant that somebody gives back, and whether that can be told here and now.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::{
    consent::AudienceSet,
    denial::Code,
    issuer::Issuer,
    secret::Secret,
    token::{Expected, Fault, Verified, claims::Claims, jwt, opaque},
};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{issue::refusal::Refusal, keys::ring::KeyRing};

/// What a token that is given back is held against.
pub(super) struct Known<'a> {
    pub(super) audiences: &'a AudienceSet,
    /// The keys of `issuer`.
    pub(super) ring: &'a KeyRing,
    /// The issuer that is asked.
    pub(super) issuer: &'a Issuer,
    pub(super) now: Timestamp,
}

impl Known<'_> {
    /// What the token says; [`None`] for what is proven to be worth nothing, now and for ever: what no
    /// issuer wrote, and what is past its time (RFC 7009 §2.2).
    ///
    /// # Errors
    /// [`Code::ForeignToken`] for a token of another issuer, which has an endpoint of its own;
    /// [`Code::Unavailable`] where another replica, or this one a moment later, may take it for valid.
    pub(super) fn meant(
        &self,
        token: &Secret<String>,
    ) -> Result<Option<Arc<Verified<Claims>>>, Refusal> {
        let verified = if token.expose().starts_with("hpo_") {
            self.sealed(token)
        } else {
            self.signed(token)
        };
        verified.map(|verified| verified.map(Arc::new))
    }

    fn signed(&self, token: &Secret<String>) -> Result<Option<Verified<Claims>>, Refusal> {
        let Some(said) = Said::of(token) else {
            return Ok(None);
        };
        // No verifier takes a token beyond the end that it names itself, whoever signed it.
        if said.exp < self.now.as_second().saturating_sub(LEEWAY) {
            return Ok(None);
        }
        let issuer = self.issuer.url.as_str();
        if said.iss != issuer {
            return Err(self.foreign());
        }
        // The signature proves the audience, whether or not an object states it at the moment.
        let expected = Expected {
            issuer,
            audience: &said.aud,
        };
        match jwt::verify(self.ring.verifying(), token, &expected, self.now) {
            Ok(verified) => Ok(Some(verified)),
            Err(fault) => worthless(fault),
        }
    }

    fn sealed(&self, token: &Secret<String>) -> Result<Option<Verified<Claims>>, Refusal> {
        let Ok(sealed) = opaque::parse(token) else {
            return Ok(None);
        };
        if *sealed.issuer_id() != self.issuer.url.id() {
            return Err(self.foreign());
        }
        let Some(key) = self.ring.sealing(sealed.key_id()) else {
            return Err(unknown("key"));
        };
        // It opens under its audience alone, which is not written in it. Whether that can be used at the
        // moment does not matter: it may be again tomorrow.
        let mut outcome = Err(unknown("audience"));
        for audience in self.audiences.claimed(sealed.audience_tag()) {
            outcome = match sealed.open(key, &self.issuer.url, audience, self.now) {
                Ok(verified) => return Ok(Some(verified)),
                Err(fault) => worthless(fault),
            };
        }
        outcome
    }

    fn foreign(&self) -> Refusal {
        let detail = format!(
            "this token is not one of the issuer {}: it is given back at its own issuer",
            self.issuer.url.as_str()
        );
        Refusal::new(Code::ForeignToken, detail)
    }
}

/// Whether a token with that fault is worth nothing for good.
fn worthless(fault: Fault) -> Result<Option<Verified<Claims>>, Refusal> {
    match fault {
        Fault::UnknownKey => Err(unknown("key")),
        Fault::Malformed(_)
        | Fault::BadSignature
        | Fault::WrongIssuer
        | Fault::WrongAudience
        | Fault::Expired => Ok(None),
    }
}

fn unknown(what: &str) -> Refusal {
    let detail = format!(
        "this replica does not know the {what} of this token at the moment, so it is not revoked; try again"
    );
    Refusal::new(Code::Unavailable, detail)
}

/// What a token says that nobody has checked.
#[derive(Deserialize)]
struct Said {
    iss: String,
    aud: String,
    exp: i64,
}

impl Said {
    fn of(token: &Secret<String>) -> Option<Self> {
        let mut parts = token.expose().split('.');
        let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        let claims = Secret::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
        serde_json::from_slice(claims.expose()).ok()
    }
}

/// What the clock of a verifier may be behind, and more.
const LEEWAY: i64 = 10;
