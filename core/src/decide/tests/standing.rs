//! What comes of the policies of a namespace on its pods, and how much of it is looked at.

use super::*;
use crate::{
    labels::PodLabels,
    policy::{PolicyId, asked},
};

/// The service account and the labels of a pod.
type Pod = (String, PodLabels);

fn pod(service_account: &str, labels: &[(&str, &str)]) -> Pod {
    (service_account.into(), labels.iter().copied().collect())
}

fn standings<'a>(policies: &'a [Arc<Policy>], pods: &[Pod]) -> Standings<'a> {
    let pods = pods.iter().map(|(account, labels)| (&**account, labels));
    let groups = PodGroups::new(policies, pods);
    Standings::new(policies.iter().map(|p| groups.reach(p)).collect())
}

/// The names of the policy that are taken, each with the policy that has it.
fn taken(policies: &[Arc<Policy>], pods: &[Pod], policy: &Policy) -> Vec<(String, String)> {
    let standings = standings(policies, pods);
    let taken = standings.of(&policy.id).unwrap().taken.iter();
    taken
        .map(|(name, id)| (name.to_string(), id.name.to_string()))
        .collect()
}

#[test]
fn the_younger_of_two_policies_loses_the_name_where_both_select_a_live_pod() {
    let old = [("vault", "old"), ("queue", "q")];
    let older = policy("shop", "z-older", 1, "orders", &old);
    let new = [("vault", "new"), ("mail", "m")];
    let younger = policy("shop", "a-younger", 2, "orders", &new);
    let policies = [Arc::clone(&younger), Arc::clone(&older)];
    let pods = [pod("orders", &[])];
    let expected = [("vault".to_owned(), "z-older".to_owned())];
    assert_eq!(taken(&policies, &pods, &younger), expected);
    assert_eq!(taken(&policies, &pods, &older), []);
    assert_eq!(taken(&policies, &[], &younger), [], "judged on live pods");
    assert_eq!(taken(&policies, &[pod("other", &[])], &younger), []);
}

/// Each pod with a label of its own, such as those of a set or of a job.
fn crowd(pods: usize) -> Vec<Pod> {
    let labels = |i: usize| {
        let (index, app) = (i.to_string(), ["orders", "jobs"][i % 2]);
        pod("orders", &[("index", &index), ("app", app)])
    };
    (0..pods).map(labels).collect()
}

#[test]
fn a_policy_is_asked_once_for_all_pods_that_no_policy_tells_apart() {
    let of = |i: i64| {
        let label = (i % 3 == 0).then_some(("app", "orders"));
        let (name, tokens) = (format!("p-{i}"), [("vault", "v"), ("queue", "q")]);
        labelled("shop", &name, i, "orders", label, &tokens)
    };
    let policies: Vec<_> = (0..30).map(of).collect();
    let pods = crowd(200);
    let before = asked();
    let standings = standings(&policies, &pods);
    assert_eq!(asked() - before, 30 * 2);
    let standing = |policy: usize| standings.of(&policies[policy].id).unwrap();
    assert_eq!((standing(0).pods, standing(1).pods), (100, 200));
    assert_eq!(standing(0).taken, BTreeMap::new());
    assert_eq!(standing(29).taken[&name("vault")], &policies[0].id);
}

/// What the first of the pods that both select says: the oldest of the older policies that give it the name.
fn simple<'a>(
    policies: &'a [Arc<Policy>],
    pods: &[Pod],
    policy: &'a Policy,
) -> BTreeMap<&'a TokenName, &'a PolicyId> {
    let mut taken = BTreeMap::new();
    let selects = |p: &Policy, (account, labels): &Pod| p.selects(account, labels);
    for pod in pods.iter().filter(|pod| selects(policy, pod)) {
        let older = policies.iter().filter(|p| p.seniority < policy.seniority);
        let mut older: Vec<_> = older.filter(|p| selects(p, pod)).collect();
        older.sort_by(|a, b| a.seniority.cmp(&b.seniority));
        for token in &policy.tokens {
            let mut older = older.iter();
            if let Some(older) = older.find(|p| p.token(token.name.as_str()).is_some()) {
                taken.entry(&token.name).or_insert(&older.id);
            }
        }
    }
    taken
}

/// A pod that has the label that policies name, or not, and one that none names.
fn any_pod() -> impl Strategy<Value = Pod> {
    ("[s-t]", prop::option::of("[x-z]"), "[0-9]").prop_map(|(account, label, own)| {
        let label = label.as_deref().map(|value| ("l", value));
        let labels: Vec<_> = label.into_iter().chain([("own", &*own)]).collect();
        pod(&account, &labels)
    })
}

proptest! {
    #[test]
    fn what_comes_of_a_policy_is_what_each_pod_says_of_it(
        policies in prop::collection::vec(any_policy(), 0..12),
        pods in prop::collection::vec(any_pod(), 0..12),
        repeated in 0usize..80,
    ) {
        let mut seen = BTreeSet::new();
        let fresh = |p: &Arc<Policy>| p.id.namespace.as_str() == "m" && seen.insert(p.seniority.uid.clone());
        let policies: Vec<_> = policies.into_iter().filter(fresh).collect();
        let pods: Vec<_> = pods.iter().cycle().take(pods.len() + repeated).cloned().collect();
        let standings = standings(&policies, &pods);
        for policy in &policies {
            let selected = pods.iter().filter(|(account, labels)| policy.selects(account, labels));
            let expected = Standing { pods: selected.count(), taken: simple(&policies, &pods, policy) };
            prop_assert_eq!(standings.of(&policy.id), Some(&expected));
        }
    }

    /// More groups than one word has bits.
    #[test]
    fn of_many_groups_the_first_that_both_select_counts(
        selected in prop::collection::vec(prop::collection::btree_set(0usize..100, 1..40), 2..8),
    ) {
        let policies: Vec<_> = (0..).zip(&selected).map(|(age, indexes)| by_index(age, indexes)).collect();
        let pods = crowd(100);
        let standings = standings(&policies, &pods);
        for policy in &policies {
            prop_assert_eq!(&standings.of(&policy.id).unwrap().taken, &simple(&policies, &pods, policy));
        }
    }
}

/// A policy that selects those of a [`crowd`].
fn by_index(age: i64, indexes: &BTreeSet<usize>) -> Arc<Policy> {
    let policy = policy(
        "shop",
        &format!("p-{age}"),
        age,
        "orders",
        &[("vault", "v")],
    );
    let mut policy = Arc::unwrap_or_clone(policy);
    let [subject] = &policy.subjects[..] else {
        panic!("{policy:?}");
    };
    let subjects = indexes.iter().map(|index| {
        let mut subject = subject.clone();
        subject.match_labels = BTreeMap::from([("index".into(), index.to_string())]);
        subject
    });
    policy.subjects = subjects.collect();
    Arc::new(policy)
}
