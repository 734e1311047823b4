//! What comes and goes: versions, lists, restores, and how much there is room for.

use super::*;

fn policy(name: &str) -> RawTarget {
    RawTarget {
        policy: Some(name.into()),
        ..RawTarget::default()
    }
}

#[test]
fn a_later_version_of_the_same_one_refuses_nothing_more() {
    let mut set = set(&[raw("a", account("orders"))]);
    let mut later = raw("a", account("orders"));
    later.resource_version = (EPOCH + 50).to_string();
    later.reported = Reported::Enforced;
    put(&mut set, &later);
    let between = Claims {
        known: Epochs::only(Kind::Namespaced, EPOCH),
        ..token(MADE)
    };
    assert!(!refuses(&set, &between));
    let reported: Vec<_> = set
        .iter()
        .map(|(_, r, within)| (r.reported, within))
        .collect();
    assert_eq!(reported, [(Reported::Enforced, Some("shop"))]);
    assert_eq!(set.len(), 1);
}

#[test]
fn another_one_of_the_same_name_takes_its_place() {
    let mut set = set(&[lock(raw("a", account("orders")), None)]);
    let mut second = raw("a", account("orders"));
    second.uid = "1f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11".into();
    put(&mut set, &second);
    assert!(set.admit(marks(), time(MADE)).is_ok(), "the lock is gone");
    assert_eq!(set.len(), 1);
}

#[test]
fn one_of_the_same_name_that_was_read_before_the_first_is_told_to_be_gone_stays() {
    let first = raw("a", account("orders"));
    let mut second = lock(first.clone(), None);
    second.uid = "1f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11".into();
    let mut set = set(&[first.clone(), second]);
    let (target, revocation) = first.parse().unwrap();
    assert!(!set.remove(&target, &revocation));
    set.settle(time(MADE));
    assert!(set.admit(marks(), time(MADE)).is_err(), "the lock is there");
}

#[test]
fn what_was_deleted_is_in_force_no_more() {
    let mut set = set(&[
        raw("a", account("orders")),
        lock(raw("b", account("orders")), None),
    ]);
    let (target, revocation) = raw("b", account("orders")).parse().unwrap();
    assert!(set.remove(&target, &revocation));
    assert!(!set.remove(&target, &revocation));
    assert!(set.admit(marks(), time(MADE)).is_ok());
    assert!(refuses(&set, &token(MADE - 1)));
    let (target, revocation) = raw("a", account("orders")).parse().unwrap();
    assert!(set.remove(&target, &revocation));
    assert!(!refuses(&set, &token(MADE - 1)));
    assert!(set.is_empty());
}

#[test]
fn what_a_list_lacks_stays_in_force_until_it_would_have_expired() {
    let mut set = set(&[raw("a", account("orders")), raw("b", policy("others"))]);
    set.begin(Kind::Namespaced);
    put(&mut set, &raw("b", policy("others")));
    assert_eq!(
        set.finish(Kind::Namespaced, 90, time(MADE + 60)),
        Missing(1)
    );
    assert!(refuses(&set, &token(MADE - 1)));
    assert_eq!(set.epochs().namespaced, 90, "numbers begin anew");
    let issued = |at| Claims {
        known: set.epochs(),
        ..token(at)
    };
    assert!(
        refuses(&set, &issued(MADE)),
        "it may have been issued before it in the same second"
    );
    let since = issued(MADE + 61);
    assert!(
        !refuses(&set, &since),
        "the numbers of before mean nothing now"
    );
    assert_eq!(set.iter().count(), 1, "it is not stored any more");
    // The next list lacks it too, which is nothing new.
    set.begin(Kind::Namespaced);
    put(&mut set, &raw("b", policy("others")));
    assert_eq!(
        set.finish(Kind::Namespaced, 90, time(MADE + 70)),
        Missing(0)
    );
    set.tidy(time(MADE + 3610));
    assert!(refuses(&set, &token(MADE - 1)));
    set.tidy(time(MADE + 3611));
    assert!(!refuses(&set, &token(MADE - 1)));
}

