use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::policy::{RawPolicy, RawSubject, RawToken};

fn policy(
    namespace: &str,
    name: &str,
    age: i64,
    service_account: &str,
    tokens: &[(&str, &str)],
) -> Arc<Policy> {
    labelled(namespace, name, age, service_account, None, tokens)
}

fn labelled(
    namespace: &str,
    name: &str,
    created: i64,
    service_account: &str,
    label: Option<(&str, &str)>,
    tokens: &[(&str, &str)],
) -> Arc<Policy> {
    let raw = RawPolicy {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        created: Timestamp::from_second(created).unwrap(),
        subjects: vec![RawSubject {
            service_account: service_account.into(),
            match_labels: label.map(|(k, v)| BTreeMap::from([(k.to_owned(), v.to_owned())])),
        }],
        tokens: tokens
            .iter()
            .map(|(name, audience)| RawToken {
                name: (*name).into(),
                kubernetes_audience: Some((*audience).into()),
                lifetime: Some("10m".into()),
                ..RawToken::default()
            })
            .collect(),
    };
    Arc::new(Policy::parse(&raw).unwrap())
}

fn subject(namespace: &str, service_account: &str, labels: &[(&str, &str)]) -> Arc<Subject> {
    Arc::new(Subject {
        namespace: Namespace::parse(namespace).unwrap(),
        service_account: ServiceAccount::parse(service_account).unwrap(),
        service_account_uid: Uid::parse("sa-1").unwrap(),
        pod: PodName::parse("orders-0").unwrap(),
        pod_uid: Uid::parse("pod-1").unwrap(),
        labels: labels.iter().copied().collect(),
        annotations: Arc::default(),
    })
}

fn name(text: &str) -> TokenName {
    TokenName::parse(text).unwrap()
}

/// Nothing is revoked.
fn at(rules: &Rules) -> Scene<'_> {
    static NONE: LazyLock<RevocationSet> = LazyLock::new(RevocationSet::default);
    Scene {
        rules,
        revocations: &NONE,
        now: Timestamp::UNIX_EPOCH,
    }
}

fn set<const N: usize>(policies: [Arc<Policy>; N]) -> Rules {
    rules(policies)
}

fn rules(policies: impl IntoIterator<Item = Arc<Policy>>) -> Rules {
    Rules {
        policies: Arc::new(policies.into_iter().collect()),
        audiences: Arc::default(),
    }
}

#[test]
fn grants_what_a_policy_gives() {
    let policies = set([policy(
        "shop",
        "orders",
        1,
        "orders",
        &[("vault", "https://vault.example")],
    )]);
    let grant = decide(
        at(&policies),
        &subject("shop", "orders", &[]),
        &name("vault"),
    )
    .unwrap();
    assert_eq!(grant.audience().as_str(), "https://vault.example");
    assert_eq!(grant.lifetime().seconds(), 600);
    assert_eq!(grant.policy().to_string(), "shop/orders");
    let old = grant.clone().decided_on(Duration::from_secs(3300));
    assert_eq!(
        old.lifetime().seconds(),
        299,
        "it ends as if it were of then"
    );
    assert_eq!(old.audience(), grant.audience());
}

#[test]
fn denies_another_service_account_namespace_label_and_name() {
    let policies = set([labelled(
        "shop",
        "orders",
        1,
        "orders",
        Some(("app", "orders")),
        &[("vault", "v")],
    )]);
    let right = [("app", "orders")];
    assert!(
        decide(
            at(&policies),
            &subject("shop", "orders", &right),
            &name("vault")
        )
        .is_ok()
    );
    for (namespace, service_account, labels, asked) in [
        ("shop", "other", &right[..], "vault"),
        ("bank", "orders", &right[..], "vault"),
        ("shop", "orders", &[][..], "vault"),
        ("shop", "orders", &[("app", "else")][..], "vault"),
        ("shop", "orders", &right[..], "vaults"),
    ] {
        let denial = decide(
            at(&policies),
            &subject(namespace, service_account, labels),
            &name(asked),
        )
        .unwrap_err();
        assert_eq!(
            denial.code,
            Code::NoPolicy,
            "{namespace} {service_account} {labels:?} {asked}"
        );
    }
}

