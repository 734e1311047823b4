//! The tokens of a target that Hallpass is never asked about: service-account tokens.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use hallpass_core::{
    decide::PolicySet,
    name::Namespace,
    policy::{Policy, PolicyId, Wanted},
    revocation::Target,
};

use crate::index::Snapshot;

/// The policies that give service-account tokens, by what names them. Made once for all revocations of a
/// round: what is asked of it does not grow with the number of policies.
#[derive(Debug, Default)]
pub(super) struct Outside<'a> {
    by_namespace: HashMap<&'a str, Within<'a>>,
    by_audience: HashMap<&'a str, Vec<&'a Policy>>,
}

/// Those of one namespace.
#[derive(Debug, Default)]
struct Within<'a> {
    all: Vec<&'a Policy>,
    by_name: HashMap<&'a str, Vec<&'a Policy>>,
    by_account: HashMap<&'a str, Vec<&'a Policy>>,
}

impl<'a> Outside<'a> {
    /// Those of these namespaces.
    pub(super) fn new(policies: &'a PolicySet, namespaces: &BTreeSet<Namespace>) -> Self {
        let mut outside = Self::default();
        for namespace in namespaces {
            for policy in policies.of(namespace.as_str()) {
                outside.add(policy);
            }
        }
        outside
    }

    fn add(&mut self, policy: &'a Policy) {
        let mut gives = false;
        for token in &policy.tokens {
            if let Wanted::ServiceAccountToken { audience, .. } = &token.wanted {
                let of = self.by_audience.entry(audience.as_str()).or_default();
                of.push(policy);
                gives = true;
            }
        }
        if !gives {
            return;
        }
        let namespace = policy.id.namespace.as_str();
        let within = self.by_namespace.entry(namespace).or_default();
        within.all.push(policy);
        let name = policy.id.name.as_str();
        within.by_name.entry(name).or_default().push(policy);
        let accounts = policy.subjects.iter();
        let accounts: BTreeSet<&str> = accounts.map(|s| s.service_account.as_str()).collect();
        for account in accounts {
            within.by_account.entry(account).or_default().push(policy);
        }
    }

    /// Those that give such tokens to what is named. The pod is looked up in `snapshot`.
    pub(super) fn of<'o>(
        &'o self,
        target: &Target<'_>,
        snapshot: &Snapshot,
    ) -> Cow<'o, [&'a Policy]> {
        let within = |namespace: &str| self.by_namespace.get(namespace);
        let found = match target {
            Target::Namespace(namespace) => within(namespace).map(|within| &within.all),
            Target::Policy(namespace, name) => {
                within(namespace).and_then(|within| within.by_name.get(&**name))
            }
            Target::ServiceAccount(namespace, account) => {
                within(namespace).and_then(|within| within.by_account.get(&**account))
            }
            Target::Pod(namespace, name) => {
                return self.of_pod(namespace, name, snapshot).into();
            }
            Target::Audience(audience) => self.by_audience.get(&**audience),
            Target::Issuer(_) | Target::Key(_) | Target::Token(..) => None,
        };
        found.map_or(&[][..], Vec::as_slice).into()
    }

    fn of_pod(&self, namespace: &str, name: &str, snapshot: &Snapshot) -> Vec<&'a Policy> {
        let Some(within) = self.by_namespace.get(namespace) else {
            return Vec::new();
        };
        let Some(pod) = snapshot.pod(namespace, name) else {
            return Vec::new();
        };
        let account = pod.details.service_account.as_deref().unwrap_or(DEFAULT);
        let policies = within.by_account.get(account).into_iter().flatten();
        let policies = policies.copied();
        let selecting = policies.filter(|policy| policy.selects(account, &pod.details.labels));
        selecting.collect()
    }
}

/// The names of some of them, and how many more there are.
pub(super) fn names(policies: &[&Policy]) -> String {
    let ids: BTreeSet<&PolicyId> = policies.iter().map(|policy| &policy.id).collect();
    let shown: Vec<String> = ids.iter().take(SHOWN).map(ToString::to_string).collect();
    let shown = shown.join(", ");
    match ids.len().saturating_sub(SHOWN) {
        0 if ids.len() == 1 => format!("TokenPolicy {shown} also gives"),
        0 => format!("TokenPolicies {shown} also give"),
        more => format!("TokenPolicies {shown} and {more} more also give"),
    }
}

/// The command that deletes the pods that hold such tokens, for some of them.
pub(super) fn command(target: &Target<'_>, policies: &[&Policy]) -> String {
    match target {
        Target::Pod(namespace, name) => format!("kubectl -n {namespace} delete pod {name}"),
        Target::ServiceAccount(namespace, account) => pods(namespace, OURS, account),
        Target::Namespace(namespace) => format!("kubectl -n {namespace} delete pod -l {OURS}"),
        _ => {
            let commands: BTreeSet<String> = policies.iter().flat_map(|p| selected(p)).collect();
            let more = commands.len().saturating_sub(SHOWN);
            let shown: Vec<String> = commands.into_iter().take(SHOWN).collect();
            let shown = shown.join("; ");
            match more {
                0 => shown,
                _ => format!("{shown}; and {more} more like these"),
            }
        }
    }
}

/// The commands for the pods that a policy selects.
fn selected(policy: &Policy) -> impl Iterator<Item = String> {
    policy.subjects.iter().map(|subject| {
        let labels = subject.match_labels.iter();
        let labels = labels.map(|(key, value)| format!(",{key}={value}"));
        let labels = format!("{OURS}{}", labels.collect::<String>());
        pods(
            policy.id.namespace.as_str(),
            &labels,
            subject.service_account.as_str(),
        )
    })
}

fn pods(namespace: &str, labels: &str, account: &str) -> String {
    format!(
        "kubectl -n {namespace} delete pod -l {labels} --field-selector spec.serviceAccountName={account}"
    )
}

/// How many policies, or commands, one message has.
const SHOWN: usize = 3;

/// The label of every pod that holds tokens.
const OURS: &str = "hallpass.dev/injected=true";

/// The service account of a pod that names none.
const DEFAULT: &str = "default";
