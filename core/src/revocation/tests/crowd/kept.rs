//! How many of those without a place are kept, and whose.

use super::*;
use crate::name::TokenId;

/// So few are kept that a new list is wanted often.
const FEWER: Bounds = Bounds { waiting: 3, ..FEW };

/// Does what is wanted: a list of what is stored.
fn list(set: &mut RevocationSet, stored: &[Stored]) {
    let wanted = |set: &RevocationSet| Kind::ALL.into_iter().find(|kind| set.wants_list(*kind));
    while let Some(kind) = wanted(set) {
        set.look_again(kind);
        for one in stored {
            let (target, revocation) = one.parse();
            if revocation.kind == kind {
                let _placed = set.put(&target, revocation, time(MADE));
            }
        }
        set.settle(time(MADE));
    }
}

proptest! {
    /// Whoever is not kept, a new list brings those that are to have a place.
    #[test]
    fn t23_the_oldest_are_in_force_after_a_list_however_few_are_kept(
        coming in prop::collection::vec(any_stored(), 0..40),
        going in prop::collection::vec(any::<bool>(), 40),
    ) {
        let mut seen = BTreeSet::new();
        let coming: Vec<Stored> = coming.into_iter().filter(|s| seen.insert(s.number)).collect();
        let mut set = RevocationSet::bounded(FEWER);
        let mut left = Vec::new();
        for (one, goes) in coming.iter().zip(going) {
            let (target, revocation) = one.parse();
            let _placed = set.put(&target, revocation, time(MADE));
            left.push(*one);
            if goes {
                let first = left.remove(left.len() / 2);
                let (target, revocation) = first.parse();
                set.remove(&target, &revocation);
                set.settle(time(MADE));
            }
            list(&mut set, &left);
            prop_assert_eq!(in_force(&set), Stored::placed(&left));
            prop_assert!(waiting(&set).len() <= 3);
            let lost = left.len() > set.len() + waiting(&set).len();
            prop_assert!(!lost || set.without_place() > waiting(&set).len());
        }
    }
}

proptest! {
    /// Otherwise replicas never agree on how many have no place, nor on what is in force everywhere.
    #[test]
    fn who_has_seen_much_come_and_go_counts_as_who_reads_it_all_anew(
        coming in prop::collection::vec(any_stored(), 0..40),
        going in prop::collection::vec(0usize..40, 0..40),
    ) {
        let mut seen = BTreeSet::new();
        let mut left: Vec<Stored> = coming.into_iter().filter(|s| seen.insert(s.number)).collect();
        let mut set = RevocationSet::bounded(FEWER);
        for one in &left {
            let _placed = puts(&mut set, *one, MADE);
        }
        list(&mut set, &left);
        for index in going.into_iter().chain(0..40) {
            if !left.is_empty() {
                let (target, revocation) = left.remove(index % left.len()).parse();
                set.remove(&target, &revocation);
                set.settle(time(MADE));
            }
            list(&mut set, &left);
            let mut anew = RevocationSet::bounded(FEWER);
            for one in &left {
                let _placed = puts(&mut anew, *one, MADE);
            }
            prop_assert_eq!(in_force(&set), in_force(&anew));
            prop_assert_eq!(set.without_place(), anew.without_place());
        }
    }
}

#[test]
fn beyond_what_is_kept_a_new_list_is_wanted_as_soon_as_there_is_room() {
    let mut set = RevocationSet::default();
    let one = |index: usize| {
        let raw = RawRevocation {
            uid: format!("{index:08x}-7c1c-4c5e-9f43-1a1c7a6f0b11"),
            ..raw(&format!("r-{index}"), account(&format!("a-{index}")))
        };
        raw.parse().unwrap()
    };
    let kind = Kind::Namespaced;
    let stored = MOST_OF_NAMESPACE + 10_000 + 2;
    for index in 0..stored {
        let (target, revocation) = one(index);
        let _full = set.put(&target, revocation, time(MADE));
    }
    assert_eq!(waiting(&set).len(), 10_000);
    assert!(!set.wants_list(kind), "it would bring nothing");
    for index in 0..10_002 {
        let (target, revocation) = one(index);
        assert!(set.remove(&target, &revocation));
    }
    set.settle(time(MADE));
    assert_eq!((set.len(), waiting(&set).len()), (9_998, 0));
    assert!(set.wants_list(kind) && !set.wants_list(Kind::Cluster));
    set.look_again(kind);
    assert!(!set.wants_list(kind));
    for index in 10_002..stored {
        let (target, revocation) = one(index);
        assert_eq!(set.put(&target, revocation, time(MADE)), Ok(()));
    }
    assert_eq!(set.len(), MOST_OF_NAMESPACE);
}

#[test]
fn of_each_kind_it_is_known_whether_there_are_more_than_are_kept() {
    let mut set = RevocationSet::bounded(FEWER);
    let of = |number: u8, namespace| Stored {
        age: number.into(),
        number,
        namespace,
        token: false,
    };
    for number in 0..20 {
        let _full = puts(&mut set, of(number, Some(number % 3)), MADE);
        let _full = puts(&mut set, of(number + 20, None), MADE);
    }
    assert_eq!((set.len(), waiting(&set).len()), (8, 3));
    let gone = [of(0, Some(0)), of(20, None)];
    for (target, revocation) in gone.map(Stored::parse) {
        assert!(set.remove(&target, &revocation));
    }
    assert_eq!(
        Kind::ALL.map(|kind| set.wants_list(kind)),
        [true, true],
        "there is a place"
    );
}

