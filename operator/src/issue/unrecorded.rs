//! What is said where a record cannot be written: while nothing takes records, every request comes to it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::error;

use crate::{
    audit::{AuditError, RequestId},
    telemetry::log::Chain,
};

/// Says it, of either sort once a minute at most, with how often it was so since it was last said.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    tokens: Rarely,
    refusals: Rarely,
}

impl Unrecorded {
    /// A token was not handed out for that.
    pub(super) fn token(&self, request: &RequestId, error: &AuditError) {
        if let Some(times) = self.tokens.count(Instant::now()) {
            error!(
                request.id = request.as_str(),
                error = %Chain(error),
                times,
                "no token: no audit record"
            );
        }
    }

    /// A refusal stands without one: nothing left the operator that would want a record.
    pub(super) fn refusal(&self, request: &RequestId, error: &AuditError) {
        if let Some(times) = self.refusals.count(Instant::now()) {
            error!(
                request.id = request.as_str(),
                error = %Chain(error),
                times,
                "refusal without an audit record"
            );
        }
    }
}

#[derive(Debug, Default)]
struct Rarely(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    said: Option<Instant>,
    since: u64,
}

impl Rarely {
    /// Counts one time more, and gives how many there were since it was last said if it is to be said again.
    fn count(&self, now: Instant) -> Option<u64> {
        // Whatever a panic leaves behind is a count.
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.since += 1;
        if times.said.is_some_and(|said| now < said + PAUSE) {
            return None;
        }
        times.said = Some(now);
        Some(std::mem::take(&mut times.since))
    }
}

const PAUSE: Duration = Duration::from_secs(60);
