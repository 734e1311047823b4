use std::collections::BTreeSet;

use hallpass_core::{
    audience::AudienceId,
    denial::Code,
    name::{ObjectName, Uid},
    policy::Policy,
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::issuer::fixture::now;

use super::{
    fixture::{audience, issuer, issuer_of, namespace, pod, policy, service_account, unreadable},
    *,
};

fn names(policies: &[Arc<Policy>]) -> Vec<&str> {
    policies.iter().map(|p| p.id.name.as_str()).collect()
}

#[test]
fn gives_no_view_before_every_watch_has_delivered() {
    let index = Index::new(Metrics::default(), now);
    index.take_policies(filed(listed([]), record::policy));
    index.take_pods(filed(listed([]), record::pod));
    index.take_service_accounts(filed(listed([]), record::service_account));
    index.take_audiences(filed(listed([]), record::audience));
    index.take_issuers(filed(listed([]), record::issuer));
    index.take_namespaces(filed(listed([]), record::namespace));
    index.take_revocations(filed(listed([]), Read::of::<TokenRevocation>));
    assert_eq!(index.snapshot().unwrap_err(), NotSynced);
    index.take_cluster_revocations(filed(listed([]), Read::of::<ClusterTokenRevocation>));
    assert!(index.snapshot().is_ok());
}

#[test]
fn a_pod_is_what_its_metadata_says() {
    let mut finishing = pod("shop", "orders-1", "orders");
    finishing.metadata.deletion_timestamp = "2026-11-01T00:00:00Z".parse().ok().map(Time);
    let index = Index::filled(
        vec![],
        vec![finishing],
        vec![service_account("shop", "orders")],
    );
    let snapshot = index.snapshot().unwrap();
    let pod = snapshot.pod("shop", "orders-1").unwrap();
    assert!(pod.uid.is(&Uid::parse("uid-shop-orders-1").unwrap()));
    assert_eq!(pod.details.service_account.as_deref(), Some("orders"));
    assert!(pod.is_live("2026-11-01T00:01:00Z".parse().unwrap()));
    assert!(!pod.is_live("2026-11-01T00:01:01Z".parse().unwrap()));
    let account = snapshot.service_account("shop", "orders").unwrap();
    assert!(account.uid.is(&Uid::parse("uid-shop-orders").unwrap()));
    assert_eq!(snapshot.pod("bank", "orders-1"), None);
}

#[test]
fn a_policy_that_cannot_be_read_does_not_stop_the_watch() {
    let index = Index::filled(vec![policy("shop", "old", "orders")], vec![], vec![]);
    index.take_policies(filed(
        vec![
            Event::Apply(unreadable("shop", "broken")),
            Event::Apply(Stored(Ok(policy("shop", "new", "orders")))),
        ],
        record::policy,
    ));
    let snapshot = index.snapshot().unwrap();
    assert_eq!(names(snapshot.rules().policies.of("shop")), ["new", "old"]);
    let records = snapshot.policies("shop");
    let unusable = records["broken"].spec.as_ref().unwrap_err();
    assert!(matches!(**unusable, Unusable::Unreadable(_)));
    let metrics = index.0.metrics.encode().unwrap();
    assert!(metrics.contains(r#"hallpass_unreadable_objects{kind="TokenPolicy"} 1"#));
    assert!(metrics.contains(r#"hallpass_watch_objects{kind="TokenPolicy"} 3"#));
}

#[test]
fn a_policy_that_breaks_a_rule_is_left_out_and_remembered() {
    let mut long = policy("shop", "long", "orders");
    long.spec.tokens[0].lifetime = Some("2h".to_owned());
    let index = Index::filled(vec![long], vec![], vec![]);
    let snapshot = index.snapshot().unwrap();
    assert_eq!(names(snapshot.rules().policies.of("shop")), [] as [&str; 0]);
    let error = snapshot.policies("shop")["long"].spec.clone().unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.tokens[0].lifetime must be between 10m and 1h"
    );
}

#[test]
fn a_policy_that_becomes_unusable_no_longer_counts() {
    let index = Index::filled(vec![policy("shop", "orders", "orders")], vec![], vec![]);
    index.take_policies(filed(
        vec![Event::Apply(unreadable("shop", "orders"))],
        record::policy,
    ));
    assert_eq!(
        index.snapshot().unwrap().rules().policies.of("shop").len(),
        0
    );
}

#[test]
fn a_view_in_hand_keeps_its_policies() {
    let index = Index::filled(vec![policy("shop", "orders", "orders")], vec![], vec![]);
    let before = index.snapshot().unwrap();
    let deleted = Stored(Ok(policy("shop", "orders", "orders")));
    index.take_policies(filed(vec![Event::Delete(deleted)], record::policy));
    assert_eq!(before.rules().policies.of("shop").len(), 1);
    assert_eq!(
        index.snapshot().unwrap().rules().policies.of("shop").len(),
        0
    );
}

#[test]
fn a_written_status_touches_the_namespace_but_not_the_policies() {
    let index = Index::filled(vec![policy("shop", "orders", "orders")], vec![], vec![]);
    drop(index.changes().take());
    let before = index.snapshot().unwrap();
    let mut written = policy("shop", "orders", "orders");
    written.metadata.resource_version = Some("2".to_owned());
    written.status = Some(hallpass_crds::token_policy::TokenPolicyStatus::default());
    index.take_policies(filed(
        vec![Event::Apply(Stored(Ok(written)))],
        record::policy,
    ));
    assert_eq!(index.changes().take().len(), 1);
    let after = index.snapshot().unwrap();
    assert!(Arc::ptr_eq(before.rules(), after.rules()));
    let stored = after.policies("shop").remove("orders").unwrap();
    assert_eq!(&*stored.resource_version, "2");
    let counting = &after.rules().policies.of("shop")[0];
    assert!(
        Arc::ptr_eq(&stored.spec.unwrap(), counting),
        "what it says is there once"
    );
}

#[test]
fn a_pod_with_more_labels_than_any_pod_needs_is_kept_without_them() {
    for (bytes, kept) in [(100, true), (15_000, true), (17_000, false)] {
        let mut object = pod("shop", "orders-0", "orders");
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert("big".to_owned(), "x".repeat(bytes));
        let filed = record::pod(object).unwrap();
        assert_eq!(
            filed.record.details.labels.get("app").is_some(),
            kept,
            "{bytes}"
        );
    }
}

#[test]
fn what_two_pods_have_in_common_is_there_once_unless_it_is_large() {
    let shared = |bytes: usize, accounts: [&str; 2]| {
        let pods = ["orders-0", "orders-1"].into_iter().zip(accounts);
        let pods = pods.map(|(name, account)| {
            let mut object = pod("shop", name, account);
            let labels = object.metadata.labels.get_or_insert_default();
            labels.insert("app".to_owned(), "x".repeat(bytes));
            object
        });
        let index = Index::filled(vec![], pods.collect(), vec![]);
        let pods = index.snapshot().unwrap().pods("shop");
        let mut details = pods.into_values().map(|pod| pod.details);
        Arc::ptr_eq(&details.next().unwrap(), &details.next().unwrap())
    };
    assert!(shared(10, ["orders", "orders"]));
    assert!(!shared(10, ["orders", "stock"]));
    assert!(!shared(2000, ["orders", "orders"]));
}

#[test]
fn what_a_policy_is_called_is_there_once() {
    let policies = ["orders", "stock"].map(|name| policy("shop", name, name));
    let index = Index::filled(policies.into(), vec![], vec![]);
    // As the status of each was written, it comes once more.
    let again = ["orders", "stock"].map(|name| {
        let mut again = policy("shop", name, name);
        again.metadata.resource_version = Some("2".to_owned());
        Event::Apply(Stored(Ok(again)))
    });
    index.take_policies(filed(again.into(), record::policy));
    let records = index.snapshot().unwrap().policies("shop");
    assert_eq!(&*records["orders"].resource_version, "2");
    let [orders, stock] = ["orders", "stock"].map(|name| records[name].clone());
    let policy = Arc::clone(orders.spec.as_ref().unwrap());
    let same = |a: &str, b: &str| a.as_ptr() == b.as_ptr();
    assert!(same(&orders.name, policy.id.name.as_str()));
    assert!(same(&orders.uid, policy.seniority.uid.as_str()));
    let other = &stock.spec.unwrap().id.namespace;
    assert!(same(policy.id.namespace.as_str(), other.as_str()));
}

/// What there are very many of takes what it takes on purpose.
#[test]
fn a_pod_fits_where_it_should() {
    assert!(size_of::<PodRecord>() <= 24, "{}", size_of::<PodRecord>());
}

fn counting(index: &Index) -> Vec<String> {
    let snapshot = index.snapshot().unwrap();
    let audiences = snapshot.rules().audiences.counting();
    audiences
        .map(|statement| statement.id.to_string())
        .collect()
}

#[test]
fn an_audience_counts_once_its_issuer_is_there() {
    let index = Index::filled(vec![policy("shop", "orders", "orders")], vec![], vec![]);
    index.allow(
        vec![audience("payments", "JWT")],
        vec![],
        vec![namespace("payments")],
    );
    assert_eq!(counting(&index), [] as [&str; 0]);
    drop(index.changes().take());
    let mut consents = index.consents();
    consents.mark_unchanged();
    index.take_issuers(filed(
        vec![Event::Apply(Stored(Ok(issuer())))],
        record::issuer,
    ));
    assert_eq!(counting(&index), ["payments/payments"]);
    let shop = Namespace::parse("shop").unwrap();
    let touched = BTreeSet::from([shop]);
    assert_eq!(
        index.changes().take(),
        touched,
        "whoever asks is looked at anew"
    );
    assert!(consents.has_changed().unwrap());
}

#[test]
fn an_audience_that_cannot_be_used_any_more_still_holds_its_value() {
    let value = "https://payments.payments.svc";
    let mut younger = audience("younger", "JWT");
    younger.spec.audience = value.to_owned();
    let created = &mut younger.metadata.creation_timestamp.as_mut().unwrap().0;
    *created += SignedDuration::from_hours(1);
    for (field, stored) in [
        ("scopes", json!([])),
        ("format", json!("of a later version")),
    ] {
        let index = Index::filled(vec![], vec![], vec![]);
        let payments = audience("payments", "JWT");
        let mut changed = serde_json::to_value(&payments).unwrap();
        changed["spec"][field] = stored;
        index.allow(
            vec![payments, younger.clone()],
            vec![issuer()],
            vec![namespace("payments")],
        );
        assert_eq!(counting(&index), ["payments/payments"]);
        let changed = serde_json::from_value(changed).unwrap();
        index.take_audiences(filed(vec![Event::Apply(changed)], record::audience));
        assert_eq!(counting(&index), [] as [&str; 0], "{field}");
        let rules = Arc::clone(index.snapshot().unwrap().rules());
        let namespace = Namespace::parse("payments").unwrap();
        let name = ObjectName::parse("younger").unwrap();
        let refusal = rules.audiences.refusal(&AudienceId { namespace, name });
        let refusal = refusal.unwrap();
        assert_eq!(refusal.code, Code::Conflict);
        let names = refusal.detail.ends_with("the older payments/payments");
        assert!(names, "{}", refusal.detail);
    }
}

#[test]
fn a_written_status_of_an_audience_is_told_and_changes_no_rule() {
    let index = Index::filled(vec![policy("shop", "orders", "orders")], vec![], vec![]);
    index.allow(
        vec![audience("payments", "JWT")],
        vec![issuer()],
        vec![namespace("payments")],
    );
    let before = index.snapshot().unwrap();
    drop(index.changes().take());
    let mut written = audience("payments", "JWT");
    written.metadata.resource_version = Some("2".to_owned());
    index.take_audiences(filed(
        vec![Event::Apply(Stored(Ok(written)))],
        record::audience,
    ));
    let after = index.snapshot().unwrap();
    assert!(Arc::ptr_eq(before.rules(), after.rules()));
    assert_eq!(index.changes().take(), BTreeSet::new());
}

#[test]
fn an_issuer_that_breaks_a_rule_is_left_out_and_remembered() {
    let index = Index::filled(vec![], vec![], vec![]);
    let http = issuer_of("hallpass", "http://id.example");
    index.allow(vec![], vec![http], vec![]);
    let snapshot = index.snapshot().unwrap();
    assert_eq!(snapshot.rules().audiences.issuers().count(), 0);
    let error = snapshot.issuers()["hallpass"].spec.clone().unwrap_err();
    assert!(
        error.to_string().starts_with("spec.hallpass.issuerURL "),
        "{error}"
    );
}

#[test]
fn a_service_account_keeps_only_what_can_be_a_claim() {
    let kept = |pairs: &[(&str, usize)]| {
        let mut object = service_account("shop", "orders");
        let pairs = pairs
            .iter()
            .map(|(key, length)| ((*key).to_owned(), "x".repeat(*length)));
        object.metadata.annotations = Some(pairs.collect());
        let filed = record::service_account(object).unwrap();
        filed.record.annotations.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(kept(&[("team", 256), ("long", 257)]), ["team"]);
    let last = "kubectl.kubernetes.io/last-applied-configuration";
    assert_eq!(kept(&[("team", 4), (last, 4)]), ["team"]);
    let many: Vec<String> = (0..20).map(|i| format!("key-{i}")).collect();
    let many: Vec<(&str, usize)> = many.iter().map(|key| (key.as_str(), 250)).collect();
    assert_eq!(kept(&many), [] as [&str; 0]);
}
