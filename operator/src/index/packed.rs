//! The status of a policy, as it is kept: what it says of a token is mostly what others say of theirs.

use std::sync::Arc;

use hallpass_core::{policy::Policy, pool::Pool};
use hallpass_crds::token_policy::{PolicyTokenStatus, TokenPolicyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::record::{PolicyRecord, Record};

/// A [`TokenPolicyStatus`] that takes little.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PackedStatus {
    observed_generation: Option<i64>,
    pods: Option<i32>,
    tokens_ready: Option<Box<str>>,
    tokens: Box<[Arc<PolicyTokenStatus>]>,
    conditions: Box<[Condition]>,
}

impl PackedStatus {
    /// Makes what it says of each token the same piece of memory as what equals it in the pool.
    pub(super) fn share(&mut self, pool: &mut Pool<PolicyTokenStatus>) {
        for token in &mut self.tokens {
            *token = pool.share(Arc::clone(token));
        }
    }

    /// What is said of the policy as a whole.
    pub(crate) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl From<TokenPolicyStatus> for PackedStatus {
    fn from(status: TokenPolicyStatus) -> Self {
        let TokenPolicyStatus {
            observed_generation,
            pods,
            tokens_ready,
            tokens,
            conditions,
        } = status;
        Self {
            observed_generation,
            pods,
            tokens_ready: tokens_ready.map(Into::into),
            tokens: tokens.into_iter().map(Arc::new).collect(),
            conditions: conditions.into(),
        }
    }
}

impl From<&PackedStatus> for TokenPolicyStatus {
    fn from(packed: &PackedStatus) -> Self {
        let tokens = packed.tokens.iter().map(|token| (**token).clone());
        Self {
            observed_generation: packed.observed_generation,
            pods: packed.pods,
            tokens_ready: packed.tokens_ready.as_deref().map(Into::into),
            tokens: tokens.collect(),
            conditions: packed.conditions.to_vec(),
        }
    }
}

impl PolicyRecord {
    /// The same with its status as the API server stores it.
    pub(crate) fn unpacked(self) -> Record<Policy, TokenPolicyStatus> {
        self.with_status(|status| (&status).into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(token: &str) -> TokenPolicyStatus {
        serde_json::from_value(json!({
            "observedGeneration": 3, "pods": 7, "tokensReady": "1/2",
            "tokens": [
                {"name": "vault", "ready": "True", "reason": "Ready", "message": "can be issued"},
                {"name": token, "ready": "False", "reason": "NoSuchAudience", "message": "there is none"},
            ],
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "NoSuchAudience", "message": "there is none",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 3,
            }],
        }))
        .unwrap()
    }

    #[test]
    fn says_all_that_was_said() {
        for status in [status("payments"), TokenPolicyStatus::default()] {
            let packed = PackedStatus::from(status.clone());
            assert_eq!(TokenPolicyStatus::from(&packed), status);
        }
    }

    #[test]
    fn what_two_say_alike_of_a_token_is_kept_once() {
        let mut pool = Pool::default();
        let [one, other] = [status("payments"), status("ledger")].map(|status| {
            let mut packed = PackedStatus::from(status);
            packed.share(&mut pool);
            packed
        });
        let same = |place: usize| Arc::ptr_eq(&one.tokens[place], &other.tokens[place]);
        assert!(same(0));
        assert!(!same(1));
    }
}
