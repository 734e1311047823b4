//! What is said of pods without the sidecar: functions of what was found.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use hallpass_core::{labels::PodLabels, name::ServiceAccount, policy::Policy};
use hallpass_crds::token_policy::TokenReady;
use k8s_openapi::api::core::v1::ObjectReference;

use super::{evict::choice::Choice, pod::Lacking, target::Target};
use crate::{controller::status::Verdict, telemetry::label::Uninjected};

/// So many pods, and the first of them by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) count: usize,
    names: Vec<String>,
    workloads: Vec<String>,
    /// Whether a label asks for the sidecar on every one of them, so that it is enough to make them anew.
    unasked: bool,
}

/// Pods of one owner.
#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub(super) owner: ObjectReference,
    pub(super) reason: Uninjected,
    pub(super) pods: Tally,
}

/// The owners of pods, by namespace and uid: who makes a pod says whose it is, and is believed of no other namespace.
#[derive(Debug, Default)]
pub(super) struct Owners {
    all: BTreeMap<String, Owned>,
    most: usize,
}

/// What was found in one namespace.
#[derive(Debug)]
pub(super) struct Gaps {
    target: Target,
    /// Which policies name an account.
    naming: BTreeMap<ServiceAccount, Vec<usize>>,
    /// The last of those accounts that was taken up.
    last: Option<ServiceAccount>,
    /// What each of the policies selects.
    selected: Vec<Tally>,
    /// Pods of which the label of the namespace alone asks for it.
    pub(super) by_namespace: usize,
    /// Pods that a policy selects and no label asks for.
    pub(super) by_policy: usize,
    /// Whether there is any pod without the sidecar.
    pub(super) any: bool,
    pub(super) owners: Owners,
    /// Which of them is evicted, where that is asked for.
    pub(super) choice: Choice,
}

impl Tally {
    fn add(&mut self, pod: &Lacking, asked: bool) {
        self.count += 1;
        self.unasked |= !asked;
        if self.names.len() < MOST_NAMES {
            self.names.push(pod.name.clone());
        }
        if let Some(workload) = pod.workload()
            && self.workloads.len() < MOST_NAMES
            && !self.workloads.contains(&workload)
        {
            self.workloads.push(workload);
        }
    }

    /// What is said of a policy that selects them.
    pub(super) fn verdict(&self, namespace: &str) -> Verdict {
        match self.count {
            0 => Verdict {
                ready: TokenReady::True,
                reason: ALL,
                message:
                    "every running pod that this policy selects has the sidecar, or wants none"
                        .to_owned(),
            },
            count => {
                let pods_are = if count == 1 { "pod" } else { "pods" };
                lacking(format!(
                    "{count} {pods_are} that this policy selects run without the sidecar: {}. {}",
                    self.named(),
                    self.remedy(namespace)
                ))
            }
        }
    }

    /// The first of them, and how many more.
    fn named(&self) -> String {
        let mut text = self.names.join(", ");
        if self.count > self.names.len() {
            text += &format!(" and {} more", self.count - self.names.len());
        }
        text
    }

    /// What to do about them.
    fn remedy(&self, namespace: &str) -> String {
        let anew = if self.workloads.is_empty() {
            "create them anew".to_owned()
        } else {
            let workloads = self.workloads.join(" ");
            format!("restart them: kubectl -n {namespace} rollout restart {workloads}")
        };
        if self.unasked {
            format!(
                "A pod gets it when it is created: label the pod template, or namespace \"{namespace}\", hallpass.dev/inject: \"true\", and {anew}"
            )
        } else {
            format!("A pod gets it when it is created: {anew}")
        }
    }
}

impl Owners {
    /// So many of them at most; what comes then is counted and not told.
    pub(super) const fn at_most(most: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            most,
        }
    }

    pub(super) fn add(&mut self, pod: &Lacking, reason: Uninjected) {
        let owner = pod.responsible();
        let uid = owner.uid.as_deref().unwrap_or_default();
        let key = format!("{}/{uid}", pod.namespace);
        if self.all.len() == self.most && !self.all.contains_key(&key) {
            return;
        }
        let owned = self.all.entry(key).or_insert_with(|| Owned {
            owner,
            reason,
            pods: Tally::default(),
        });
        owned.pods.add(pod, reason != Uninjected::Policy);
    }

    pub(super) fn into_all(self) -> BTreeMap<String, Owned> {
        self.all
    }
}

impl Owned {
    /// What is said of the owner.
    pub(super) fn verdict(&self, namespace: &str) -> Verdict {
        lacking(format!(
            "pods run without the Hallpass sidecar {}: {}. {}",
            why(self.reason),
            self.pods.named(),
            self.pods.remedy(namespace)
        ))
    }
}

