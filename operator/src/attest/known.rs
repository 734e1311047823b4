//! Tokens whose signature was checked already: a pod shows the same one for an hour.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hallpass_core::token::service_account::Examined;

use super::refusals::Fingerprint;

/// What was found out about the tokens that were shown last, by their SHA-256: at most twice [`HALF`].
///
/// Only tokens that pass every check come in, so nobody fills it with texts of his own making. When a half
/// is full, the other one is forgotten, and with it whoever was not seen since.
#[derive(Default)]
pub(super) struct Known(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    young: HashMap<Fingerprint, Arc<Examined>>,
    old: HashMap<Fingerprint, Arc<Examined>>,
}

impl Known {
    pub(super) fn find(&self, token: &Fingerprint) -> Option<Arc<Examined>> {
        let mut halves = self.halves();
        if let Some(examined) = halves.young.get(token) {
            return Some(Arc::clone(examined));
        }
        let examined = halves.old.remove(token)?;
        halves.add(token, Arc::clone(&examined));
        Some(examined)
    }

    pub(super) fn remember(&self, token: &Fingerprint, examined: Examined) {
        self.halves().add(token, Arc::new(examined));
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        // Whatever a panic leaves behind is a part of what was found out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn add(&mut self, token: &Fingerprint, examined: Arc<Examined>) {
        if self.young.len() >= HALF {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(*token, examined);
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known")
    }
}

/// With the names of one pod each: about 2 MB when both are full.
const HALF: usize = 4096;

#[cfg(test)]
mod tests {
    use hallpass_core::{
        secret::Secret,
        token::{
            keys::KeySet,
            service_account::{Expected, examine},
        },
    };

    use super::*;
    use crate::attest::fixture::{AUDIENCE, Answer, ISSUER, Signer, jwks};

    fn examined() -> Examined {
        let signer = Signer::new("first");
        let Answer::Json(_, document) = jwks(&[&signer]) else {
            unreachable!("a key set is JSON")
        };
        let keys = KeySet::parse(document.to_string().as_bytes()).unwrap();
        let expected = Expected {
            issuer: ISSUER,
            audience: AUDIENCE,
        };
        examine(&keys, &signer.token(), &expected).unwrap()
    }

    fn token(number: usize) -> Fingerprint {
        Fingerprint::of(&Secret::new(number.to_string()))
    }

    #[test]
    fn t06_the_memory_is_bounded_and_keeps_who_comes_again() {
        let (known, examined) = (Known::default(), examined());
        known.remember(&token(0), examined.clone());
        for number in 1..5 * HALF {
            known.remember(&token(number), examined.clone());
            if number % 1000 == 0 {
                assert!(known.find(&token(0)).is_some(), "{number}");
            }
            let halves = known.halves();
            assert!(halves.young.len() <= HALF && halves.old.len() <= HALF);
        }
        assert!(known.find(&token(5 * HALF - 1)).is_some());
        assert!(known.find(&token(1)).is_none(), "who did not, is forgotten");
        assert!(known.find(&token(5 * HALF)).is_none(), "and who never came");
    }
}
