//! What the status of a policy should say: a function of what is known.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_core::{
    decide::{PolicySet, taken_names},
    denial::Code,
    name::{Namespace, TokenName},
    policy::{Policy, PolicyId},
};
use hallpass_crds::token_policy::{PolicyTokenStatus, TokenPolicyStatus, TokenReady};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::rights::Right;
use crate::index::{PodRecord, PolicyRecord, Unusable};

/// What is known about the namespace of a policy.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) policies: &'a PolicySet,
    /// The live pods.
    pub(super) pods: Vec<PodRecord>,
    /// The names of the service accounts that exist.
    pub(super) service_accounts: BTreeSet<Box<str>>,
    /// Whether Hallpass may mint there.
    pub(super) right: Right,
    /// The command that gives it the right.
    pub(super) grant_command: &'a str,
}

/// The status that the policy should have.
///
/// # Guarantees
/// Where `old` says the same already, the result equals it, whatever the time is.
pub(super) fn desired(
    record: &PolicyRecord,
    view: &View<'_>,
    now: Timestamp,
    old: Option<&TokenPolicyStatus>,
) -> TokenPolicyStatus {
    let (pods, verdicts, summary) = match &record.spec {
        Ok(policy) => {
            let pods = view.pods();
            let selected = pods
                .iter()
                .filter(|(sa, labels)| policy.selects(sa, labels));
            let verdicts = verdicts(policy, view, &pods);
            let summary = summary(&verdicts);
            (selected.count(), verdicts, summary)
        }
        Err(unusable) => {
            let verdict = Verdict::refused(Code::Invalid, unusable.to_string());
            (0, named(unusable, &verdict), verdict)
        }
    };
    let ready = verdicts.iter().filter(|(_, v)| v.ready == TokenReady::True);
    TokenPolicyStatus {
        observed_generation: record.generation,
        pods: Some(i32::try_from(pods).unwrap_or(i32::MAX)),
        tokens_ready: Some(format!("{}/{}", ready.count(), verdicts.len())),
        tokens: verdicts.into_iter().map(token_status).collect(),
        conditions: vec![condition(summary, record.generation, now, old)],
    }
}

/// The condition Ready of a status.
pub(super) fn ready(status: &TokenPolicyStatus) -> Option<&Condition> {
    status.conditions.iter().find(|c| c.type_ == READY)
}

impl View<'_> {
    fn pods(&self) -> Vec<(&str, &BTreeMap<String, String>)> {
        let pods = self.pods.iter();
        pods.map(|pod| {
            let service_account = pod.service_account.as_deref();
            (service_account.unwrap_or(DEFAULT), &pod.labels)
        })
        .collect()
    }

    fn missing<'p>(&self, policy: &'p Policy) -> BTreeSet<&'p str> {
        let subjects = policy.subjects.iter().map(|s| s.service_account.as_str());
        subjects
            .filter(|name| !self.service_accounts.contains(*name))
            .collect()
    }
}

/// What is said about one token, or about the whole policy.
#[derive(Debug, Clone)]
struct Verdict {
    ready: TokenReady,
    reason: &'static str,
    message: String,
}

impl Verdict {
    const fn refused(code: Code, message: String) -> Self {
        Self {
            ready: TokenReady::False,
            reason: code.as_str(),
            message,
        }
    }
}

fn verdicts<'p>(
    policy: &'p Policy,
    view: &View<'_>,
    pods: &[(&str, &BTreeMap<String, String>)],
) -> Vec<(&'p TokenName, Verdict)> {
    let taken = taken_names(view.policies, policy, pods);
    let missing = view.missing(policy);
    let verdict = |name: &TokenName| judge(policy, view, &missing, taken.get(name).copied());
    let names = policy.tokens.iter().map(|t| &t.name);
    names.map(|name| (name, verdict(name))).collect()
}