const fn why(reason: Uninjected) -> &'static str {
    match reason {
        Uninjected::PodLabel => "although they are labelled hallpass.dev/inject: \"true\"",
        Uninjected::NamespaceLabel => {
            "although their namespace is labelled hallpass.dev/inject: \"true\""
        }
        Uninjected::Policy => "although a TokenPolicy selects them",
    }
}

/// What is said of the owner of that pod once it was evicted.
pub(super) fn evicted(reason: Uninjected, pod: &str) -> Verdict {
    lacking(format!(
        "pods run without the Hallpass sidecar {}: {pod} was evicted, so that another one with it takes its place",
        why(reason)
    ))
}

/// What is said of the owner of the pod after which none is evicted any more.
pub(super) fn stopped(why: &str, anywhere: bool) -> Verdict {
    let place = if anywhere {
        "the cluster"
    } else {
        "the namespace"
    };
    lacking(format!(
        "{why}, so that no more pods of {place} are evicted until another replica of Hallpass leads"
    ))
}

impl Gaps {
    pub(super) fn new(target: Target) -> Self {
        let mut naming: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, policy) in target.policies.iter().enumerate() {
            for subject in &policy.subjects {
                let of = naming.entry(subject.service_account.clone()).or_default();
                if of.last() != Some(&index) {
                    of.push(index);
                }
            }
        }
        Self {
            selected: vec![Tally::default(); target.policies.len()],
            target,
            naming,
            last: None,
            by_namespace: 0,
            by_policy: 0,
            any: false,
            owners: Owners::at_most(MOST_OWNERS),
            choice: Choice::default(),
        }
    }

    /// Whether this is what is looked for now.
    pub(super) fn is_for(&self, target: &Target) -> bool {
        self.target == *target
    }

    /// So many of the service accounts that policies name, after those that this returned before: each comes
    /// once.
    pub(super) fn next_accounts(&mut self, most: usize) -> Vec<ServiceAccount> {
        let accounts: Vec<_> = self.rest().take(most).cloned().collect();
        if let Some(last) = accounts.last() {
            self.last = Some(last.clone());
        }
        accounts
    }

    /// Whether there are accounts to look at still. Where no pod lacks the sidecar, none needs to be.
    pub(super) fn has_more(&self) -> bool {
        self.any && self.rest().next().is_some()
    }

    fn rest(&self) -> impl Iterator<Item = &ServiceAccount> {
        let after = self.last.as_ref().map_or(Unbounded, Excluded);
        let rest = self.naming.range::<ServiceAccount, _>((after, Unbounded));
        rest.map(|(account, _)| account)
    }

    /// A pod of the namespace, whose label asks for the sidecar.
    pub(super) fn in_labelled(&mut self, pod: &Lacking) {
        self.any = true;
        // What asks for it by its own label is found in the whole cluster.
        if pod.counts() && !pod.asks() {
            self.by_namespace += 1;
            self.owners.add(pod, Uninjected::NamespaceLabel);
            self.choice.offer(pod, Uninjected::NamespaceLabel);
        }
    }

    /// A pod under that service account.
    pub(super) fn under(&mut self, account: &ServiceAccount, pod: &Lacking) {
        if !pod.counts() {
            return;
        }
        let asked = self.target.labelled || pod.asks();
        let mut any = false;
        let labels: PodLabels = pod.labels.iter().collect();
        for index in self.naming.get(account).into_iter().flatten() {
            if self.target.policies[*index].selects(account.as_str(), &labels) {
                self.selected[*index].add(pod, asked);
                any = true;
            }
        }
        if any && !asked {
            self.by_policy += 1;
            self.owners.add(pod, Uninjected::Policy);
            self.choice.offer(pod, Uninjected::Policy);
        }
    }

    /// The policies that were looked for, each with the pods that lack the sidecar of those that it selects.
    pub(super) fn found(&self) -> impl Iterator<Item = (&Policy, &Tally)> {
        let policies = self.target.policies.iter().map(|policy| &**policy);
        policies.zip(&self.selected)
    }
}

const fn lacking(message: String) -> Verdict {
    Verdict {
        ready: TokenReady::False,
        reason: LACKING,
        message,
    }
}

/// The type of the condition.
pub(super) const CONDITION: &str = "Injected";

/// Its reasons.
const ALL: &str = "AllInjected";
const LACKING: &str = "PodsWithoutSidecar";

/// So many pods and workloads are named.
const MOST_NAMES: usize = 3;

/// Owners of one namespace that are told: there are not more events of one.
const MOST_OWNERS: usize = 50;

#[cfg(test)]
mod tests;
