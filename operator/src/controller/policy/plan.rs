//! What to do about the status of one policy, given what was done before.

use std::time::Duration;

use hallpass_crds::token_policy::TokenPolicyStatus;
use tokio::time::Instant;

use super::desired::ready;
use crate::index::{PolicyRecord, Unusable};

/// What is remembered of one stored policy.
#[derive(Debug, Default)]
pub(super) struct Memory {
    written: Option<(TokenPolicyStatus, Instant)>,
    failures: u32,
    retry: Option<Instant>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// The status says what it should.
    Nothing,
    /// Look again at that time.
    Later(Instant),
    /// Write this status.
    Write {
        /// The status.
        status: TokenPolicyStatus,
        /// Whether Ready or its reason is another one than before.
        transition: bool,
    },
}

impl Memory {
    /// Compares what is stored with what `desired` makes of it.
    pub(super) fn plan(
        &self,
        record: &PolicyRecord,
        now: Instant,
        desired: impl FnOnce(Option<&TokenPolicyStatus>) -> TokenPolicyStatus,
    ) -> Plan {
        if let Some(retry) = self.retry.filter(|retry| now < *retry) {
            return Plan::Later(retry);
        }
        let old = self.stored(record, now);
        let status = desired(old);
        let Some(old) = old else {
            return Plan::Write {
                status,
                transition: true,
            };
        };
        if same(old, &status) {
            return Plan::Nothing;
        }
        if let Some((_, at)) = &self.written
            && now < *at + COUNT_PAUSE
            && same(old, &counting(&status, old.pods))
        {
            return Plan::Later(*at + COUNT_PAUSE);
        }
        let said = |status| ready(status).map(|c| (c.status.clone(), c.reason.clone()));
        let transition = said(old) != said(&status);
        Plan::Write { status, transition }
    }

    /// The status was stored.
    pub(super) fn wrote(&mut self, status: TokenPolicyStatus, now: Instant) {
        *self = Self {
            written: Some((status, now)),
            ..Self::default()
        };
    }

    /// The status could not be stored. `jitter` is uniform in `0.0..1.0`. Returns how often in a row.
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) -> u32 {
        self.failures = self.failures.saturating_add(1);
        let doubled = FIRST_RETRY * 2u32.saturating_pow(self.failures.min(8) - 1);
        let pause = doubled.min(LONGEST_RETRY).mul_f64(0.5 + 0.5 * jitter);
        self.retry = Some(now + pause);
        self.failures
    }

    /// When to look again after a failure.
    pub(super) const fn retry(&self) -> Option<Instant> {
        self.retry
    }

    /// The status that is stored, as far as is known: what was just written has not come back through
    /// the watch yet, and of an object that cannot be read it never does.
    fn stored<'a>(
        &'a self,
        record: &'a PolicyRecord,
        now: Instant,
    ) -> Option<&'a TokenPolicyStatus> {
        let unreadable = matches!(record.spec, Err(Unusable::Unreadable(_)));
        match &self.written {
            Some((status, at)) if unreadable || now < *at + SETTLE => Some(status),
            _ => record.status.as_ref(),
        }
    }
}

/// Whether both say the same. Conditions that somebody else added are none of ours.
fn same(old: &TokenPolicyStatus, new: &TokenPolicyStatus) -> bool {
    let of = |status: &TokenPolicyStatus| TokenPolicyStatus {
        conditions: ready(status).into_iter().cloned().collect(),
        ..status.clone()
    };
    of(old) == of(new)
}

fn counting(status: &TokenPolicyStatus, pods: Option<i32>) -> TokenPolicyStatus {
    TokenPolicyStatus {
        pods,
        ..status.clone()
    }
}

/// How long after a write the number of pods alone is no reason for another.
const COUNT_PAUSE: Duration = Duration::from_secs(10);

/// How long after a write the watch has surely brought it back.
const SETTLE: Duration = Duration::from_secs(5);

/// The pauses between failed writes of one status.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
