//! Who has a place where there are too few.

use super::{super::set::Bounds, *};

mod kept;

const FEW: Bounds = Bounds {
    all: 8,
    own: 6,
    all_tokens: 3,
    namespace: 4,
    tokens: 2,
    waiting: 30,
};

/// What is stored: its number decides about its age, its namespace, and what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stored {
    age: i64,
    number: u8,
    namespace: Option<u8>,
    token: bool,
}

impl Stored {
    fn parse(self) -> (Target<'static>, Revocation) {
        let Self { age, number, .. } = self;
        let own = self.namespace.map(|n| format!("team-{n}"));
        let id = format!("0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b{number:02x}");
        let target = RawTarget {
            token_id: self.token.then(|| id.clone()),
            service_account: (!self.token).then(|| format!("account-{}", number % 5)),
            namespace: (own.is_none() && !self.token).then(|| "team-0".into()),
            ..RawTarget::default()
        };
        let raw = RawRevocation {
            namespace: own,
            uid: id,
            created: time(MADE + age),
            ..cluster(&format!("r-{number}"), target)
        };
        raw.parse().unwrap()
    }

    /// The names of those that have a place, by definition: whoever is older comes first.
    fn placed(all: &[Self]) -> BTreeSet<String> {
        let mut all = all.to_vec();
        all.sort();
        let mut placed: Vec<Self> = Vec::new();
        for one in all {
            let count = |of: &dyn Fn(&Self) -> bool| placed.iter().filter(|p| of(p)).count();
            let same = |p: &Self| p.namespace == one.namespace;
            let tokens = |p: &Self| p.namespace.is_some() && p.token;
            let of_share = count(&|p| same(p) && p.token == one.token);
            let own = one.namespace.is_none()
                || (count(&|p| p.namespace.is_some()) < FEW.own
                    && if one.token {
                        of_share < FEW.tokens && count(&tokens) < FEW.all_tokens
                    } else {
                        of_share < FEW.namespace
                    });
            if own && placed.len() < FEW.all {
                placed.push(one);
            }
        }
        placed
            .iter()
            .map(|one| format!("r-{}", one.number))
            .collect()
    }
}

fn in_force(set: &RevocationSet) -> BTreeSet<String> {
    set.iter().map(|(_, r, _)| r.name.to_string()).collect()
}

fn waiting(set: &RevocationSet) -> BTreeSet<String> {
    set.waiting()
        .map(|(_, r, _, _)| r.name.to_string())
        .collect()
}

prop_compose! {
    fn any_stored()(
        number in 0u8..30,
        age in 0i64..4,
        namespace in proptest::option::weighted(0.8, 0u8..3),
        token in any::<bool>(),
    ) -> Stored {
        Stored { age, number, namespace, token }
    }
}

proptest! {
    /// Whatever the order in which they came and went, and whether by a watch or by a list.
    #[test]
    fn t23_the_oldest_are_in_force_on_every_replica(
        coming in prop::collection::vec(any_stored(), 0..40),
        going in prop::collection::vec(any::<bool>(), 40),
        settles in prop::collection::vec(any::<bool>(), 40),
        again in any::<bool>(),
    ) {
        let mut seen = BTreeSet::new();
        let coming: Vec<Stored> = coming.into_iter().filter(|s| seen.insert(s.number)).collect();
        let mut set = RevocationSet::bounded(FEW);
        let mut left = Vec::new();
        for ((one, goes), settles) in coming.iter().zip(going).zip(settles) {
            let (target, revocation) = one.parse();
            let placed = set.put(&target, revocation, time(MADE));
            left.push(*one);
            prop_assert_eq!(placed.is_ok(), in_force(&set).contains(&format!("r-{}", one.number)));
            prop_assert_eq!(in_force(&set), Stored::placed(&left));
            if goes {
                let first = left.remove(left.len() / 2);
                let (target, revocation) = first.parse();
                prop_assert!(set.remove(&target, &revocation));
            }
            if settles {
                set.settle(time(MADE));
                prop_assert_eq!(in_force(&set), Stored::placed(&left));
            }
            prop_assert_eq!(set.len() + waiting(&set).len(), left.len());
        }
        if again {
            left.reverse();
            for kind in Kind::ALL {
                set.begin(kind);
                for one in &left {
                    let (target, revocation) = one.parse();
                    if revocation.kind == kind {
                        let _placed = set.put(&target, revocation, time(MADE));
                    }
                }
                prop_assert_eq!(set.finish(kind, 9, time(MADE)), Missing(0));
            }
            prop_assert_eq!(in_force(&set), Stored::placed(&left));
        }
        for one in &left {
            let (target, revocation) = one.parse();
            set.remove(&target, &revocation);
        }
        set.settle(time(MADE));
        prop_assert!(set.is_empty() && waiting(&set).is_empty() && in_force(&set).is_empty());
    }
}

