use std::panic::AssertUnwindSafe;

use hallpass_core::{
    decide::Scene,
    revocation::{Epochs, MOST_OF_NAMESPACE, Marks},
};
use hallpass_crds::token_revocation::TokenRevocation;
use kube::Resource;
use serde_json::json;

use super::{state::SAY, *};
use crate::{
    index::{Index, Stored, filed, fixture::revocation, listed},
    issuer::fixture::now,
};

impl Revocations {
    /// The watch delivers these.
    pub(in crate::index) fn deliver<K: Revokes>(&self, events: Vec<Event<Stored<K>>>) {
        self.take(K::KIND, filed(events, Read::of));
    }
}

fn revocations() -> Revocations {
    let index = Index::filled(vec![], vec![], vec![]);
    index.revocations().clone()
}

fn lock(name: &str, version: u64) -> Stored<TokenRevocation> {
    let spec = json!({"target": {"serviceAccount": "orders"}, "effect": "Lock"});
    Stored(Ok(revocation(name, version, &spec)))
}

/// A later version of it.
fn later(object: Stored<TokenRevocation>, version: u64) -> Stored<TokenRevocation> {
    let mut object = object.0.unwrap();
    object.metadata.resource_version = Some(version.to_string());
    Stored(Ok(object))
}

fn policy(index: usize, version: u64) -> Stored<TokenRevocation> {
    let spec = json!({"target": {"policy": format!("p-{index}")}});
    Stored(Ok(revocation(&format!("r-{index}"), version, &spec)))
}

/// One that was stored under another schema.
fn unreadable(name: &str) -> Stored<TokenRevocation> {
    let mut stored = serde_json::to_value(revocation(name, 9, &json!({"target": {}}))).unwrap();
    stored["spec"]["issuedBefore"] = "yesterday".into();
    stored["metadata"]["uid"] = format!("uid-{name}").into();
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

/// What is stored after that is in force.
#[test]
fn f22_a_panic_amidst_a_change_keeps_nobody_from_asking_nor_from_the_next_change() {
    let revocations = revocations();
    let amidst = AssertUnwindSafe(|| revocations.write::<()>(|_| panic!("injected")));
    let said = std::panic::catch_unwind(amidst).unwrap_err();
    assert_eq!(said.downcast_ref(), Some(&"injected"));
    assert!(!is_locked(&revocations));
    revocations.deliver(vec![Event::Apply(lock("a", 70))]);
    assert!(is_locked(&revocations));
}

#[test]
fn follows_what_the_watch_delivers() {
    let revocations = revocations();
    let mut changes = revocations.observed();
    changes.mark_unchanged();
    revocations.deliver(vec![Event::Apply(lock("a", 70))]);
    assert!(is_locked(&revocations));
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow().epochs, [70, 0]);
    assert_eq!(
        revocations.ask(RevocationSet::epochs),
        Epochs::only(Kind::Namespaced, 70)
    );
    revocations.deliver(vec![Event::Delete(later(lock("a", 70), 71))]);
    assert!(!is_locked(&revocations));
    assert_eq!(revocations.ask(RevocationSet::epochs).namespaced, 71);
}

#[test]
fn while_a_list_comes_in_nothing_is_let_go_and_nothing_is_claimed() {
    let revocations = revocations();
    revocations.deliver(vec![Event::Apply(lock("a", 70))]);
    revocations.deliver(vec![Event::Init, Event::InitApply(policy(1, 90))]);
    assert!(is_locked(&revocations));
    assert_eq!(revocations.ask(RevocationSet::epochs).namespaced, 70);
    revocations.deliver(vec![
        Event::InitApply(lock("a", 70)),
        Event::<Stored<TokenRevocation>>::InitDone,
    ]);
    assert_eq!(revocations.ask(RevocationSet::epochs).namespaced, 90);
    assert!(is_locked(&revocations));
}

