//! Why the operator gave no answer, or refused.

use std::{error::Error, fmt, io, time::Duration};

use hallpass_core::{denial::Code, wire::Problem};
use http::StatusCode;

use crate::{identity::IdentityError, trust::BundleError};

/// The step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the pod's identity token holds characters that no token has")]
    IdentityMalformed,
    #[error(transparent)]
    Trust(#[from] BundleError),
    #[error("cannot set TLS up")]
    Tls(#[source] rustls::Error),
    #[error("cannot look up {host}")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("cannot connect to {operator}")]
    Connect { operator: String, source: io::Error },
    #[error("cannot agree on TLS with {operator}")]
    Handshake { operator: String, source: io::Error },
    #[error("{step} took longer than {} s", limit.as_secs())]
    TooSlow { step: Step, limit: Duration },
    #[error("cannot write the request")]
    WriteRequest(#[source] serde_json::Error),
    #[error("the connection to the operator broke")]
    Exchange(#[source] hyper::Error),
    #[error("the operator's answer is larger than {limit} bytes")]
    AnswerTooLarge { limit: usize },
    #[error("the operator's answer cannot be read (line {line}, column {column})")]
    ReadAnswer { line: usize, column: usize },
    #[error("{}", problem.detail)]
    Refused {
        problem: Box<Problem>,
        retry_after: Option<u32>,
    },
    #[error(
        "the answer is {status}, without a reason; it may come from something before the operator"
    )]
    Unexplained {
        status: StatusCode,
        retry_after: Option<u32>,
    },
}

/// A step with a time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Resolve,
    Connect,
    Handshake,
    Request,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the operator's address",
            Self::Connect => "connecting to the operator",
            Self::Handshake => "agreeing on TLS with the operator",
            Self::Request => "the operator's answer",
        })
    }
}

impl UpstreamError {
    /// The finite word for it, or the operator's own.
    pub(crate) fn code(&self) -> std::borrow::Cow<'static, str> {
        match self {
            Self::Refused { problem, .. } => problem.code.clone(),
            _ => Code::Unavailable.as_str().into(),
        }
    }

    /// The wait that the operator asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Unexplained { retry_after, .. } => {
                retry_after.map(u64::from).map(Duration::from_secs)
            }
            _ => None,
        }
    }

    /// The error and its causes in one line, for the one who has to do something about it.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        if self.is_unreached() {
            line.push_str(LIKELY);
        }
        line
    }

    /// No connection came about.
    const fn is_unreached(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::TooSlow {
                    step: Step::Connect,
                    ..
                }
        )
    }
}

/// What the network does not say of itself.
const LIKELY: &str = "; where the operator's pods are Ready, a NetworkPolicy of this namespace does not let this pod out to them (docs/operations.md#the-network)";
