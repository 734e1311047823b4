//! Calls to the API server that end.

use std::time::Duration;

use kube::core::Status;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error(transparent)]
    Answered(Box<kube::Error>),
}

impl CallError {
    /// The object was changed by somebody else since it was read.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// There is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// What the API server refused it with, where it did.
    pub(crate) fn refusal(&self) -> Option<&Status> {
        match self {
            Self::Answered(error) => match &**error {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::NoAnswer(_) => None,
        }
    }

    fn code(&self) -> Option<u16> {
        self.refusal().map(|status| status.code)
    }
}

/// Waits for the answer, but not for ever: kube's client would.
pub(crate) async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(answer) => answer.map_err(|e| CallError::Answered(Box::new(e))),
        // Elapsed says nothing but that.
        Err(_) => Err(CallError::NoAnswer(LIMIT)),
    }
}

const LIMIT: Duration = Duration::from_secs(10);
