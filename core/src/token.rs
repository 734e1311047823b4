//! Tokens: how one is checked, and the proof that it was.

use std::sync::Arc;

use jiff::SignedDuration;

pub mod cache;
pub mod claims;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod jose;
pub mod jwt;
pub mod keys;
pub mod opaque;
pub mod service_account;
mod signature;
pub mod signing;
mod xaes;

pub use fault::{Fault, Flaw};

/// What a token must say to be accepted. Both are compared as they are written.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Its `iss`.
    pub issuer: &'a str,
    /// The audience that must be the token's, or among them.
    pub audience: &'a str,
}

/// What a token says, after every check of its kind was passed. Only a verifier of this crate makes
/// one, so whoever holds it need not ask whether somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    claims: T,
    kid: Arc<str>,
}

impl<T> Verified<T> {
    /// What the token says.
    pub const fn claims(&self) -> &T {
        &self.claims
    }

    /// The `kid` of the key that proves it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What the token says, without the proof.
    pub fn into_claims(self) -> T {
        self.claims
    }
}

/// How far two clocks may be apart: the only leeway there is, for every kind of token.
const LEEWAY: SignedDuration = SignedDuration::from_secs(5);