#[test]
fn a_lock_that_a_list_lacks_has_an_end() {
    let mut set = set(&[lock(raw("a", account("orders")), None)]);
    set.begin(Kind::Namespaced);
    assert_eq!(set.finish(Kind::Namespaced, 0, time(MADE + 60)), Missing(1));
    let until = MADE + 60 + 3610;
    assert!(set.admit(marks(), time(until - 1)).is_err());
    assert!(set.admit(marks(), time(until)).is_ok());
}

#[test]
fn whoever_writes_a_missing_one_anew_can_take_it_out() {
    let mut set = set(&[lock(raw("a", account("orders")), None)]);
    set.begin(Kind::Namespaced);
    set.finish(Kind::Namespaced, 0, time(MADE + 60));
    put(&mut set, &lock(raw("a", account("orders")), None));
    let (target, revocation) = raw("a", account("orders")).parse().unwrap();
    assert!(set.remove(&target, &revocation));
    assert!(set.admit(marks(), time(MADE + 61)).is_ok());
    assert!(set.is_empty());
}

#[test]
fn a_list_of_one_kind_says_nothing_about_the_other() {
    let mut target = account("orders");
    target.namespace = Some("shop".into());
    let mut set = set(&[cluster("a", target)]);
    set.begin(Kind::Namespaced);
    assert_eq!(set.finish(Kind::Namespaced, 3, time(MADE)), Missing(0));
    assert_eq!(
        set.epochs(),
        Epochs {
            namespaced: 3,
            cluster: EPOCH
        }
    );
    assert!(refuses(&set, &token(MADE - 1)));
}

fn numbered(index: usize, target: RawTarget) -> (Target<'static>, Revocation) {
    let mut raw = cluster(&format!("r-{index}"), target);
    raw.uid = format!("{index:08x}-7c1c-4c5e-9f43-1a1c7a6f0b11");
    raw.parse().unwrap()
}

fn pod(namespace: usize, index: usize) -> RawTarget {
    RawTarget {
        namespace: Some(format!("team-{namespace}")),
        pod: Some(format!("pod-{index}")),
        ..RawTarget::default()
    }
}

#[test]
fn t23_a_full_set_refuses_another_one_and_forgets_none() {
    let mut set = RevocationSet::default();
    for index in 0..MOST {
        let (target, revocation) = numbered(index, pod(index % 7, index));
        set.put(&target, revocation, time(MADE)).unwrap();
    }
    let (target, revocation) = numbered(MOST, account_in_shop());
    assert_eq!(set.put(&target, revocation, time(MADE)), Err(Full::Cluster));
    assert_eq!(set.len(), MOST);
    assert!(!refuses(&set, &token(MADE - 1)), "it is not in force");
    let (first, one) = numbered(0, pod(0, 0));
    assert!(set.keys().is_empty() && set.iter().count() == MOST);
    // What is known already can still change, and what goes makes room.
    set.put(&first, one.clone(), time(MADE)).unwrap();
    assert!(set.remove(&first, &one));
    set.settle(time(MADE));
    assert!(refuses(&set, &token(MADE - 1)));
    // So does what has nothing left to refuse, as soon as its status says so.
    set.tidy(time(MADE + 3610));
    assert_eq!((set.len(), set.iter().count()), (0, 10_000));
    let held = set
        .iter()
        .map(|(target, revocation, _)| (target.into_owned(), revocation.clone()));
    let (target, revocation) = held.take(1).next().unwrap();
    set.put(
        &target,
        Revocation {
            reported: Reported::Expired,
            ..revocation
        },
        time(MADE + 3610),
    )
    .unwrap();
    assert_eq!(set.iter().count(), 10_000);
    set.tidy(time(MADE + 3610));
    assert_eq!(set.iter().count(), 9_999);
}

