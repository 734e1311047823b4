//! The decision: may this pod hold that token?
//!
//! [`decide`] is the only maker of a [`Grant`], and a token is made from nothing but a grant.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    denial::{Code, Denial},
    lifetime::Lifetime,
    name::{Audience, Namespace, PodName, ServiceAccount, TokenName, Uid},
    policy::{Policy, PolicyId, PolicyToken},
};

/// Who asks: a pod under its service account, as attested. Identity is the uids; names are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The namespace of both.
    pub namespace: Namespace,
    /// The service account that the pod runs under.
    pub service_account: ServiceAccount,
    /// Its uid.
    pub service_account_uid: Uid,
    /// The pod.
    pub pod: PodName,
    /// Its uid.
    pub pod_uid: Uid,
    /// The labels that the pod has now.
    pub labels: BTreeMap<String, String>,
}

/// Every valid policy of the cluster. Within a namespace the older come first.
#[derive(Debug, Clone, Default)]
pub struct PolicySet(BTreeMap<Namespace, Vec<Arc<Policy>>>);

impl PolicySet {
    /// The policies of that namespace, the older first.
    #[must_use]
    pub fn of(&self, namespace: &str) -> &[Arc<Policy>] {
        self.0.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// The policies that select the subject, the older first.
    fn selecting<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.of(subject.namespace.as_str())
            .iter()
            .filter(|p| p.selects(subject.service_account.as_str(), &subject.labels))
    }

    /// What the subject may hold: of two policies that claim one name, the older one's token.
    fn held<'a>(
        &'a self,
        subject: &'a Subject,
    ) -> BTreeMap<&'a TokenName, (&'a Policy, &'a PolicyToken)> {
        let mut held = BTreeMap::new();
        for policy in self.selecting(subject) {
            for token in &policy.tokens {
                held.entry(&token.name).or_insert((&**policy, token));
            }
        }
        held
    }
}

impl FromIterator<Arc<Policy>> for PolicySet {
    fn from_iter<I: IntoIterator<Item = Arc<Policy>>>(policies: I) -> Self {
        let mut by_namespace: BTreeMap<Namespace, Vec<Arc<Policy>>> = BTreeMap::new();
        for policy in policies {
            by_namespace
                .entry(policy.id.namespace.clone())
                .or_default()
                .push(policy);
        }
        for policies in by_namespace.values_mut() {
            policies.sort_by(|a, b| a.seniority.cmp(&b.seniority));
        }
        Self(by_namespace)
    }
}

/// The right to one token, for one pod, until it is used: what a policy gave when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    subject: Arc<Subject>,
    token: TokenName,
    audience: Audience,
    lifetime: Lifetime,
    policy: PolicyId,
}

impl Grant {
    /// Who may hold it.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The token's name.
    #[must_use]
    pub const fn token(&self) -> &TokenName {
        &self.token
    }

    /// Its one audience.
    #[must_use]
    pub const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// How long it lives.
    #[must_use]
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The policy that gave it.
    #[must_use]
    pub const fn policy(&self) -> &PolicyId {
        &self.policy
    }
}

/// Decides whether the subject may hold the token of that name.
///
/// # Errors
/// [`Code::NoPolicy`], naming what is missing and the tokens that this pod may have. Nothing of
/// another namespace is named, nor a policy that does not select the subject.
pub fn decide(
    policies: &PolicySet,
    subject: &Arc<Subject>,
    name: &TokenName,
) -> Result<Grant, Denial> {
    let held = policies.held(subject);
    match held.get(name) {
        Some((policy, token)) => Ok(Grant {
            subject: Arc::clone(subject),
            token: token.name.clone(),
            audience: token.audience.clone(),
            lifetime: token.lifetime,
            policy: policy.id.clone(),
        }),
        None => Err(Denial {
            code: Code::NoPolicy,
            detail: missing(subject, Some(name), held.keys().copied()),
        }),
    }
}

/// Every token that the subject may hold, by name.
#[must_use]
pub fn assigned<'a>(policies: &'a PolicySet, subject: &'a Subject) -> Vec<&'a PolicyToken> {
    policies
        .held(subject)
        .into_values()
        .map(|(_, token)| token)
        .collect()
}

/// The denial of a subject that no policy selects.
#[must_use]
pub fn unselected(subject: &Subject) -> Denial {
    Denial {
        code: Code::NoPolicy,
        detail: missing(subject, None, std::iter::empty()),
    }
}

fn missing<'a>(
    subject: &Subject,
    name: Option<&TokenName>,
    held: impl Iterator<Item = &'a TokenName>,
) -> String {
    let Subject {
        namespace,
        service_account,
        pod,
        ..
    } = subject;
    let token = name.map_or_else(
        || "a token".to_owned(),
        |name| format!("the token \"{name}\""),
    );
    let held: Vec<&str> = held.map(TokenName::as_str).collect();
    let has = if held.is_empty() {
        format!(
            "no policy there selects service account \"{service_account}\" with the labels of this pod"
        )
    } else {
        format!("this pod may have: {}", held.join(", "))
    };
    format!("no TokenPolicy in namespace \"{namespace}\" gives pod \"{pod}\" {token}; {has}")
}

/// The tokens of `policy` whose name an older policy of its namespace gives to one of the same pods,
/// with that older policy. `pods` are the live pods of the namespace: service account and labels.
#[must_use]
pub fn taken_names<'a>(
    policies: &'a PolicySet,
    policy: &'a Policy,
    pods: &[(&str, &BTreeMap<String, String>)],
) -> BTreeMap<&'a TokenName, &'a PolicyId> {
    let older: Vec<&Arc<Policy>> = policies
        .of(policy.id.namespace.as_str())
        .iter()
        .take_while(|p| p.seniority < policy.seniority)
        .collect();
    let mut taken = BTreeMap::new();
    for (service_account, labels) in pods {
        if !policy.selects(service_account, labels) {
            continue;
        }
        for older in older.iter().filter(|p| p.selects(service_account, labels)) {
            let names: BTreeSet<&TokenName> = older.tokens.iter().map(|t| &t.name).collect();
            for token in policy.tokens.iter().filter(|t| names.contains(&t.name)) {
                taken.entry(&token.name).or_insert(&older.id);
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests;
