//! What the status of a policy should say: a function of what is known.

use std::collections::BTreeSet;

use hallpass_core::{
    audience::AudienceId,
    decide::{Rules, Standing, Standings},
    denial::{Code, Denial},
    labels::PodLabels,
    name::{Namespace, ServiceAccount, TokenName},
    policy::{Policy, PolicyId, PolicyToken, Wanted},
    scope::ScopeSet,
};
use hallpass_crds::token_policy::{PolicyTokenStatus, TokenPolicyStatus, TokenReady};
use jiff::Timestamp;

use super::rights::Right;
use crate::{
    controller::status::{LONGEST_MESSAGE, READY, Verdict, number, shortened},
    index::{PodRecord, Record, Unusable},
};

/// What is known about the namespace of a policy.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) rules: &'a Rules,
    /// What comes of its policies on its live pods.
    pub(super) standings: Standings<'a>,
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
    record: &Record<Policy, TokenPolicyStatus>,
    view: &View<'_>,
    now: Timestamp,
    old: Option<&TokenPolicyStatus>,
) -> TokenPolicyStatus {
    let (pods, verdicts, summary) = match &record.spec {
        Ok(policy) => {
            let standing = view.standings.of(&policy.id);
            let verdicts = verdicts(policy, view, standing);
            let summary = summary(&verdicts);
            (
                standing.map_or(0, |standing| standing.pods),
                verdicts,
                summary,
            )
        }
        Err(unusable) => {
            let verdict = Verdict::refused(Code::Invalid, unusable.to_string());
            (0, named(unusable, &verdict), verdict)
        }
    };
    let ready = verdicts.iter().filter(|(_, v)| v.ready == TokenReady::True);
    TokenPolicyStatus {
        observed_generation: record.generation,
        pods: Some(number(pods)),
        tokens_ready: Some(format!("{}/{}", ready.count(), verdicts.len())),
        tokens: verdicts.into_iter().map(token_status).collect(),
        conditions: vec![summary.condition(record.generation, now, old)],
    }
}

/// What a policy selects the pod by.
pub(super) fn selected_by(pod: &PodRecord) -> (&str, &PodLabels) {
    let service_account = pod.details.service_account.as_deref();
    (service_account.unwrap_or(DEFAULT), &pod.details.labels)
}

impl View<'_> {
    fn missing<'p>(&self, policy: &'p Policy) -> BTreeSet<&'p str> {
        let subjects = policy.subjects.iter().map(|s| s.service_account.as_str());
        subjects
            .filter(|name| !self.service_accounts.contains(*name))
            .collect()
    }
}

fn verdicts<'p>(
    policy: &'p Policy,
    view: &View<'_>,
    standing: Option<&Standing<'_>>,
) -> Vec<(&'p TokenName, Verdict)> {
    let missing = view.missing(policy);
    let verdict = |token: &PolicyToken| {
        let taken = standing.and_then(|standing| standing.taken.get(&token.name).copied());
        judge(policy, token, view, &missing, taken)
    };
    let tokens = policy.tokens.iter();
    tokens.map(|token| (&token.name, verdict(token))).collect()
}

/// The first that stands in the way: what no grant of rights could mend comes before the right.
fn judge(
    policy: &Policy,
    token: &PolicyToken,
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
    let verdict = match &token.wanted {
        Wanted::ServiceAccountToken { .. } => may_mint(view),
        Wanted::AudienceToken {
            audience, scopes, ..
        } => consented(policy, view, missing, audience, scopes),
    };
    if verdict.reason == READY && !missing.is_empty() {
        let message = format!("{}, but {}", verdict.message, absent(missing, view));
        return Verdict { message, ..verdict };
    }
    verdict
}

/// What the owner of the audience says about the subjects that exist. One that is refused beside one that
/// is not leaves the token ready, and is named.
fn consented(
    policy: &Policy,
    view: &View<'_>,
    missing: &BTreeSet<&str>,
    audience: &AudienceId,
    scopes: &ScopeSet,
) -> Verdict {
    let accounts: BTreeSet<&ServiceAccount> =
        policy.subjects.iter().map(|s| &s.service_account).collect();
    let there = accounts.iter().filter(|a| !missing.contains(a.as_str()));
    let mut first: Option<Denial> = None;
    let mut consents = 0;
    for account in there {
        let audiences = &view.rules.audiences;
        match audiences.consent(view.namespace, account, audience, scopes) {
            Ok(consent) => {
                consents += 1;
                first = first.or(consent.withheld);
            }
            Err(denial) => drop(first.get_or_insert(denial)),
        }
    }
    match first {
        None => Verdict::ready(CAN_BE_ISSUED),
        Some(denial) if consents == 0 => Verdict::refused(denial.code, denial.detail),
        Some(denial) => Verdict {
            ready: TokenReady::True,
            reason: denial.code.as_str(),
            message: format!("can be issued in part: {}", denial.detail),
        },
    }
}

/// Whether Hallpass may have service-account tokens minted there.
fn may_mint(view: &View<'_>) -> Verdict {
    match view.right {
        Right::Granted => Verdict::ready(CAN_BE_ISSUED),
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
    let partly = verdicts.iter().find(|(_, v)| v.reason != READY);
    match (refused.or(partly), verdicts.first()) {
        (Some((_, verdict)), _) => verdict.clone(),
        // What is the same for all of them, such as a missing service account, is said once.
        (None, first) => {
            let said = first.map(|(_, v)| format!("every token {}", v.message));
            Verdict::ready(said.unwrap_or_default())
        }
    }
}

/// The service account of a pod that names none.
const DEFAULT: &str = "default";

/// What is said of a token with nothing in its way.
const CAN_BE_ISSUED: &str = "can be issued";

/// What the schema of the status bounds.
const MOST_TOKENS: usize = 32;

#[cfg(test)]
mod tests;
