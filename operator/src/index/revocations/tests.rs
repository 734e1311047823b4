use hallpass_core::{
    decide::Scene,
    revocation::{Epochs, MOST_OF_NAMESPACE, Marks},
};
use hallpass_crds::token_revocation::TokenRevocation;
use serde_json::json;

use super::*;
use crate::{
    index::{Index, fixture::revocation, listed},
    issuer::fixture::now,
};

fn revocations() -> Revocations {
    let index = Index::filled(vec![], vec![], vec![]);
    index.revocations().clone()
}

fn lock(name: &str, version: u64) -> DeserializeGuard<TokenRevocation> {
    let spec = json!({"target": {"serviceAccount": "orders"}, "effect": "Lock"});
    DeserializeGuard(Ok(revocation(name, version, &spec)))
}

fn policy(index: usize, version: u64) -> DeserializeGuard<TokenRevocation> {
    let spec = json!({"target": {"policy": format!("p-{index}")}});
    DeserializeGuard(Ok(revocation(&format!("r-{index}"), version, &spec)))
}

/// One that was stored under another schema.
fn unreadable(name: &str) -> DeserializeGuard<TokenRevocation> {
    let mut stored = serde_json::to_value(revocation(name, 9, &json!({"target": {}}))).unwrap();
    stored["spec"]["issuedBefore"] = "yesterday".into();
    serde_json::from_value(stored).unwrap()
}

fn is_locked(revocations: &Revocations) -> bool {
    let marks = Marks {
        namespace: "shop",
        service_account: "orders",
        pod: "orders-0",
        policy: "orders",
        audience: "a",
        issuer: None,
    };
    revocations.ask(|set| set.admit(marks, now()).is_err())
}

fn refused(revocations: &Revocations) -> Vec<(String, String)> {
    let all = revocations.not_in_force().into_iter();
    all.map(|((_, _, name), refused)| (name.to_string(), refused.why.to_string()))
        .collect()
}

#[test]
fn follows_what_the_watch_delivers() {
    let revocations = revocations();
    let mut changes = revocations.observed();
    changes.mark_unchanged();
    revocations.take(vec![Event::Apply(lock("a", 70))]);
    assert!(is_locked(&revocations));
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow().epochs, [70, 0]);
    assert_eq!(
        revocations.ask(RevocationSet::epochs),
        Epochs::only(Kind::Namespaced, 70)
    );
    revocations.take(vec![Event::Delete(lock("a", 71))]);
    assert!(!is_locked(&revocations));
    assert_eq!(revocations.ask(RevocationSet::epochs).namespaced, 71);
}

#[test]
fn while_a_list_comes_in_nothing_is_let_go_and_nothing_is_claimed() {
    let revocations = revocations();
    revocations.take(vec![Event::Apply(lock("a", 70))]);
    revocations.take(vec![Event::Init, Event::InitApply(policy(1, 90))]);
    assert!(is_locked(&revocations));
    assert_eq!(revocations.ask(RevocationSet::epochs).namespaced, 70);
    revocations.take(vec![
        Event::InitApply(lock("a", 70)),
        Event::<DeserializeGuard<TokenRevocation>>::InitDone,
    ]);
    assert_eq!(revocations.ask(RevocationSet::epochs).namespaced, 90);
    assert!(is_locked(&revocations));
}

#[test]
fn what_cannot_be_read_is_not_in_force_and_is_told_so() {
    let revocations = revocations();
    let mut invalid = revocation("two", 8, &json!({"target": {"pod": "a"}}));
    invalid.spec.target.policy = Some("b".into());
    revocations.take(vec![
        Event::Apply(unreadable("odd")),
        Event::Apply(DeserializeGuard(Ok(invalid))),
    ]);
    let told = refused(&revocations);
    assert_eq!(told.len(), 2);
    assert!(
        told[0].1.starts_with("the stored object cannot be read: "),
        "{told:?}"
    );
    let one = "spec.target must have exactly one of pod, serviceAccount, policy, tokenID";
    assert_eq!(told[1], ("two".into(), one.into()));
    assert_eq!(
        revocations.observed().borrow().refused,
        0,
        "room was not the matter"
    );
    revocations.take(vec![
        Event::Apply(lock("odd", 10)),
        Event::Delete(policy(3, 11)),
    ]);
    assert_eq!(refused(&revocations).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn t23_what_has_no_room_is_told_and_comes_in_when_there_is_some() {
    let revocations = revocations();
    let all = (0..MOST_OF_NAMESPACE).map(|i| policy(i, i as u64 + 1));
    revocations.take(listed(all));
    revocations.take(vec![Event::Apply(lock("late", 20_000))]);
    assert!(!is_locked(&revocations));
    let told = refused(&revocations);
    assert_eq!(told.len(), 1);
    assert!(
        told[0]
            .1
            .contains("10000 revocations are in force in this namespace"),
        "{told:?}"
    );
    let room = revocations.room();
    tokio::pin!(room);
    assert!(futures::poll!(&mut room).is_pending());
    revocations.take(vec![Event::Delete(policy(0, 20_001))]);
    room.await;
    // The watch lists anew.
    let all = (1..MOST_OF_NAMESPACE).map(|i| policy(i, i as u64 + 1));
    revocations.take(listed(all.chain([lock("late", 20_000)])));
    assert!(is_locked(&revocations));
    assert_eq!(
        (
            revocations.observed().borrow().refused,
            refused(&revocations).len()
        ),
        (0, 0)
    );
}

#[test]
fn a_decision_sees_what_came_since_its_view_was_made() {
    let index = Index::filled(vec![], vec![], vec![]);
    let snapshot = index.snapshot().unwrap();
    index.deliver_revocation(revocation("a", 70, &json!({"target": {"policy": "p"}})));
    let known = snapshot.decide(now(), |Scene { revocations, .. }| revocations.epochs());
    assert_eq!(known.namespaced, 70);
}
