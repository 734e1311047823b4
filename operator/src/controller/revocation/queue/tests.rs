use std::collections::BTreeSet;

use hallpass_core::revocation::Cursor;
use serde_json::json;

use super::*;
use crate::index::{Index, fixture::revocation};

/// A queue of so many of each of those namespaces, of one age: they have rising uids.
fn queue(of: &[(&str, usize)]) -> (Queue, Index) {
    let index = Index::filled(vec![], vec![], vec![]);
    let all = of
        .iter()
        .enumerate()
        .flat_map(|(place, (namespace, count))| {
            (0..*count).map(move |i| {
                let name = format!("{namespace}-{i}");
                let spec = json!({"target": {"policy": name}});
                // no two objects have one uid
                let mut one = revocation(&name, (i * of.len() + place) as u64, &spec);
                one.metadata.namespace = Some((*namespace).to_owned());
                one
            })
        });
    index.revoke(all.collect(), vec![]);
    let mut queue = Queue::default();
    push_all(&mut queue, &index);
    (queue, index)
}

fn push_all(queue: &mut Queue, index: &Index) {
    index.revocations().ask(|set| {
        let (all, _) = set.page(Cursor::default(), usize::MAX);
        all.for_each(|one| queue.push(one.handle, one.revocation, one.namespace));
    });
}

fn next(queue: &mut Queue, index: &Index) -> Option<String> {
    match queue.next(true)? {
        Due::Stored(handle) => index.revocations().ask(|set| {
            let name = &set.find(handle)?.revocation.name;
            Some(name.as_str().to_owned())
        }),
        Due::Refused(place) => Some(place.2.into()),
    }
}

#[test]
fn one_of_each_namespace_is_next_and_what_comes_later_does_not_begin_anew() {
    let (mut queue, index) = queue(&[("a", 3), ("b", 3), ("c", 1)]);
    let mut next = || next(&mut queue, &index).unwrap();
    assert_eq!([next(), next()], ["a-2", "b-2"]);
    push_all(&mut queue, &index);
    let mut next = || tests::next(&mut queue, &index).unwrap();
    assert_eq!([next(), next(), next()], ["c-0", "a-2", "b-2"], "once each");
    assert_eq!([next(), next(), next()], ["a-1", "b-1", "a-0"]);
    assert_eq!(next(), "b-0");
    assert_eq!(tests::next(&mut queue, &index), None);
    assert!(queue.is_empty() && !queue.is_exhausted());
}

#[test]
fn of_too_many_the_newest_are_kept_and_nobody_is_next_whose_turn_is_not_known() {
    let (mut queue, index) = queue(&[("a", 9000), ("b", 9000), ("c", 2)]);
    assert!(queue.count < 2 * KEPT, "{}", queue.count);
    let mut names = Vec::new();
    while let Some(name) = next(&mut queue, &index) {
        names.push(name);
    }
    assert!(queue.is_exhausted() && !queue.is_empty());
    assert!(names.len() > KEPT / 2, "{}", names.len());
    // What was given is what would have been given of all.
    let mut expected: Vec<String> = Vec::new();
    for i in 0.. {
        let of = |namespace: &str, count: usize| {
            Some(format!("{namespace}-{}", count.checked_sub(i + 1)?))
        };
        expected.extend(
            [of("a", 9000), of("b", 9000), of("c", 2)]
                .into_iter()
                .flatten(),
        );
        if expected.len() >= names.len() {
            break;
        }
    }
    expected.truncate(names.len());
    assert_eq!(names, expected);
    queue.clear();
    push_all(&mut queue, &index);
    let next: BTreeSet<_> = (0..2).filter_map(|_| next(&mut queue, &index)).collect();
    assert_eq!(next.len(), 2);
}

#[test]
fn what_is_not_in_force_is_told_first_and_only_as_long_as_it_is_not() {
    let (mut queue, index) = queue(&[("a", 2)]);
    let place = |name: &str| (Kind::Namespaced, Some("a".into()), name.into());
    queue.refused([place("x"), place("y")].into_iter());
    queue.refused([place("x")].into_iter());
    let names: Vec<_> = std::iter::from_fn(|| next(&mut queue, &index)).collect();
    assert_eq!(names, ["x", "a-1", "a-0"]);
}