#[test]
fn a_denial_names_what_the_pod_has_and_nothing_of_others() {
    let policies = set([
        policy("shop", "orders", 1, "orders", &[("vault", "v")]),
        policy("shop", "billing", 1, "billing", &[("stripe-live", "s")]),
        policy("bank", "ledger", 1, "orders", &[("ledger", "l")]),
    ]);
    let denial = decide(
        at(&policies),
        &subject("shop", "orders", &[]),
        &name("stripe-live"),
    )
    .unwrap_err();
    assert_eq!(
        denial.detail,
        "no TokenPolicy in namespace \"shop\" gives pod \"orders-0\" the token \"stripe-live\"; this pod may have: vault"
    );
    let denial = decide(
        at(&policies),
        &subject("shop", "nobody", &[]),
        &name("vault"),
    )
    .unwrap_err();
    assert!(
        !denial.detail.contains("billing") && !denial.detail.contains("ledger"),
        "{}",
        denial.detail
    );
}

#[test]
fn the_older_of_two_policies_gives_the_token() {
    let older = policy(
        "shop",
        "z-older",
        1,
        "orders",
        &[("vault", "old"), ("queue", "q")],
    );
    let younger = policy(
        "shop",
        "a-younger",
        2,
        "orders",
        &[("vault", "new"), ("mail", "m")],
    );
    let policies = set([Arc::clone(&younger), Arc::clone(&older)]);
    let subject = subject("shop", "orders", &[]);
    assert_eq!(
        decide(at(&policies), &subject, &name("vault"))
            .unwrap()
            .audience()
            .as_str(),
        "old"
    );
    let names: Vec<&str> = assigned(at(&policies), &subject)
        .iter()
        .map(|t| t.token.name.as_str())
        .collect();
    assert_eq!(names, ["mail", "queue", "vault"]);
}

#[test]
fn a_pod_holds_at_most_64_tokens_those_of_the_older_policies() {
    let tokens = |of: &str| (0..32).map(|i| format!("{of}-{i}")).collect::<Vec<_>>();
    let policy = |of: &str, age: i64| {
        let names = tokens(of);
        let tokens: Vec<_> = names.iter().map(|n| (n.as_str(), n.as_str())).collect();
        policy("shop", of, age, "orders", &tokens)
    };
    let policies = set([policy("c", 3), policy("a", 1), policy("b", 2)]);
    let subject = subject("shop", "orders", &[]);
    assert_eq!(assigned(at(&policies), &subject).len(), 64);
    assert!(decide(at(&policies), &subject, &name("b-31")).is_ok());
    let denial = decide(at(&policies), &subject, &name("c-0")).unwrap_err();
    assert_eq!(denial.code, Code::NoPolicy);
}

#[test]
fn the_policies_of_a_namespace_are_its_own_the_older_first() {
    let of = |namespace, name, age| policy(namespace, name, age, "orders", &[("vault", "v")]);
    let all = [of("shop", "a", 2), of("shop", "b", 1), of("bank", "c", 1)];
    let set: PolicySet = all.iter().cloned().collect();
    let [younger, older, other] = all;
    assert_eq!(set.of("shop"), [older, younger]);
    assert_eq!(set.of("bank"), [other]);
    assert_eq!(set.of("team"), []);
}

#[test]
fn policies_of_one_second_are_ordered_by_uid() {
    let a = policy("shop", "a", 1, "orders", &[("vault", "a")]);
    let b = policy("shop", "b", 1, "orders", &[("vault", "b")]);
    for policies in [set([Arc::clone(&a), Arc::clone(&b)]), set([b, a])] {
        let grant = decide(
            at(&policies),
            &subject("shop", "orders", &[]),
            &name("vault"),
        )
        .unwrap();
        assert_eq!(grant.audience().as_str(), "a");
    }
}