#[test]
fn what_cannot_be_read_is_not_in_force_and_is_told_so() {
    let revocations = revocations();
    let mut invalid = revocation("two", 8, &json!({"target": {"pod": "a"}}));
    invalid.spec.target.policy = Some("b".into());
    revocations.deliver(vec![
        Event::Apply(unreadable("odd")),
        Event::Apply(Stored(Ok(invalid))),
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
    revocations.deliver(vec![
        Event::Apply(lock("odd", 10)),
        Event::Delete(policy(3, 11)),
    ]);
    assert_eq!(refused(&revocations).len(), 1);
}

#[test]
fn which_ones_cannot_be_read_is_told_in_one_number_whatever_their_order() {
    let unread = |names: &[&str]| {
        let revocations = revocations();
        for name in names {
            let mut object = revocation(name, 8, &json!({"target": {"pod": "a"}}));
            object.metadata.uid = Some(format!("uid-{name}"));
            object.spec.target.policy = Some("b".into());
            revocations.deliver(vec![Event::Apply(Stored(Ok(object)))]);
        }
        revocations.observed().borrow().unread
    };
    assert_eq!(unread(&[]), 0);
    assert_eq!(unread(&["one", "two"]), unread(&["two", "one"]));
    let different = [unread(&[]), unread(&["one"]), unread(&["two"])];
    assert!(different[0] != different[1] && different[1] != different[2]);
}

#[test]
fn t23_what_has_no_room_is_told_and_comes_in_when_there_is_some() {
    let revocations = revocations();
    let all = (0..MOST_OF_NAMESPACE).map(|i| policy(i, i as u64 + 1));
    revocations.deliver(listed(all));
    revocations.deliver(vec![Event::Apply(lock("late", 20_000))]);
    assert!(!is_locked(&revocations));
    let told = refused(&revocations);
    assert_eq!(told.len(), 1);
    assert!(
        told[0]
            .1
            .contains("10000 revocations are in force in this namespace"),
        "{told:?}"
    );
    assert_eq!(revocations.observed().borrow().refused, 1);
    revocations.deliver(vec![Event::Delete(later(policy(0, 1), 20_001))]);
    assert!(is_locked(&revocations), "nothing has to be read for it");
    assert_eq!(
        (
            revocations.observed().borrow().refused,
            refused(&revocations).len()
        ),
        (0, 0)
    );
}

/// More than are kept here: two of them are known to be stored and nothing else.
fn overfull() -> Revocations {
    let revocations = revocations();
    let stored = MOST_OF_NAMESPACE + 10_002;
    let all = (0..stored).map(|i| policy(i, i as u64 + 1));
    revocations.deliver(listed(all));
    assert_eq!(revocations.lacks(), None, "there is no room");
    let gone = (0..10_002).map(|i| Event::Delete(policy(i, i as u64 + 1)));
    revocations.deliver(gone.collect());
    revocations
}

fn fill<const N: usize>(revocations: &Revocations, page: [Stored<TokenRevocation>; N]) -> bool {
    let read = page.into_iter().filter_map(Read::of);
    revocations.fill(Kind::Namespaced, read.collect())
}

#[test]
fn t23_more_than_is_kept_is_read_again_as_soon_as_there_is_room() {
    let revocations = overfull();
    let own = Kind::Namespaced;
    assert_eq!(revocations.lacks(), Some(own));
    let count = || revocations.ask(|set| set.of_kind(own));
    assert_eq!(count(), MOST_OF_NAMESPACE - 2);
    revocations.begin_filling(own);
    assert!(fill(&revocations, [policy(20_000, 20_001)]));
    // A page may still have what was deleted since.
    revocations.deliver(vec![Event::Delete(policy(20_001, 20_002))]);
    assert!(fill(
        &revocations,
        [policy(20_001, 20_002), policy(15_000, 15_001)]
    ));
    revocations.end_filling(own, true);
    assert_eq!(
        (count(), revocations.lacks()),
        (MOST_OF_NAMESPACE - 1, None)
    );
}

#[test]
fn what_was_not_read_to_its_end_is_read_again_and_a_list_of_the_watch_comes_first() {
    let revocations = overfull();
    let own = Kind::Namespaced;
    revocations.begin_filling(own);
    revocations.end_filling(own, false);
    assert_eq!(revocations.lacks(), Some(own));
    revocations.begin_filling(own);
    revocations.deliver(vec![Event::<Stored<TokenRevocation>>::Init]);
    assert!(!fill(&revocations, [policy(20_000, 20_001)]));
    assert_eq!(revocations.ask(|set| set.of_kind(own)), 9_998);
}

#[test]
fn what_a_new_list_lacks_is_reported_on_no_more() {
    let revocations = revocations();
    revocations.deliver(vec![
        Event::Apply(unreadable("odd")),
        Event::Apply(unreadable("even")),
    ]);
    revocations.deliver(vec![Event::<Stored<TokenRevocation>>::Init]);
    assert_eq!(refused(&revocations).len(), 2, "the list may still have it");
    revocations.deliver(vec![
        Event::InitApply(unreadable("odd")),
        Event::<Stored<TokenRevocation>>::InitDone,
    ]);
    assert_eq!(refused(&revocations).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_room_is_said_once_a_minute() {
    let mut state = State::default();
    assert!(!state.is_news(0, Instant::now()));
    assert!(state.is_news(1, Instant::now()));
    assert!(!state.is_news(2, Instant::now()));
    tokio::time::advance(SAY).await;
    assert!(state.is_news(2, Instant::now()));
    tokio::time::advance(SAY).await;
    assert!(!state.is_news(2, Instant::now()), "nothing is new");
    assert!(!state.is_news(0, Instant::now()));
    assert!(state.is_news(2, Instant::now()), "all had room before");
}

#[test]
fn a_decision_sees_what_came_since_its_view_was_made() {
    let index = Index::filled(vec![], vec![], vec![]);
    let snapshot = index.snapshot().unwrap();
    index.deliver_revocation(revocation("a", 70, &json!({"target": {"policy": "p"}})));
    let known = snapshot.decide(now(), |Scene { revocations, .. }| revocations.epochs());
    assert_eq!(known.namespaced, 70);
}

#[test]
fn who_was_told_that_there_is_no_room_makes_place_for_who_was_not() {
    let revocations = revocations();
    let of = |name: &str, status| {
        let number = name.trim_start_matches("r-");
        let spec = json!({"target": {"policy": format!("p-{number}")}});
        let mut one = revocation(name, 1, &spec);
        one.metadata.uid = Some(format!("00000000-0000-4000-8000-{number:0>12}"));
        one.status = serde_json::from_value(status).unwrap();
        Event::Apply(Stored(Ok(one)))
    };
    let said = json!({"conditions": [{
        "type": "Enforced", "status": "False", "reason": "TooMany", "message": "",
        "lastTransitionTime": "2026-11-01T00:00:00Z",
    }]});
    let many = 0..MOST_OF_NAMESPACE + MOST_LISTED + 3;
    let many = many.map(|number| of(&format!("r-{number}"), json!(null)));
    revocations.deliver(many.collect());
    let first = refused(&revocations);
    assert_eq!(first.len(), MOST_LISTED);
    let told = first.iter().map(|(name, _)| of(name, said.clone()));
    revocations.deliver(told.collect());
    let rest = refused(&revocations);
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().all(|one| !first.contains(one)));
}

#[test]
fn replicas_that_cannot_read_the_same_agree_however_many_and_in_whatever_order() {
    let all: Vec<_> = (0..MOST_LISTED + 5)
        .map(|i| unreadable(&format!("odd-{i}")))
        .collect();
    let (one, other) = (revocations(), revocations());
    let unread = |of: &Revocations| of.observed().borrow().unread;
    one.deliver(listed(all.iter().cloned()));
    other.deliver(all.iter().rev().cloned().map(Event::Apply).collect());
    assert_ne!(unread(&one), 0);
    assert_eq!(unread(&one), unread(&other));
    one.deliver(vec![Event::Delete(all[3].clone())]);
    assert_ne!(unread(&one), unread(&other));
    other.deliver(listed(
        all.iter()
            .rev()
            .filter(|o| o.meta() != all[3].meta())
            .cloned(),
    ));
    assert_eq!(unread(&one), unread(&other));
    one.deliver(all.into_iter().map(Event::Delete).collect());
    assert_eq!(unread(&one), 0);
}
