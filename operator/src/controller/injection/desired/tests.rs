use std::sync::Arc;

use hallpass_core::policy::RawPolicy;
use serde_json::{Value, json};

use super::*;
use crate::{controller::fixture::asking, issuer::fixture::now};

fn policy(name: &str, accounts: &[&str], labels: Value) -> Arc<Policy> {
    let mut policy = asking("shop", name, accounts, "read");
    let any = labels.as_object().unwrap().is_empty();
    let selector = (!any).then(|| json!({"matchLabels": labels}));
    let selector = serde_json::from_value(json!(selector)).unwrap();
    policy.spec.subjects[0].pod_selector = selector;
    let raw = RawPolicy::from(&policy);
    Arc::new(Policy::parse(&raw).unwrap())
}

fn pod(name: &str, labels: Value) -> Lacking {
    serde_json::from_value(json!({
        "namespace": "shop", "name": name, "uid": format!("uid-{name}"), "labels": labels,
        "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "orders", "uid": "uid-orders", "controller": true,
        }],
    }))
    .unwrap()
}

fn account(name: &str) -> ServiceAccount {
    ServiceAccount::parse(name).unwrap()
}

/// What is said of that policy.
fn told(gaps: &Gaps, policy: &Policy) -> Verdict {
    let mut found = gaps.found();
    let (_, pods) = found.find(|(found, _)| found.id == policy.id).unwrap();
    pods.verdict("shop")
}

#[test]
fn a_policy_is_told_of_the_pods_that_it_selects_and_of_no_others() {
    let narrow = policy("narrow", &["orders"], json!({"app": "orders"}));
    let wide = policy("wide", &["orders", "billing"], json!({}));
    let target = Target {
        labelled: false,
        closed: false,
        policies: vec![Arc::clone(&narrow), Arc::clone(&wide)],
    };
    let mut gaps = Gaps::new(target);
    gaps.any = true;
    assert_eq!(gaps.next_accounts(1), [account("billing")]);
    assert!(gaps.has_more());
    assert_eq!(gaps.next_accounts(9), [account("orders")]);
    assert_eq!(gaps.next_accounts(9), []);
    assert!(!gaps.has_more());
    gaps.under(&account("billing"), &pod("b-0", json!({"app": "orders"})));
    let said = told(&gaps, &narrow);
    assert_eq!((said.ready, said.reason), (TokenReady::True, "AllInjected"));
    let said = told(&gaps, &wide);
    assert_eq!(
        (said.ready, said.reason),
        (TokenReady::False, "PodsWithoutSidecar")
    );
    assert_eq!(
        said.message,
        "1 pod that this policy selects run without the sidecar: b-0. A pod gets it when it is created: label the pod template, or namespace \"shop\", hallpass.dev/inject: \"true\", and restart them: kubectl -n shop rollout restart statefulset/orders"
    );
    assert_eq!((gaps.by_namespace, gaps.by_policy), (0, 1));
    gaps.under(&account("orders"), &pod("o-0", json!({"app": "orders"})));
    gaps.under(&account("orders"), &pod("o-1", json!({})));
    let said = told(&gaps, &narrow);
    assert!(said.message.contains("sidecar: o-0. "), "{}", said.message);
    assert_eq!(gaps.by_policy, 3);
}

#[test]
fn three_are_named_and_the_others_counted() {
    let wide = policy("wide", &["orders"], json!({}));
    let target = Target {
        labelled: true,
        closed: false,
        policies: vec![Arc::clone(&wide)],
    };
    let mut gaps = Gaps::new(target);
    for index in 0..10_000 {
        let labels = json!({"hallpass.dev/inject": "true"});
        gaps.under(&account("orders"), &pod(&format!("o-{index}"), labels));
    }
    let said = told(&gaps, &wide).message;
    assert_eq!(
        said,
        "10000 pods that this policy selects run without the sidecar: o-0, o-1, o-2 and 9997 more. A pod gets it when it is created: restart them: kubectl -n shop rollout restart statefulset/orders"
    );
    // A label asks for it: they are counted where that is looked at.
    assert_eq!((gaps.by_namespace, gaps.by_policy), (0, 0));
}

#[test]
fn t27_a_pod_counts_for_the_first_reason_alone() {
    let wide = policy("wide", &["orders"], json!({}));
    let target = Target {
        labelled: true,
        closed: false,
        policies: vec![wide],
    };
    let mut gaps = Gaps::new(target);
    for pod in [
        pod("own", json!({"hallpass.dev/inject": "true"})),
        pod("namespace", json!({})),
    ] {
        gaps.in_labelled(&pod);
        gaps.under(&account("orders"), &pod);
    }
    assert_eq!((gaps.by_namespace, gaps.by_policy), (1, 0));
    assert_eq!(gaps.selected[0].count, 2);
    let owners = gaps.owners.into_all();
    assert_eq!(owners.len(), 1);
    let owned = &owners["shop/uid-orders"];
    assert_eq!(
        (owned.reason, owned.pods.count),
        (Uninjected::NamespaceLabel, 1)
    );
}

#[test]
fn t30_what_one_namespace_says_of_its_owners_is_nothing_to_another() {
    let mut owners = Owners::at_most(9);
    for namespace in ["shop", "bank"] {
        let mut pod = pod("a", json!({}));
        pod.namespace = namespace.to_owned();
        owners.add(&pod, Uninjected::PodLabel);
    }
    assert_eq!(owners.into_all().len(), 2);
}

#[test]
fn so_many_owners_are_kept_and_no_more() {
    let mut owners = Owners::at_most(2);
    for (name, uid) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "1")] {
        let pod = json!({"name": name, "uid": uid, "namespace": "shop"});
        let pod: Lacking = serde_json::from_value(pod).unwrap();
        owners.add(&pod, Uninjected::PodLabel);
    }
    let all = owners.into_all();
    let counts: Vec<_> = all
        .iter()
        .map(|(uid, o)| (uid.as_str(), o.pods.count))
        .collect();
    assert_eq!(counts, [("shop/1", 2), ("shop/2", 1)]);
    let said = all["shop/2"].verdict("shop").message;
    assert_eq!(
        said,
        "pods run without the Hallpass sidecar although they are labelled hallpass.dev/inject: \"true\": b. A pod gets it when it is created: create them anew"
    );
    let condition =
        all["shop/2"]
            .verdict("shop")
            .condition::<crate::controller::injection::status::InjectionStatus>(None, now(), None);
    assert_eq!(
        (condition.type_.as_str(), condition.status.as_str()),
        ("Injected", "False")
    );
}
