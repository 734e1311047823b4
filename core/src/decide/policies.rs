//! The policies of the cluster, and what a subject may hold by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Subject;
use crate::{
    name::{Namespace, ServiceAccount, TokenName},
    policy::{Policy, PolicyToken},
};

/// Every valid policy of the cluster. Within a namespace the older come first.
#[derive(Debug, Clone, Default)]
pub struct PolicySet(BTreeMap<Namespace, Policies>);

/// The policies of one namespace.
#[derive(Debug, Clone, Default)]
struct Policies {
    all: Vec<Arc<Policy>>,
    /// Each service account that one names, sorted by it, with that policy, so that a decision looks at no others.
    naming: Vec<(ServiceAccount, Arc<Policy>)>,
}

impl Policies {
    fn new(mut all: Vec<Arc<Policy>>) -> Self {
        all.sort_by(|a, b| a.seniority.cmp(&b.seniority));
        let mut naming = Vec::new();
        for policy in &all {
            let accounts: BTreeSet<_> =
                policy.subjects.iter().map(|s| &s.service_account).collect();
            let accounts = accounts.into_iter().cloned();
            naming.extend(accounts.map(|account| (account, Arc::clone(policy))));
        }
        // Stable: those of one account stay in their order.
        naming.sort_by(|(a, _), (b, _)| a.cmp(b));
        naming.shrink_to_fit();
        Self { all, naming }
    }

    /// Those that name that service account, the older first.
    fn naming(&self, account: &str) -> &[(ServiceAccount, Arc<Policy>)] {
        let from = self.naming.partition_point(|(a, _)| a.as_str() < account);
        let rest = &self.naming[from..];
        &rest[..rest.partition_point(|(a, _)| a.as_str() == account)]
    }
}

impl PolicySet {
    /// The policies of that namespace, the older first.
    #[must_use]
    pub fn of(&self, namespace: &str) -> &[Arc<Policy>] {
        self.0.get(namespace).map_or(&[], |policies| &policies.all)
    }

    /// The policies that select the subject, the older first.
    pub(super) fn selecting<'a>(
        &'a self,
        subject: &'a Subject,
    ) -> impl Iterator<Item = &'a Arc<Policy>> {
        let account = subject.service_account.as_str();
        let policies = self.0.get(&subject.namespace);
        let naming = policies.map_or(&[][..], |policies| policies.naming(account));
        naming
            .iter()
            .map(|(_, policy)| policy)
            .filter(move |policy| policy.selects(account, &subject.labels))
    }

    /// What the subject may hold: of two policies that claim one name, the older one's token, and of more
    /// than [`MOST_HELD`] those of the older policies.
    pub(super) fn held<'a>(
        &'a self,
        subject: &'a Subject,
    ) -> BTreeMap<&'a TokenName, (&'a Policy, &'a PolicyToken)> {
        let mut held = BTreeMap::new();
        for policy in self.selecting(subject) {
            for token in &policy.tokens {
                held.entry(&token.name).or_insert((&**policy, &**token));
                if held.len() == MOST_HELD {
                    return held;
                }
            }
        }
        held
    }

    /// Of what the subject may hold that which is wanted, by name.
    pub(super) fn held_of<'a>(
        &'a self,
        subject: &'a Subject,
        wanted: impl Fn(&PolicyToken) -> bool,
    ) -> Vec<(&'a Policy, &'a PolicyToken)> {
        let mut selecting = self.selecting(subject);
        let (Some(one), None) = (selecting.next(), selecting.next()) else {
            let held = self.held(subject).into_values();
            return held.filter(|(_, token)| wanted(token)).collect();
        };
        // Within one policy no name occurs twice, and there is room for all of its tokens.
        let tokens = one.tokens.iter().map(|token| &**token);
        let tokens = tokens.filter(|token| wanted(token));
        let mut tokens: Vec<_> = tokens.map(|token| (&**one, token)).collect();
        tokens.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        tokens
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
        let of = |(namespace, policies)| (namespace, Policies::new(policies));
        Self(by_namespace.into_iter().map(of).collect())
    }
}

/// The most tokens that one pod holds. Policies are written by tenants, and a decision looks at all that
/// select the pod.
const MOST_HELD: usize = 64;