/// The first that stands in the way: what no grant of rights could mend comes before the right.
fn judge(
    policy: &Policy,
    view: &View<'_>,
    missing: &BTreeSet<&str>,
    taken: Option<&PolicyId>,
) -> Verdict {
    let has_subject = policy
        .subjects
        .iter()
        .any(|s| !missing.contains(s.service_account.as_str()));
    if !has_subject {
        return Verdict::refused(Code::ServiceAccountMissing, absent(missing, view));
    }
    if let Some(older) = taken {
        let message = format!(
            "the older policy \"{}\" gives pods of this policy a token of that name: rename one of the two",
            older.name
        );
        return Verdict::refused(Code::NameTaken, message);
    }
    match view.right {
        Right::Granted => Verdict {
            ready: TokenReady::True,
            reason: READY,
            message: if missing.is_empty() {
                "can be issued".to_owned()
            } else {
                format!("can be issued, but {}", absent(missing, view))
            },
        },
        Right::Withheld => {
            let message = format!(
                "Hallpass may not create tokens in namespace \"{}\"; whoever may grant it: {}",
                view.namespace, view.grant_command
            );
            Verdict::refused(Code::MintForbidden, message)
        }
        Right::Unknown => Verdict {
            ready: TokenReady::Unknown,
            reason: Code::Unavailable.as_str(),
            message: "the API server has not said whether Hallpass may create tokens here"
                .to_owned(),
        },
    }
}

fn absent(missing: &BTreeSet<&str>, view: &View<'_>) -> String {
    let names: Vec<String> = missing.iter().map(|name| format!("\"{name}\"")).collect();
    let (nouns, verb) = if names.len() == 1 {
        ("service account", "does")
    } else {
        ("service accounts", "do")
    };
    let names = names.join(", ");
    format!(
        "the {nouns} {names} {verb} not exist in namespace \"{}\"",
        view.namespace
    )
}

/// The same verdict on every token whose name can be told.
fn named<'u>(unusable: &'u Unusable, verdict: &Verdict) -> Vec<(&'u TokenName, Verdict)> {
    match unusable {
        Unusable::Unreadable(_) => Vec::new(),
        Unusable::Invalid { tokens, .. } => {
            let names = tokens.iter().take(MOST_TOKENS);
            names.map(|name| (name, verdict.clone())).collect()
        }
    }
}

fn token_status((name, verdict): (&TokenName, Verdict)) -> PolicyTokenStatus {
    PolicyTokenStatus {
        name: name.as_str().to_owned(),
        ready: verdict.ready,
        reason: verdict.reason.to_owned(),
        message: shortened(verdict.message, LONGEST_MESSAGE),
    }
}

/// The verdict on the first token that is not ready is the one on the policy.
fn summary(verdicts: &[(&TokenName, Verdict)]) -> Verdict {
    let refused = verdicts.iter().find(|(_, v)| v.ready != TokenReady::True);
    match (refused, verdicts.first()) {
        (Some((_, refused)), _) => refused.clone(),
        // What is the same for all of them, such as a missing service account, is said once.
        (None, first) => Verdict {
            ready: TokenReady::True,
            reason: READY,
            message: first.map_or_else(String::new, |(_, v)| format!("every token {}", v.message)),
        },
    }
}

fn condition(
    verdict: Verdict,
    generation: Option<i64>,
    now: Timestamp,
    old: Option<&TokenPolicyStatus>,
) -> Condition {
    let status = match verdict.ready {
        TokenReady::True => "True",
        TokenReady::False => "False",
        TokenReady::Unknown => "Unknown",
    };
    let since = old
        .and_then(ready)
        .filter(|old| old.status == status)
        .map_or(Time(now), |old| old.last_transition_time.clone());
    Condition {
        type_: READY.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: shortened(verdict.message, LONGEST_MESSAGE),
        observed_generation: generation,
        last_transition_time: since,
    }
}

/// The text, cut at a character's boundary if it has more than `most` bytes.
pub(super) fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
    text
}

/// The type of the summary condition, and the reason when nothing stands in the way.
const READY: &str = "Ready";

/// The service account of a pod that names none.
const DEFAULT: &str = "default";

/// What the schema of the status bounds.
const MOST_TOKENS: usize = 32;
const LONGEST_MESSAGE: usize = 4096;

#[cfg(test)]
mod tests;