/// A token of that namespace, of which only the first two have a place.
fn token_of(namespace: u8, number: u8) -> Stored {
    Stored {
        age: number.into(),
        namespace: Some(namespace),
        ..given_back(number)
    }
}

#[test]
fn who_has_many_that_wait_hides_not_those_of_the_others() {
    let mut set = RevocationSet::bounded(Bounds {
        all_tokens: 6,
        ..FEWER
    });
    for number in 0..10 {
        let _full = puts(&mut set, token_of(1, number), MADE);
    }
    assert_eq!(waiting(&set), names([2, 3, 4]), "the oldest are kept");
    for number in 10..13 {
        let _full = puts(&mut set, token_of(2, number), MADE);
    }
    assert_eq!(waiting(&set), names([2, 3, 12]), "in place of the youngest");
    let _full = puts(&mut set, token_of(2, 13), MADE);
    assert_eq!(
        waiting(&set),
        names([2, 3, 12]),
        "of as many the youngest goes"
    );
    for number in 14..17 {
        let _full = puts(&mut set, token_of(0, number), MADE);
    }
    assert_eq!(waiting(&set), names([2, 12, 16]));
    assert!(set.without_place() > 3);
}

#[test]
fn a_place_is_kept_for_an_older_one_until_a_list_brings_it() {
    let of = |number: u8, namespace| Stored {
        age: number.into(),
        number,
        namespace: Some(namespace),
        token: false,
    };
    let first = (0..6).map(|number| of(number, number / 4));
    let rest = (6..10).map(|number| of(number, 2)).chain([of(10, 1)]);
    let all: Vec<Stored> = first.chain(rest).collect();
    // The youngest is brought by the list too, whether there is a place left for it or not.
    for (gone, before, after, wait) in [(3, 3..8, 3..9, 9..11), (5, 5..8, 5..11, 11..11)] {
        let mut set = RevocationSet::bounded(FEWER);
        for stored in &all {
            let _full = puts(&mut set, *stored, MADE);
        }
        assert_eq!(waiting(&set), names([6, 7, 10]));
        let (gone, left) = all.split_at(gone);
        for (target, revocation) in gone.iter().map(|one| one.parse()) {
            assert!(set.remove(&target, &revocation));
        }
        set.settle(time(MADE));
        assert_eq!(in_force(&set), names(before));
        list(&mut set, left);
        assert_eq!(in_force(&set), names(after));
        assert_eq!(waiting(&set), names(wait));
    }
}

/// Whether the token is refused that one names.
fn is_refused(set: &RevocationSet, stored: Stored) -> bool {
    let (target, _) = stored.parse();
    let Target::Token(Some(namespace), id) = target else {
        panic!("{target:?}");
    };
    let claims = Claims {
        namespace: Namespace::parse(&namespace).unwrap(),
        id: TokenId::parse(&id).unwrap(),
        ..token(MADE - 60)
    };
    refuses(set, &claims)
}

#[test]
fn t23_what_a_list_lacks_stays_in_force_though_the_list_brings_older_ones() {
    let mut set = RevocationSet::bounded(FEW);
    let young = [7, 8].map(|number| token_of(1, number));
    for one in young {
        assert_eq!(puts(&mut set, one, MADE), Ok(()));
    }
    // The state of before they were made is restored, with others that were deleted since.
    let old = [1, 2].map(|number| token_of(1, number));
    set.begin(Kind::Namespaced);
    for one in old {
        assert_eq!(puts(&mut set, one, MADE), Err(Full::Tokens));
    }
    let missing = set.finish(Kind::Namespaced, 9, time(MADE));
    assert_eq!(missing, Missing(2));
    list(&mut set, &old);
    assert!(young.iter().all(|one| is_refused(&set, *one)));
    assert_eq!(waiting(&set), names([1, 2]));
}

/// Something, and whether it was stored before a list, and is in it.
fn any_listed() -> impl Strategy<Value = (Stored, bool, bool)> {
    (any_stored(), any::<bool>(), prop::bool::weighted(0.9))
}

proptest! {
    #[test]
    fn t23_a_list_gives_the_places_to_the_oldest_but_not_those_of_what_it_lacks(
        all in prop::collection::vec(any_listed(), 0..40),
    ) {
        let mut seen = BTreeSet::new();
        let all: Vec<_> = all.into_iter().filter(|(one, ..)| seen.insert(one.number)).collect();
        let before = all.iter().filter(|(_, before, _)| *before).map(|(one, ..)| *one);
        let before: Vec<Stored> = before.collect();
        let listed = all.iter().filter(|(.., listed)| *listed).map(|(one, ..)| *one);
        let listed: Vec<Stored> = listed.collect();
        let mut set = RevocationSet::bounded(FEWER);
        for one in &before {
            let _placed = puts(&mut set, *one, MADE);
        }
        list(&mut set, &before);
        let lacks = |name: &String| !listed.iter().any(|one| *name == format!("r-{}", one.number));
        let lacking = in_force(&set).iter().filter(|name| lacks(name)).count();
        Kind::ALL.into_iter().for_each(|kind| set.begin(kind));
        for one in &listed {
            let _placed = puts(&mut set, *one, MADE);
        }
        let missing = Kind::ALL.map(|kind| set.finish(kind, 9, time(MADE)).0);
        prop_assert_eq!(missing.iter().sum::<usize>(), lacking);
        list(&mut set, &listed);
        if lacking == 0 {
            prop_assert_eq!(in_force(&set), Stored::placed(&listed));
        }
    }
}

fn names(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<String> {
    let names = numbers.into_iter().map(|number| format!("r-{number}"));
    names.collect()
}
