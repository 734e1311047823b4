//! What the statuses of all kinds have in common: a condition that sums up, and numbers that may lag.

use std::{fmt::Debug, time::Duration};

use hallpass_core::denial::Code;
use hallpass_crds::{
    token_audience::{TokenAudience, TokenAudienceStatus},
    token_issuer::{TokenIssuer, TokenIssuerStatus},
    token_policy::{TokenPolicy, TokenPolicyStatus, TokenReady},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Api, Client, Resource};
use serde::{Serialize, de::DeserializeOwned};

use super::write::MANAGER;
use crate::index::Stored;

/// The status of a kind that Hallpass reports on.
pub(crate) trait Status: Clone + Debug + PartialEq + Serialize {
    /// The kind.
    type Kind: Resource<DynamicType = ()> + DeserializeOwned;

    /// Where it is stored; `namespace` is empty for a kind that has none. What comes back is the whole
    /// object, which may be one that cannot be read.
    fn api(client: Client, namespace: &str) -> Api<Stored<Self::Kind>>;

    /// The type of the condition that sums it up: of its transitions an event tells.
    const CONDITION: &'static str = READY;

    /// Whose the fields are: of two controllers that write to one status, each has its own.
    const MANAGER: &'static str = MANAGER;

    /// What is said of the object as a whole.
    fn conditions(&self) -> &[Condition];
}

/// A status of which the one that is stored is kept, to be compared with what it should be.
pub(crate) trait Kept: Status {
    /// How long after a write that which others can change at any time is no reason for another.
    const PAUSE: Duration = Duration::from_secs(10);

    /// The same with those conditions alone.
    fn with_conditions(&self, conditions: Vec<Condition>) -> Self;

    /// The same with what others can change at any time, such as the counts, as it was in `old`.
    fn with_counts_of(&self, old: &Self) -> Self;
}

impl Status for TokenPolicyStatus {
    type Kind = TokenPolicy;

    fn api(client: Client, namespace: &str) -> Api<Stored<TokenPolicy>> {
        Api::namespaced(client, namespace)
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Kept for TokenPolicyStatus {
    fn with_conditions(&self, conditions: Vec<Condition>) -> Self {
        Self {
            conditions,
            ..self.clone()
        }
    }

    fn with_counts_of(&self, old: &Self) -> Self {
        Self {
            pods: old.pods,
            ..self.clone()
        }
    }
}

impl Status for TokenAudienceStatus {
    type Kind = TokenAudience;

    fn api(client: Client, namespace: &str) -> Api<Stored<TokenAudience>> {
        Api::namespaced(client, namespace)
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Kept for TokenAudienceStatus {
    fn with_conditions(&self, conditions: Vec<Condition>) -> Self {
        Self {
            conditions,
            ..self.clone()
        }
    }

    /// Who asks is decided in other namespaces: their haste is not to become the owner's.
    fn with_counts_of(&self, old: &Self) -> Self {
        Self {
            policies: old.policies,
            refused_count: old.refused_count,
            refused: old.refused.clone(),
            ..self.clone()
        }
    }
}

impl Status for TokenIssuerStatus {
    type Kind = TokenIssuer;

    fn api(client: Client, _: &str) -> Api<Stored<TokenIssuer>> {
        Api::all(client)
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Kept for TokenIssuerStatus {
    fn with_conditions(&self, conditions: Vec<Condition>) -> Self {
        Self {
            conditions,
            ..self.clone()
        }
    }

    /// It counts nothing.
    fn with_counts_of(&self, _: &Self) -> Self {
        self.clone()
    }
}

/// The condition that sums up a status.
pub(crate) fn reported<S: Status>(status: &S) -> Option<&Condition> {
    let mut conditions = status.conditions().iter();
    conditions.find(|c| c.type_ == S::CONDITION)
}

/// What is said about an object, or about a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) ready: TokenReady,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Verdict {
    pub(super) fn ready(message: impl Into<String>) -> Self {
        Self {
            ready: TokenReady::True,
            reason: READY,
            message: message.into(),
        }
    }

    pub(super) const fn refused(code: Code, message: String) -> Self {
        Self {
            ready: TokenReady::False,
            reason: code.as_str(),
            message,
        }
    }

    /// The condition of such a status that says so. Its time of transition is the one of `old` as long as the
    /// status of the condition is.
    pub(super) fn condition<S: Kept>(
        self,
        generation: Option<i64>,
        now: Timestamp,
        old: Option<&S>,
    ) -> Condition {
        let status = match self.ready {
            TokenReady::True => "True",
            TokenReady::False => "False",
            TokenReady::Unknown => "Unknown",
        };
        let since = old
            .and_then(reported)
            .filter(|old| old.status == status)
            .map_or_else(
                || to_the_second(now),
                |old| old.last_transition_time.clone(),
            );
        Condition {
            type_: S::CONDITION.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: shortened(self.message, LONGEST_MESSAGE),
            observed_generation: generation,
            last_transition_time: since,
        }
    }
}

/// The time as the API server stores it: to the second. Else what comes back is never what was written.
pub(super) fn to_the_second(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// The text, cut at a character's boundary if it has more than `most` bytes.
pub(super) fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
    text
}

/// A number as a status holds it.
pub(super) fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The type of the condition, and the reason when nothing stands in the way.
pub(super) const READY: &str = "Ready";

/// The longest message of a condition, in bytes.
pub(super) const LONGEST_MESSAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("aä".to_owned(), 2), "a");
        assert_eq!(shortened("aä".to_owned(), 3), "aä");
    }
}