fn any_policy() -> impl Strategy<Value = Arc<Policy>> {
    let tokens = prop::collection::btree_map("[a-c]", "[p-r]", 1..3);
    (
        "[m-n]",
        0u32..1000,
        0i64..3,
        "[s-t]",
        prop::option::of("[x-y]"),
        tokens,
    )
        .prop_map(|(namespace, id, created, service_account, label, tokens)| {
            // one audience a policy: the second token of the same is left out
            let mut seen = BTreeSet::new();
            let tokens: Vec<_> = tokens
                .iter()
                .filter(|(_, a)| seen.insert((*a).clone()))
                .collect();
            let tokens: Vec<_> = tokens
                .iter()
                .map(|(n, a)| (n.as_str(), a.as_str()))
                .collect();
            let label = label.as_deref().map(|value| ("l", value));
            labelled(
                &namespace,
                &format!("p{id}"),
                created,
                &service_account,
                label,
                &tokens,
            )
        })
}

proptest! {
    #[test]
    fn no_grant_exceeds_what_a_policy_that_selects_the_subject_gives(
        policies in prop::collection::vec(any_policy(), 0..8),
        namespace in "[m-n]", service_account in "[s-t]", label in "[x-y]", asked in "[a-c]",
    ) {
        let all = rules(policies.iter().cloned());
        let subject = subject(&namespace, &service_account, &[("l", &label)]);
        let asked = name(&asked);
        let giving: Vec<&Arc<Policy>> = policies
            .iter()
            .filter(|p| p.id.namespace.as_str() == namespace)
            .filter(|p| p.selects(&service_account, &subject.labels))
            .filter(|p| p.token(asked.as_str()).is_some())
            .collect();
        match decide(at(&all), &subject, &asked) {
            Ok(grant) => {
                let eldest = giving.iter().min_by(|a, b| a.seniority.cmp(&b.seniority)).expect("somebody gave it");
                let token = eldest.token(asked.as_str()).unwrap();
                let Wanted::ServiceAccountToken { audience, lifetime } = &token.wanted else {
                    panic!("{token:?}");
                };
                prop_assert_eq!(grant.audience(), audience);
                prop_assert_eq!(grant.lifetime(), *lifetime);
            }
            Err(denial) => {
                prop_assert_eq!(denial.code, Code::NoPolicy);
                prop_assert!(giving.is_empty());
            }
        }
    }

    #[test]
    fn what_is_assigned_is_exactly_what_is_granted(
        policies in prop::collection::vec(any_policy(), 0..8),
        namespace in "[m-n]", service_account in "[s-t]", label in "[x-y]",
    ) {
        let policies = rules(policies);
        let subject = subject(&namespace, &service_account, &[("l", &label)]);
        let assigned: BTreeSet<_> = assigned(at(&policies), &subject).into_iter().map(|t| t.token.name.clone()).collect();
        for asked in ["a", "b", "c"].map(name) {
            prop_assert_eq!(decide(at(&policies), &subject, &asked).is_ok(), assigned.contains(&asked));
        }
    }

    #[test]
    fn a_part_of_what_is_held_is_that_part_of_all(
        policies in prop::collection::vec(any_policy(), 0..8),
        namespace in "[m-n]", service_account in "[s-t]", label in "[x-y]", wanted in "[p-r]",
    ) {
        let policies = rules(policies).policies;
        let subject = subject(&namespace, &service_account, &[("l", &label)]);
        let wanted = |token: &PolicyToken| token.wanted.is_for(&wanted, &BTreeSet::new());
        let names = |held: Vec<(&Policy, &PolicyToken)>| -> Vec<_> {
            held.iter().map(|(policy, token)| (policy.id.clone(), token.name.clone())).collect()
        };
        let all = policies.held(&subject).into_values();
        let expected = names(all.filter(|(_, token)| wanted(token)).collect());
        prop_assert_eq!(names(policies.held_of(&subject, wanted)), expected);
    }
}

/// Looks up what is held for one question alone.
fn decide(scene: Scene<'_>, subject: &Arc<Subject>, name: &TokenName) -> Result<Grant, Denial> {
    Holding::new(scene.rules, subject).decide(scene.revocations, name, scene.now)
}

fn assigned<'a>(scene: Scene<'a>, subject: &'a Arc<Subject>) -> Vec<Assigned<'a>> {
    Holding::new(scene.rules, subject).assigned(scene.revocations, scene.now)
}

mod holding;
mod locked;
mod own;
mod standing;
