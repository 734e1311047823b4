//! Tokens that were refused a moment ago, so that the API server is not asked again for each try.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hallpass_core::{denial::Code, secret::Secret};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::Rejection;

/// The SHA-256 of a token: what is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(token: &Secret<String>) -> Self {
        Self(Sha256::digest(token.expose()).into())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[fingerprint]")
    }
}

/// The refusals of the last seconds, at most [`MOST`].
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<Fingerprint, Refusal>>);

#[derive(Debug)]
struct Refusal {
    rejection: Rejection,
    until: Instant,
}

impl Refusals {
    /// What was said of the token, if that was a moment ago.
    pub(super) fn recall(&self, token: &Fingerprint) -> Option<Rejection> {
        let refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = refusals.get(token)?;
        (Instant::now() < refusal.until).then(|| refusal.rejection.clone())
    }

    /// Keeps a refusal for some seconds.
    pub(super) fn remember(&self, token: &Fingerprint, rejection: &Rejection) {
        let now = Instant::now();
        let life = match rejection.code {
            Code::PodGone | Code::ServiceAccountGone => ABSENT,
            _ => REFUSED,
        };
        let refusal = Refusal {
            rejection: rejection.clone(),
            until: now + life,
        };
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MOST {
            refusals.retain(|_, refusal| now < refusal.until);
        }
        if refusals.len() < MOST {
            refusals.insert(*token, refusal);
        }
    }
}

/// How many refusals are kept. Each one cost the API server a question, and those are limited; a full
/// memory only means that the next one is not kept.
const MOST: usize = 1024;

/// How long a token that the API server refused stays refused.
const REFUSED: Duration = Duration::from_secs(5);

/// How long an object that was not there stays absent: a watch delivers it within that time.
const ABSENT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn token(name: &str) -> Fingerprint {
        Fingerprint::of(&Secret::new(name.to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_kept_for_seconds_and_for_its_token_alone() {
        let refusals = Refusals::default();
        let unknown = Rejection::new(Code::UnknownKey, "u");
        let gone = Rejection::new(Code::PodGone, "g");
        refusals.remember(&token("a"), &unknown);
        refusals.remember(&token("b"), &gone);
        advance(Duration::from_millis(1999)).await;
        assert_eq!(refusals.recall(&token("a")), Some(unknown.clone()));
        assert_eq!(refusals.recall(&token("b")), Some(gone));
        assert_eq!(refusals.recall(&token("c")), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(refusals.recall(&token("b")), None);
        advance(Duration::from_millis(2999)).await;
        assert_eq!(refusals.recall(&token("a")), Some(unknown));
        advance(Duration::from_millis(1)).await;
        assert_eq!(refusals.recall(&token("a")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn t06_the_memory_is_bounded_and_makes_room_by_time() {
        let refusals = Refusals::default();
        let rejection = Rejection::new(Code::UnknownKey, "u");
        for i in 0..2 * MOST {
            refusals.remember(&token(&i.to_string()), &rejection);
        }
        assert_eq!(refusals.0.lock().unwrap().len(), MOST);
        assert_eq!(refusals.recall(&token("0")), Some(rejection.clone()));
        assert_eq!(refusals.recall(&token(&MOST.to_string())), None);
        advance(REFUSED).await;
        refusals.remember(&token("new"), &rejection);
        assert_eq!(refusals.0.lock().unwrap().len(), 1);
        assert_eq!(refusals.recall(&token("new")), Some(rejection));
    }
}
