//! Why a request, or one name in it, got no token.

use std::time::Duration;

use hallpass_core::{
    denial::{Code, Denial},
    wire::Problem,
};

use crate::{attest::Rejection, index::NotSynced, issuer::MintError, replica::standing::Behind};

/// A finite reason, words for the one who asked, and how long to wait where waiting helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The finite reason.
    pub code: Code,
    /// What happened here, and what to do about it. It never holds a credential.
    pub detail: String,
    /// Always there for [`Code::TooOften`] and for what is answered with 503.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal with the wait that goes with its code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after = match code.status() {
            503 => Some(RETRY_UNAVAILABLE),
            429 => Some(RETRY_TOO_OFTEN),
            _ => None,
        };
        Self {
            code,
            detail: detail.into(),
            retry_after,
        }
    }

    /// The same with another wait.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The wait in whole seconds, rounded up: who waits that long is not too early.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        let wait = self.retry_after?;
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The refusal as a document.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem {
            retry_after_seconds: self.retry_after_seconds(),
            ..Problem::new(self.code, self.detail.as_str())
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::new(denial.code, denial.detail)
    }
}

impl From<NotSynced> for Refusal {
    fn from(not_synced: NotSynced) -> Self {
        Self::new(Code::NotSynced, not_synced.to_string())
    }
}

impl From<Behind> for Refusal {
    fn from(behind: Behind) -> Self {
        Self::new(Code::NotSynced, behind.to_string())
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::new(rejection.code, rejection.detail)
    }
}

impl From<&MintError> for Refusal {
    fn from(error: &MintError) -> Self {
        let refusal = Self::new(error.code(), error.to_string());
        match error.retry_after() {
            Some(wait) => refusal.after(wait),
            None => refusal,
        }
    }
}

const RETRY_UNAVAILABLE: Duration = Duration::from_secs(2);
const RETRY_TOO_OFTEN: Duration = Duration::from_secs(10);
