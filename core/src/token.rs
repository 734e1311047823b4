//! Tokens: how one is checked, and the proof that it was.

#[cfg(test)]
mod fixture;
mod jose;
pub mod keys;
pub mod service_account;

/// What a token says, after every check of its kind was passed. Only a verifier of this crate makes
/// one, so whoever holds it need not ask whether somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// What the token says.
    pub const fn claims(&self) -> &T {
        &self.0
    }

    /// What the token says, without the proof.
    pub fn into_claims(self) -> T {
        self.0
    }
}