/// A token of that namespace.
fn given_back(number: u8) -> Stored {
    Stored {
        age: 0,
        number,
        namespace: Some(1),
        token: true,
    }
}

fn puts(set: &mut RevocationSet, stored: Stored, now: i64) -> Result<(), Full> {
    let (target, revocation) = stored.parse();
    set.put(&target, revocation, time(now))
}

#[test]
fn t23_tokens_that_pods_give_back_leave_room_for_a_lock() {
    let mut set = RevocationSet::bounded(FEW);
    assert_eq!(puts(&mut set, given_back(1), MADE), Ok(()));
    assert_eq!(puts(&mut set, given_back(2), MADE), Ok(()));
    let (target, _) = given_back(3).parse();
    assert_eq!(set.has_room(Kind::Namespaced, &target), Err(Full::Tokens));
    assert_eq!(puts(&mut set, given_back(3), MADE), Err(Full::Tokens));
    let lock = Stored {
        token: false,
        age: 9,
        ..given_back(4)
    };
    assert_eq!(set.has_room(Kind::Namespaced, &lock.parse().0), Ok(()));
    assert_eq!(puts(&mut set, lock, MADE), Ok(()));
}

#[test]
fn t23_tokens_that_are_given_back_in_many_namespaces_leave_room_for_the_locks_of_others() {
    let mut set = RevocationSet::bounded(FEW);
    let of = |number, namespace| Stored {
        namespace: Some(namespace),
        ..given_back(number)
    };
    for number in 0..3 {
        assert_eq!(puts(&mut set, of(number, number), MADE), Ok(()));
    }
    assert_eq!(puts(&mut set, of(3, 3), MADE), Err(Full::AllTokens));
    for number in 4..7 {
        let lock = Stored {
            token: false,
            age: 9,
            ..of(number, 3)
        };
        assert_eq!(puts(&mut set, lock, MADE), Ok(()));
    }
}

#[test]
fn t23_namespaces_leave_room_for_the_kind_of_the_cluster() {
    let mut set = RevocationSet::bounded(FEW);
    let own = |number, namespace| Stored {
        age: 0,
        number,
        namespace: Some(namespace),
        token: false,
    };
    for number in 0..6 {
        assert_eq!(puts(&mut set, own(number, number % 2), MADE), Ok(()));
    }
    assert_eq!(puts(&mut set, own(6, 2), MADE), Err(Full::Own));
    for number in 7..9 {
        let all = Stored {
            namespace: None,
            ..own(number, 0)
        };
        assert_eq!(puts(&mut set, all, MADE), Ok(()));
    }
    assert_eq!(set.len(), 8);
}

#[test]
fn what_waits_until_it_has_nothing_left_to_refuse_is_held_for_its_status() {
    let mut set = RevocationSet::bounded(FEW);
    for number in 1..4 {
        let _full = puts(&mut set, given_back(number), MADE);
    }
    assert_eq!((set.len(), waiting(&set).len()), (2, 1));
    set.tidy(time(MADE + 3610));
    assert_eq!((set.len(), waiting(&set).len()), (0, 0));
    assert_eq!(in_force(&set).len(), 3, "their status is to say it");
}

#[test]
fn what_waits_has_an_end_though_no_place_becomes_free() {
    let mut set = RevocationSet::bounded(Bounds { all: 1, ..FEW });
    let mut endless = lock(raw("a", account("orders")), None);
    endless.created = time(MADE - 1);
    put(&mut set, &endless);
    assert_eq!(puts(&mut set, given_back(1), MADE), Err(Full::Cluster));
    set.tidy(time(MADE + 3609));
    assert_eq!((in_force(&set).len(), waiting(&set).len()), (1, 1));
    set.tidy(time(MADE + 3610));
    assert_eq!((in_force(&set).len(), waiting(&set).len()), (2, 0));
    assert_eq!(set.len(), 1, "it has no place");
}

