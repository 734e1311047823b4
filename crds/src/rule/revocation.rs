//! The rules of a `TokenRevocation` and of a `ClusterTokenRevocation`.
//!
//! What is wrong with the target is said first: the rules about what goes with a target are silent
//! where it is none.

use kube::core::{Message, Reason, Rule};

/// `kind` is that of the revocation.
pub(crate) fn immutable(kind: &str) -> Rule {
    Rule::new("self == oldSelf")
        .reason(Reason::FieldValueForbidden)
        .message(Message::Message(format!(
            "cannot be changed, so that what is refused stays refused: write a second {kind}, wait until it is Enforced, then delete this one"
        )))
}

pub(crate) fn one_target() -> Rule {
    Rule::new(one_of("self", &OF_A_NAMESPACE)).message(
        "write exactly one of pod, serviceAccount, policy and tokenID: for more than one thing, write a TokenRevocation for each",
    )
}

/// Beside a namespace that is one of the others, or that is all there is.
pub(crate) fn one_target_of_the_cluster() -> Rule {
    let others = one_of("self", &OF_THE_CLUSTER);
    let any = one_of("self", &[&["__namespace__"], &OF_THE_CLUSTER[..]].concat());
    Rule::new(format!("{others} || {any}")).message(
        "write exactly one of pod, serviceAccount, policy, tokenID, audience, key and issuer, or namespace alone to mean all of it: for more than one thing, write a ClusterTokenRevocation for each",
    )
}

pub(crate) fn some_namespace() -> Rule {
    let one = one_of("self", &OF_THE_CLUSTER);
    Rule::new(format!(
        "!{one} || has(self.__namespace__) || !(has(self.pod) || has(self.serviceAccount) || has(self.policy))"
    ))
    .reason(Reason::FieldValueRequired)
    .field_path(".namespace")
    .message("name the namespace that the pod, serviceAccount or policy is in")
}

pub(crate) fn no_namespace() -> Rule {
    let one = one_of("self", &OF_THE_CLUSTER);
    Rule::new(format!(
        "!{one} || !has(self.__namespace__) || has(self.pod) || has(self.serviceAccount) || has(self.policy)"
    ))
    .reason(Reason::FieldValueForbidden)
    .field_path(".namespace")
    .message("leave namespace out: a tokenID, audience, key or issuer is meant wherever in the cluster its tokens are")
}

pub(crate) fn no_lock_of_a_token() -> Rule {
    no_lock(&OF_A_NAMESPACE, &["tokenID"]).message(
        "leave effect out, or write Revoke: no new token can come of a tokenID, so there is nothing to lock; to keep its holder from getting another one, lock the pod or the serviceAccount",
    )
}

pub(crate) fn no_lock_of_a_token_or_key() -> Rule {
    no_lock(&OF_THE_CLUSTER, &["tokenID", "key"]).message(
        "leave effect out, or write Revoke: no new token can come of a tokenID or key that is revoked, so there is nothing to lock; to keep somebody from getting another token, lock the pod, the serviceAccount or the issuer",
    )
}

pub(crate) fn whole_token() -> Rule {
    whole(&OF_A_NAMESPACE, &["tokenID"])
        .message("leave issuedBefore out: the token of a tokenID is refused whenever it was issued")
}

pub(crate) fn whole_token_or_key() -> Rule {
    whole(&OF_THE_CLUSTER, &["tokenID", "key"]).message(
        "leave issuedBefore out: the tokens of a tokenID or key are refused whenever they were issued",
    )
}

pub(crate) fn only_a_lock_ends() -> Rule {
    Rule::new("!has(self.expiresAt) || (has(self.effect) && self.effect == 'Lock')")
        .reason(Reason::FieldValueForbidden)
        .field_path(".expiresAt")
        .message(
            "leave expiresAt out, or write effect: Lock: only a lock has an end; without one, what was issued is refused until it has expired by itself",
        )
}

pub(crate) fn token_id() -> Rule {
    Rule::new(WORD).message(
        "must be the jti of one token, never the token itself: 1 to 64 printable ASCII characters without spaces",
    )
}

pub(crate) fn key_id() -> Rule {
    Rule::new(WORD).message(
        "must be the kid of one key, as the status of its TokenIssuer names it: 1 to 128 printable ASCII characters without spaces",
    )
}

pub(crate) fn some_audience() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("write the aud of the tokens, such as https://payments.payments.svc")
}

/// Every time that passes can be read: the format alone lets pass what is none (an offset of +25:99), which
/// this cannot evaluate, and the end of the year 9999, which is beyond what we reckon with.
pub(crate) fn time() -> Rule {
    Rule::new("self < timestamp('9999-01-01T00:00:00Z')")
        .message("must be a time before the year 9999, such as 2026-11-25T08:00:00Z")
}

/// A CEL expression: whether the object `at` has exactly one of the fields.
fn one_of(at: &str, fields: &[&str]) -> String {
    let there = has(at, fields).join(", ");
    format!("[{there}].exists_one(there, there)")
}

/// One of `targets` is meant, it is none of `fixed`, or it is not locked.
fn no_lock(targets: &[&str], fixed: &[&str]) -> Rule {
    let (one, fixed) = (
        one_of("self.target", targets),
        has("self.target", fixed).join(" || "),
    );
    Rule::new(format!(
        "!{one} || !({fixed}) || !has(self.effect) || self.effect != 'Lock'"
    ))
    .reason(Reason::FieldValueForbidden)
    .field_path(".effect")
}

/// The same about what was issued before some time.
fn whole(targets: &[&str], fixed: &[&str]) -> Rule {
    let (one, fixed) = (
        one_of("self.target", targets),
        has("self.target", fixed).join(" || "),
    );
    Rule::new(format!("!{one} || !({fixed}) || !has(self.issuedBefore)"))
        .reason(Reason::FieldValueForbidden)
        .field_path(".issuedBefore")
}

fn has(at: &str, fields: &[&str]) -> Vec<String> {
    fields.iter().map(|f| format!("has({at}.{f})")).collect()
}

const OF_A_NAMESPACE: [&str; 4] = ["pod", "serviceAccount", "policy", "tokenID"];
const OF_THE_CLUSTER: [&str; 7] = [
    "pod",
    "serviceAccount",
    "policy",
    "tokenID",
    "audience",
    "key",
    "issuer",
];
const WORD: &str = "self.matches('^[!-~]+$')";