fn account_in_shop() -> RawTarget {
    RawTarget {
        namespace: Some("shop".into()),
        ..account("orders")
    }
}

#[test]
fn t23_one_namespace_takes_not_the_room_of_the_others() {
    let mut set = RevocationSet::default();
    let greedy = |index: usize| RawRevocation {
        namespace: Some("greedy".into()),
        uid: format!("{index:08x}-7c1c-4c5e-9f43-1a1c7a6f0b11"),
        ..raw(&format!("r-{index}"), policy(&format!("p-{index}")))
    };
    for index in 0..MOST_OF_NAMESPACE {
        put(&mut set, &greedy(index));
    }
    let (target, revocation) = greedy(MOST_OF_NAMESPACE).parse().unwrap();
    assert_eq!(
        set.put(&target, revocation, time(MADE)),
        Err(Full::Namespace)
    );
    put(&mut set, &raw("a", account("orders")));
    let (target, revocation) = numbered(1, pod(1, 1));
    set.put(&target, revocation, time(MADE)).unwrap();
    assert_eq!(set.len(), MOST_OF_NAMESPACE + 2);
}

#[test]
fn what_has_nothing_left_to_refuse_is_held_up_to_a_bound() {
    let mut set = RevocationSet::default();
    let kept = |raw: RawRevocation| RawRevocation {
        ttl_seconds_after_expired: Some(86_400),
        ..raw
    };
    let later = MADE + 3610;
    let put_at = |set: &mut RevocationSet, index: usize, now: i64| {
        let raw = kept(cluster(&format!("r-{index}"), pod(1, index)));
        let (target, revocation) = raw.parse().unwrap();
        set.put(&target, revocation, time(now)).unwrap();
    };
    for index in 0..11_000 {
        put_at(&mut set, index, MADE);
    }
    assert_eq!((set.len(), set.iter().count()), (11_000, 11_000));
    set.tidy(time(later));
    assert_eq!((set.len(), set.iter().count()), (0, 10_000));
    let wanted = set.wants_list(Kind::Cluster);
    assert!(!wanted, "what it would bring could not be held");
    put_at(&mut set, 20_000, later);
    assert_eq!(set.iter().count(), 10_000);
    let held = set
        .iter()
        .map(|(target, revocation, _)| (target.into_owned(), revocation.clone()));
    let (target, one) = held.take(1).next().unwrap();
    assert!(set.remove(&target, &one));
    put_at(&mut set, 20_000, later);
    assert_eq!(set.iter().count(), 10_000);
}

#[test]
fn which_keys_are_revoked_is_known() {
    let key = |name: &str, kid: &str| {
        let target = RawTarget {
            key: Some(kid.into()),
            ..RawTarget::default()
        };
        cluster(name, target)
    };
    let mut set = set(&[key("a", "kid-1"), key("b", "kid-1"), key("c", "kid-2")]);
    let kids = |set: &RevocationSet| {
        set.keys()
            .iter()
            .map(|kid| kid.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(kids(&set), ["kid-1", "kid-2"]);
    for (name, left) in [("a", &["kid-1", "kid-2"][..]), ("b", &["kid-2"])] {
        let (target, revocation) = key(name, "kid-1").parse().unwrap();
        set.remove(&target, &revocation);
        assert_eq!(kids(&set), left);
    }
}

#[test]
fn that_of_a_key_stays_though_no_list_has_it() {
    let target = RawTarget {
        key: Some("kid-1".into()),
        ..RawTarget::default()
    };
    let mut set = set(&[cluster("a", target)]);
    set.begin(Kind::Cluster);
    assert_eq!(set.finish(Kind::Cluster, 0, time(MADE + 9000)), Missing(1));
    set.tidy(time(MADE + 9000));
    assert!(
        refuses(&set, &token(MADE + 9000)),
        "the key may be back too"
    );
    assert!(set.keys().contains("kid-1"));
}
