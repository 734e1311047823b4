//! What those ask who report on revocations.

use super::*;

fn numbered(number: usize) -> RawRevocation {
    let mut one = raw(&format!("r-{number}"), account(&format!("a-{number}")));
    one.uid = format!("0f2f4b9c-7c1c-4c5e-9f43-{number:012x}");
    one
}

fn remove(set: &mut RevocationSet, number: usize) {
    let (target, revocation) = numbered(number).parse().unwrap();
    assert!(set.remove(&target, &revocation));
    set.settle(time(MADE));
}

/// The names that are seen by who looks at 16 places at a time, with `between` after each.
fn seen(set: &mut RevocationSet, mut between: impl FnMut(&mut RevocationSet)) -> BTreeSet<String> {
    let (mut from, mut seen) = (Some(Cursor::default()), BTreeSet::new());
    while let Some(cursor) = from {
        let (page, next) = set.page(cursor, 16);
        seen.extend(page.map(|one| one.revocation.name.as_str().to_owned()));
        from = next;
        between(set);
    }
    seen
}

#[test]
fn who_is_there_all_the_time_is_seen_whoever_comes_and_goes() {
    let stays = || (0..100).map(|number| format!("r-{number}")).collect();
    let mut set = set(&(0..2000).map(numbered).collect::<Vec<_>>());
    // So many that the table gets smaller.
    let mut goes = 100..2000;
    let left = seen(&mut set, |set| {
        let some = goes.by_ref().take(50);
        some.for_each(|number| remove(set, number));
    });
    assert!(left.is_superset(&stays()), "some go");
    let mut comes = 1000..5000;
    let all = seen(&mut set, |set| {
        let some = comes.by_ref().take(50);
        some.for_each(|number| put(set, &numbered(number)));
    });
    assert!(all.is_superset(&stays()), "some come");
    // As many come as go, so that the table is put in order where it is.
    let (mut comes, mut goes) = (10_000..14_000, 1000..5000);
    let all = seen(&mut set, |set| {
        for number in comes.by_ref().take(40) {
            put(set, &numbered(number));
        }
        let some = goes.by_ref().take(40);
        some.for_each(|number| remove(set, number));
    });
    assert!(all.is_superset(&stays()), "some come and some go");
}

#[test]
fn what_came_or_has_another_status_is_told_once() {
    let names = |set: &mut RevocationSet| {
        let changed = set.changed().unwrap().into_iter();
        let found =
            changed.filter_map(|handle| Some(set.find(handle)?.revocation.name.to_string()));
        found.collect::<Vec<_>>()
    };
    let mut set = set(&[numbered(1), numbered(2)]);
    assert_eq!(names(&mut set), ["r-1", "r-2"]);
    put(&mut set, &numbered(1));
    assert_eq!(names(&mut set), [""; 0], "nothing is new");
    let mut told = numbered(1);
    told.reported = Reported::Enforced;
    put(&mut set, &told);
    put(&mut set, &numbered(3));
    remove(&mut set, 3);
    assert_eq!(names(&mut set), ["r-1"]);
    (0..5000).for_each(|number| put(&mut set, &numbered(number)));
    assert_eq!(set.changed(), None, "it may be any");
    assert_eq!(names(&mut set), [""; 0]);
}
