//! What several revocations of one target come to, and how fast.

use super::{
    super::{
        set::Bounds,
        severity::{One, Severity},
    },
    *,
};

/// A token that nobody knew anything about who made it.
fn ignorant(issued: i64) -> Claims {
    Claims {
        known: Epochs::default(),
        ..token(issued)
    }
}

#[test]
fn t26_a_lock_that_spares_what_was_issued_since_refuses_what_nobody_was_to_issue() {
    let early = |raw: RawRevocation| RawRevocation {
        issued_before: Some(time(MADE - 600)),
        ..raw
    };
    let locked = set(&[early(lock(raw("a", account("orders")), None))]);
    assert!(refuses(&locked, &ignorant(MADE - 601)));
    assert!(
        !refuses(&locked, &ignorant(MADE - 6)),
        "issued before the lock"
    );
    // Two clocks may be five seconds apart.
    for issued in [MADE - 5, MADE, MADE + 60] {
        assert!(refuses(&locked, &ignorant(issued)), "{issued}");
        assert!(!refuses(&locked, &token(issued)), "its issuer knew");
    }
    let revoked = set(&[early(raw("a", account("orders")))]);
    assert!(!refuses(&revoked, &ignorant(MADE + 60)));
}

#[test]
fn t21_a_key_that_several_revoke_is_revoked_while_one_of_them_is_left() {
    let target = || RawTarget {
        key: Some("kid-1".into()),
        ..RawTarget::default()
    };
    let names = ["a", "b", "c"];
    let mut set = set(&names.map(|name| cluster(name, target())));
    // Its issuer knew of them all, and it was issued after them all: it is the key that refuses it.
    let later = token(MADE + 60);
    for name in names {
        assert!(refuses(&set, &later), "{name}");
        let (target, revocation) = cluster(name, target()).parse().unwrap();
        assert!(set.remove(&target, &revocation));
        set.settle(time(MADE));
    }
    assert!(!refuses(&set, &later));
}

#[test]
fn nothing_refuses_nothing() {
    assert!(!Severity::default().refuses(0, Epochs::default()));
}

#[test]
fn without_what_says_less_than_the_rest_they_are_as_severe() {
    let of = |before: i64, epoch: u64| {
        let (_, revocation) = raw("a", account("orders")).parse().unwrap();
        let revocation = Revocation {
            created: before,
            epoch,
            ..revocation
        };
        One::of(&revocation, false)
    };
    let (less, by_time, by_epoch) = (of(MADE, 5), of(MADE + 1, 4), of(MADE - 1, 6));
    let together: Severity = [less, by_time, by_epoch].into_iter().collect();
    assert!(!together.needs(less));
    assert!(together.needs(by_time) && together.needs(by_epoch));
}

prop_compose! {
    fn any_one()(
        of_cluster in any::<bool>(),
        locks in any::<bool>(),
        before in proptest::option::of(0i64..40),
        created in 0i64..40,
        epoch in 0u64..20,
    ) -> Revocation {
        let target = RawTarget { namespace: of_cluster.then(|| "shop".into()), ..account("orders") };
        let made = if of_cluster { cluster("a", target) } else { raw("a", target) };
        let (_, revocation) = if locks { lock(made, None) } else { made }.parse().unwrap();
        let terms = Terms { issued_before: before, ..revocation.terms().clone() };
        Revocation { terms: terms.kept(), created, epoch, ..revocation }
    }
}

proptest! {
    #[test]
    fn together_they_are_as_severe_as_the_most_severe_for_every_token(
        all in prop::collection::vec(any_one(), 0..8),
        issued in -10i64..50,
        namespaced in 0u64..20,
        cluster in 0u64..20,
    ) {
        let known = Epochs { namespaced, cluster };
        let each = || all.iter().map(|revocation| One::of(revocation, false));
        let together: Severity = each().collect();
        prop_assert_eq!(together.refuses(issued, known), each().any(|one| one.refuses(issued, known)));
        for index in 0..all.len() {
            let others = each().enumerate().filter(|(i, _)| *i != index);
            let others: Severity = others.map(|(_, one)| one).collect();
            let needed = all.get(index).is_some_and(|one| together.needs(One::of(one, false)));
            prop_assert!(needed || others == together, "{:?}", all.get(index));
        }
    }
}

/// Locks of one target, each a second younger than the one before it, that spare what was issued long ago.
fn steps(index: u32) -> (Target<'static>, Revocation) {
    let raw = RawRevocation {
        issued_before: Some(time(MADE - 600)),
        created: time(MADE + i64::from(index)),
        resource_version: (EPOCH + u64::from(index)).to_string(),
        uid: format!("{index:08x}-7c1c-4c5e-9f43-1a1c7a6f0b11"),
        ..raw(&format!("r-{index}"), account("orders"))
    };
    lock(raw, None).parse().unwrap()
}

/// How long it takes until so many have come, the youngest first, so that each of the last third takes the
/// place of another, and all but the oldest have gone; and whether it is settled after `each` of them.
fn come_and_go(stored: u32, each: bool) -> std::time::Duration {
    let (began, now) = (std::time::Instant::now(), time(MADE));
    let places = usize::try_from(stored * 2 / 3).unwrap();
    let mut set = RevocationSet::bounded(Bounds {
        namespace: places,
        ..Bounds::default()
    });
    for index in (0..stored).rev() {
        let (target, revocation) = steps(index);
        let _full = set.put(&target, revocation, now);
        if each {
            set.settle(now);
        }
    }
    set.settle(now);
    let last = stored * 2 / 3 - 1;
    let ignorant = |issued: u32| Claims {
        known: Epochs::only(Kind::Namespaced, EPOCH + u64::from(last) - 1),
        ..token(MADE + i64::from(issued))
    };
    assert!(refuses(&set, &ignorant(last - 4)));
    assert!(!refuses(&set, &ignorant(last - 6)));
    for index in (1..stored).rev() {
        let (target, revocation) = steps(index);
        assert!(set.remove(&target, &revocation));
        if each {
            set.settle(now);
        }
    }
    set.settle(now);
    assert_eq!(set.len(), 1);
    assert!(!refuses(&set, &ignorant(last - 4)));
    began.elapsed()
}

#[test]
fn t23_thousands_of_one_target_are_looked_at_once_however_many_come_and_go_together() {
    let (together, each) = (come_and_go(3000, false), come_and_go(3000, true));
    assert!(together * 2 < each, "{together:?}, {each:?} one by one");
}
