//! The status of a policy, as it is kept: what it says of a token is mostly what others say of theirs.

use std::sync::Arc;

use hallpass_core::policy::Policy;
use hallpass_crds::token_policy::{PolicyTokenStatus, TokenPolicyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    Pools,
    record::{PolicyRecord, Record},
};

/// A [`TokenPolicyStatus`] that takes little.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PackedStatus {
    observed_generation: Option<i64>,
    pods: Option<i32>,
    tokens_ready: Option<Box<str>>,
    tokens: Box<[Arc<PolicyTokenStatus>]>,
    conditions: Box<[PackedCondition]>,
}

/// A [`Condition`] that takes little.
#[derive(Debug, Clone, PartialEq)]
struct PackedCondition {
    observed_generation: Option<i64>,
    last_transition_time: Time,
    sentence: Arc<Sentence>,
}

/// What a condition says, whenever it does.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sentence {
    type_: Box<str>,
    status: Box<str>,
    reason: Box<str>,
    message: Box<str>,
}

impl PackedStatus {
    /// Makes what it says the same piece of memory as what equals it in the pools.
    pub(super) fn share(&mut self, pools: &mut Pools) {
        for token in &mut self.tokens {
            *token = pools.statuses.share(Arc::clone(token));
        }
        for condition in &mut self.conditions {
            condition.sentence = pools.sentences.share(Arc::clone(&condition.sentence));
        }
    }

    /// What is said of the policy as a whole: the condition of that type.
    pub(crate) fn condition(&self, type_: &str) -> Option<Condition> {
        let mut conditions = self.conditions.iter();
        let condition = conditions.find(|condition| *condition.sentence.type_ == *type_);
        condition.map(Condition::from)
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
            conditions: conditions.into_iter().map(Into::into).collect(),
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
            conditions: packed.conditions.iter().map(Into::into).collect(),
        }
    }
}

impl From<Condition> for PackedCondition {
    fn from(condition: Condition) -> Self {
        let Condition {
            type_,
            status,
            reason,
            message,
            observed_generation,
            last_transition_time,
        } = condition;
        Self {
            observed_generation,
            last_transition_time,
            sentence: Arc::new(Sentence {
                type_: type_.into(),
                status: status.into(),
                reason: reason.into(),
                message: message.into(),
            }),
        }
    }
}

impl From<&PackedCondition> for Condition {
    fn from(packed: &PackedCondition) -> Self {
        let Sentence {
            type_,
            status,
            reason,
            message,
        } = &*packed.sentence;
        Self {
            type_: (**type_).into(),
            status: (**status).into(),
            reason: (**reason).into(),
            message: (**message).into(),
            observed_generation: packed.observed_generation,
            last_transition_time: packed.last_transition_time.clone(),
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
    fn has_each_condition_under_its_type() {
        let said = status("payments");
        let packed = PackedStatus::from(said.clone());
        assert_eq!(packed.condition("Ready").as_ref(), said.conditions.first());
        assert_eq!(packed.condition("Injected"), None);
    }

    #[test]
    fn what_two_say_alike_is_kept_once() {
        let mut pools = Pools::default();
        let [one, other] = [status("payments"), status("ledger")].map(|status| {
            let mut packed = PackedStatus::from(status);
            packed.share(&mut pools);
            packed
        });
        let same = |place: usize| Arc::ptr_eq(&one.tokens[place], &other.tokens[place]);
        assert!(same(0));
        assert!(!same(1));
        let [one, other] = [one, other].map(|status| Arc::clone(&status.conditions[0].sentence));
        assert!(Arc::ptr_eq(&one, &other));
    }
}
