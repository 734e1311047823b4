//! What the two kinds of revocations have in common: how far one goes, and what became of it.
//!
//! The doc comments of the fields are what `kubectl explain` prints of both kinds: they speak to
//! somebody who has to stop something now. Defaults are applied where a revocation is parsed and never
//! stored.
#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each struct, with its visibility, into a function"
)]

use hallpass_core::revocation::Reported;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition, rule};

/// How far a revocation goes, and how long it stays. Its fields stand in the spec beside the target.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationTerms {
    /// Revoke: the tokens that were issued are refused; whoever held one gets a new one. Lock: besides,
    /// no new ones are issued until expiresAt, or until this object is deleted. Defaults to Revoke.
    ///
    /// To stop something that should hold no token at all, write Lock. Lock is refused with a tokenID or
    /// a key: no new token can come of either, so there is nothing to lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RevocationEffect")]
    pub effect: Option<RevocationEffect>,
    /// Only tokens that were issued before this time are refused, such as 2026-11-25T01:42:00Z. Defaults
    /// to the time when this object was created. Refused with a tokenID or a key, of which everything is
    /// meant.
    ///
    /// A token that was issued by a replica of Hallpass that did not know this object yet is refused
    /// too, unless the time lies before the creation of this object and the effect is `Revoke`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rule::revocation::time())]
    pub issued_before: Option<Time>,
    /// When the lock ends, such as 2026-11-25T08:00:00Z. Only with the effect Lock. Without it the lock
    /// lasts until this object is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rule::revocation::time())]
    pub expires_at: Option<Time>,
    /// What those who are locked are told, such as INC-123, ask #security-oncall. It is printed where a
    /// token is refused, so write no secret into it. One line of at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = rule::one_line())]
    pub message: Option<String>,
    /// How many seconds after it has expired this object is deleted, from 0 to 31536000, which is 365
    /// days. Without it the object is kept until somebody deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_expired: Option<i32>,
}

/// What a revocation does.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[schemars(inline)]
pub enum RevocationEffect {
    /// What was issued is refused.
    Revoke,
    /// Besides, nothing new is issued.
    Lock,
}

impl RevocationEffect {
    /// The word in the resource.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoke => "Revoke",
            Self::Lock => "Lock",
        }
    }
}

/// What became of the revocation. A report: tokens are refused by the spec alone, never by the status.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationStatus {
    /// The metadata.generation that this status speaks of; an older number than metadata.generation
    /// means that this object has not been looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The metadata.resourceVersion under which Hallpass first saw this object. A replica that has seen
    /// this version or a later one refuses the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]{1,20}$"))]
    pub epoch: Option<String>,
    /// The revocation as a whole. Enforced is True when the tokens are refused. Where it is False, its
    /// message says what to do: Pending, some replica has not seen it yet; TooMany, there are more
    /// revocations than are kept, and this one does not count; Invalid, this one cannot be read;
    /// OutsideGuard, some of the tokens are checked where Hallpass is not asked. Expired is True when
    /// there is nothing left to refuse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl RevocationStatus {
    /// What the conditions say.
    #[must_use]
    pub fn reported(&self) -> Reported {
        let of = |name: &str| self.conditions.iter().find(|c| c.type_ == name);
        if of("Expired").is_some_and(|condition| condition.status == "True") {
            return Reported::Expired;
        }
        match of("Enforced").map(|condition| &*condition.reason) {
            Some("Enforced") => Reported::Enforced,
            Some("OutsideGuard") => Reported::OutsideGuard,
            Some("Pending") => Reported::Pending,
            Some("TooMany") => Reported::TooMany,
            Some("Invalid") => Reported::Invalid,
            Some(_) | None => Reported::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        cluster_token_revocation::ClusterTokenRevocationSpec, token_revocation::TokenRevocationSpec,
    };

    fn lock(target: Value) -> Value {
        json!({
            "target": target,
            "effect": "Lock",
            "issuedBefore": "2026-11-25T01:42:00Z",
            "expiresAt": "2026-11-25T08:00:00Z",
            "message": "INC-123",
            "ttlSecondsAfterExpired": 3600,
        })
    }

    #[test]
    fn the_terms_stand_beside_the_target() {
        let terms = RevocationTerms {
            effect: Some(RevocationEffect::Lock),
            issued_before: Some(Time("2026-11-25T01:42:00Z".parse().unwrap())),
            expires_at: Some(Time("2026-11-25T08:00:00Z".parse().unwrap())),
            message: Some("INC-123".into()),
            ttl_seconds_after_expired: Some(3600),
        };
        let stored = lock(json!({"serviceAccount": "orders"}));
        let spec: TokenRevocationSpec = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(spec.target.service_account.as_deref(), Some("orders"));
        assert_eq!(spec.terms, terms);
        assert_eq!(serde_json::to_value(&spec).unwrap(), stored);

        let stored = lock(json!({"audience": "https://payments.payments.svc"}));
        let spec: ClusterTokenRevocationSpec = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(spec.terms, terms);
        assert_eq!(serde_json::to_value(&spec).unwrap(), stored);
    }

    #[test]
    fn what_is_left_out_stays_out() {
        let stored = json!({"target": {"tokenID": "a"}});
        let spec: TokenRevocationSpec = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(spec.terms, RevocationTerms::default());
        assert_eq!(serde_json::to_value(&spec).unwrap(), stored);
    }

    #[test]
    fn an_effect_is_written_as_it_is_read() {
        for effect in [RevocationEffect::Revoke, RevocationEffect::Lock] {
            assert_eq!(serde_json::to_value(effect).unwrap(), effect.as_str());
        }
    }
}