#[test]
fn t23_what_a_list_lacks_keeps_its_place() {
    let mut set = RevocationSet::bounded(FEW);
    let young = Stored {
        age: 9,
        ..given_back(1)
    };
    for stored in [young, given_back(2), given_back(3)] {
        let _full = puts(&mut set, stored, MADE);
    }
    assert!(waiting(&set).contains("r-1"), "the oldest have the places");
    // Of the two with a place the younger is missing now, and nobody has seen it deleted.
    set.begin(Kind::Namespaced);
    puts(&mut set, given_back(2), MADE).unwrap();
    assert_eq!(puts(&mut set, young, MADE), Err(Full::Tokens));
    assert_eq!(set.finish(Kind::Namespaced, 9, time(MADE)), Missing(1));
    let older = Stored {
        age: -9,
        ..given_back(4)
    };
    assert_eq!(
        puts(&mut set, older, MADE),
        Ok(()),
        "another one makes room"
    );
    let oldest = Stored {
        age: -10,
        ..given_back(5)
    };
    assert_eq!(puts(&mut set, oldest, MADE), Ok(()));
    assert_eq!(
        (in_force(&set), set.len()),
        (BTreeSet::from(["r-5".to_owned()]), 2),
        "the missing one is in force, though it is stored no more"
    );
}

#[test]
fn what_waits_and_is_not_in_a_list_of_its_kind_waits_no_more() {
    let mut set = RevocationSet::bounded(Bounds { all: 2, ..FEW });
    let cluster = Stored {
        namespace: None,
        ..given_back(9)
    };
    for stored in [1, 2, 3, 4].map(given_back).into_iter().chain([cluster]) {
        let _full = puts(&mut set, stored, MADE);
    }
    assert_eq!(in_force(&set).len(), 2);
    set.begin(Kind::Namespaced);
    for number in [1, 2, 4] {
        let _full = puts(&mut set, given_back(number), MADE);
    }
    assert_eq!(set.finish(Kind::Namespaced, 9, time(MADE)), Missing(0));
    let expected = ["r-4", "r-9"].map(str::to_owned);
    assert_eq!(waiting(&set), BTreeSet::from(expected));
}

#[test]
fn those_whose_status_says_that_they_are_over_go_for_those_of_which_it_does_not() {
    let mut set = RevocationSet::default();
    let over = |index: usize, reported| {
        let raw = RawRevocation {
            ttl_seconds_after_expired: Some(86_400),
            uid: format!("{index:08x}-7c1c-4c5e-9f43-1a1c7a6f0b11"),
            reported,
            ..raw(&format!("r-{index}"), account(&format!("a-{index}")))
        };
        raw.parse().unwrap()
    };
    let now = time(MADE + 3610);
    let put = |set: &mut RevocationSet, index, reported| {
        let (target, revocation) = over(index, reported);
        set.put(&target, revocation, now).unwrap();
    };
    for index in 0..10_000 {
        put(&mut set, index, Reported::Expired);
    }
    put(&mut set, 10_000, Reported::Enforced);
    assert!(!in_force(&set).contains("r-10000"));
    set.tidy(now);
    put(&mut set, 10_000, Reported::Enforced);
    assert_eq!(in_force(&set), BTreeSet::from(["r-10000".to_owned()]));
    assert!(set.wants_list(Kind::Namespaced), "for those that went");
}

#[test]
fn who_waits_comes_before_who_came_since_a_place_became_free() {
    let mut set = RevocationSet::bounded(FEW);
    for number in 1..4 {
        let _full = puts(&mut set, given_back(number), MADE);
    }
    let (target, revocation) = given_back(1).parse();
    assert!(set.remove(&target, &revocation));
    assert_eq!(puts(&mut set, given_back(4), MADE), Err(Full::Tokens));
    set.settle(time(MADE));
    let expected = ["r-2", "r-3"].map(str::to_owned);
    assert_eq!(in_force(&set), BTreeSet::from(expected));
    // One that was made anew is another one, and younger.
    let anew = Stored {
        age: 5,
        ..given_back(2)
    };
    let (target, mut revocation) = anew.parse();
    revocation.uid = given_back(9).parse().1.uid;
    assert_eq!(set.put(&target, revocation, time(MADE)), Err(Full::Tokens));
    let expected = ["r-3", "r-4"].map(str::to_owned);
    assert_eq!(in_force(&set), BTreeSet::from(expected));
}
