//! What only the leader does: it reports on what the users wrote, makes the issuer of the chart,
//! registers the webhook, and deletes revocations that asked for it.
//!
//! Nothing here decides about a token. Each controller reads the index, works out what should be said,
//! and writes it if it is not said yet.

use jiff::Timestamp;

use crate::issuer::kubernetes::OperatorId;

pub mod audience;
mod event;
mod events;
#[cfg(test)]
mod fixture;
pub mod injection;
pub mod issuer;
mod plan;
pub mod policy;
pub mod revocation;
mod round;
mod status;
pub mod webhook;
mod write;

/// Who reports, and by which clock.
#[derive(Debug, Clone)]
pub struct Context {
    /// The operator, for the command that gives it a right.
    pub operator: OperatorId,
    /// This replica's pod, the reporter of events.
    pub pod: String,
    /// The time of day, for `lastTransitionTime`.
    pub clock: fn() -> Timestamp,
}
