//! Which pods the policies of a namespace select, and which policies claim one token name for one pod.
//!
//! For reports: a decision looks at one pod alone. Tenants make policies and pods by the thousand, so each
//! policy is asked once for all pods that no policy tells apart, and never compared with each of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    labels::PodLabels,
    name::TokenName,
    policy::{Policy, PolicyId},
};

/// The pods of a namespace. Those that no policy tells apart are one group.
#[derive(Debug)]
pub struct PodGroups<'a>(Vec<PodGroup<'a>>);

#[derive(Debug)]
struct PodGroup<'a> {
    service_account: &'a str,
    /// Those of the first of them.
    labels: &'a PodLabels,
    pods: usize,
}

/// The pods that a policy selects.
#[derive(Debug)]
pub struct Reach<'a> {
    policy: &'a Policy,
    pods: usize,
    groups: GroupSet,
}

/// What comes of the policies of a namespace on its pods.
#[derive(Debug, Default)]
pub struct Standings<'a>(BTreeMap<&'a PolicyId, Standing<'a>>);

/// What comes of one of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Standing<'a> {
    /// How many pods the policy selects.
    pub pods: usize,
    /// Its tokens whose name an older policy gives to one of the same pods, with the oldest that gives it to
    /// the first of these pods.
    pub taken: BTreeMap<&'a TokenName, &'a PolicyId>,
}

impl<'a> PodGroups<'a> {
    /// The groups of those pods, each its service account and its labels, in the order of their first pods.
    #[must_use]
    pub fn new(
        policies: &[Arc<Policy>],
        pods: impl IntoIterator<Item = (&'a str, &'a PodLabels)>,
    ) -> Self {
        let subjects = policies.iter().flat_map(|policy| &policy.subjects);
        let wanted = subjects.flat_map(|subject| &subject.match_labels);
        let wanted = wanted.map(|(key, value)| (key.as_str(), value.as_str()));
        let wanted: BTreeSet<(&str, &str)> = wanted.collect();
        let mut groups: Vec<PodGroup<'_>> = Vec::new();
        let mut places = BTreeMap::new();
        for (service_account, labels) in pods {
            // Each pod of a set or of a job has a label of its own, which hardly a policy names.
            let told = labels.iter().filter(|label| wanted.contains(label));
            let told: Vec<_> = told.collect();
            let place = *places
                .entry((service_account, told))
                .or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.pods += 1,
                None => groups.push(PodGroup {
                    service_account,
                    labels,
                    pods: 1,
                }),
            }
        }
        Self(groups)
    }

    /// Those that the policy selects, which is one of those that the groups were made for.
    #[must_use]
    pub fn reach<'p>(&self, policy: &'p Policy) -> Reach<'p> {
        let mut reach = Reach {
            policy,
            pods: 0,
            groups: GroupSet::none(self.0.len()),
        };
        for (place, group) in self.0.iter().enumerate() {
            if policy.selects(group.service_account, group.labels) {
                reach.pods += group.pods;
                reach.groups.add(place);
            }
        }
        reach
    }
}

impl<'a> Standings<'a> {
    /// Compares the policies of a namespace by what they select of the same groups.
    #[must_use]
    pub fn new(mut reaches: Vec<Reach<'a>>) -> Self {
        reaches.sort_by(|a, b| a.policy.seniority.cmp(&b.policy.seniority));
        let mut claiming: BTreeMap<&TokenName, Vec<&Reach<'a>>> = BTreeMap::new();
        for reach in &reaches {
            for token in &reach.policy.tokens {
                claiming.entry(&token.name).or_default().push(reach);
            }
        }
        let standing = |reach: &Reach<'a>| Standing {
            pods: reach.pods,
            taken: BTreeMap::new(),
        };
        let standings = reaches.iter().map(|r| (&r.policy.id, standing(r)));
        let mut standings: BTreeMap<&PolicyId, Standing<'a>> = standings.collect();
        for (name, claiming) in claiming {
            for (younger, older) in conflicts(&claiming) {
                if let Some(standing) = standings.get_mut(younger) {
                    standing.taken.insert(name, older);
                }
            }
        }
        Self(standings)
    }

    /// What comes of that policy.
    #[must_use]
    pub fn of(&self, policy: &PolicyId) -> Option<&Standing<'a>> {
        self.0.get(policy)
    }
}

/// Of those that claim one name, the older first, each that an older one leaves without it, and that one.
fn conflicts<'a>(claiming: &[&Reach<'a>]) -> Vec<(&'a PolicyId, &'a PolicyId)> {
    let mut conflicts = Vec::new();
    let Some((first, rest)) = claiming.split_first() else {
        return conflicts;
    };
    if rest.is_empty() {
        return conflicts;
    }
    let mut given = first.groups.clone();
    for reach in rest {
        if let Some(group) = given.first_of(&reach.groups) {
            let older = claiming.iter().find(|older| older.groups.has(group));
            conflicts.extend(older.map(|older| (&reach.policy.id, &older.policy.id)));
        }
        given.add_all(&reach.groups);
    }
    conflicts
}

/// Some of the groups, a bit for each.
#[derive(Debug, Clone)]
struct GroupSet(Vec<u64>);

impl GroupSet {
    /// None of so many.
    fn none(groups: usize) -> Self {
        Self(vec![0; groups.div_ceil(BITS)])
    }

    fn add(&mut self, group: usize) {
        if let Some(word) = self.0.get_mut(group / BITS) {
            *word |= 1 << (group % BITS);
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    fn has(&self, group: usize) -> bool {
        let word = self.0.get(group / BITS);
        word.is_some_and(|word| word & (1 << (group % BITS)) != 0)
    }

    /// The first that is in both.
    fn first_of(&self, other: &Self) -> Option<usize> {
        let mut both = self.0.iter().zip(&other.0).map(|(a, b)| a & b);
        let place = both.position(|word| word != 0)?;
        let word = self.0.get(place)? & other.0.get(place)?;
        Some(place * BITS + usize::try_from(word.trailing_zeros()).ok()?)
    }
}

const BITS: usize = 64;
