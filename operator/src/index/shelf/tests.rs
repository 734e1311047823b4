use hallpass_core::name::Namespace;

use super::*;

fn filed<T>(namespace: &str, name: &str, record: T) -> Filed<Namespace, T> {
    Filed {
        within: Namespace::parse(namespace).unwrap(),
        name: name.into(),
        record,
    }
}

fn take(shelf: &Shelf<Namespace, u8>, event: Event<Filed<Namespace, u8>>) -> Vec<String> {
    let touched = shelf.take(event).into_iter();
    touched.map(|n| n.as_str().to_owned()).collect()
}

fn listed(objects: &[(&str, &str, u8)]) -> Shelf<Namespace, u8> {
    let shelf = Shelf::default();
    take(&shelf, Event::Init);
    for (namespace, name, record) in objects {
        take(&shelf, Event::InitApply(filed(namespace, name, *record)));
    }
    take(&shelf, Event::InitDone);
    shelf
}

#[test]
fn is_synced_only_after_a_whole_list() {
    let shelf = Shelf::default();
    take(&shelf, Event::Init);
    take(&shelf, Event::InitApply(filed("shop", "a", 1)));
    assert!(!shelf.synced());
    take(&shelf, Event::InitDone);
    assert!(shelf.synced());
    assert_eq!(shelf.get("shop", "a"), Some(1));
}

#[test]
fn its_size_follows_every_event() {
    let shelf = listed(&[("shop", "a", 1), ("shop", "b", 1), ("bank", "a", 1)]);
    let steps = [
        (Event::Apply(filed("shop", "a", 2)), 3),
        (Event::Apply(filed("shop", "c", 1)), 4),
        (Event::Delete(filed("bank", "a", 1)), 3),
        (Event::Delete(filed("bank", "a", 1)), 3),
        (Event::Init, 3),
        (Event::InitApply(filed("shop", "a", 2)), 3),
        (Event::InitApply(filed("mill", "a", 1)), 4),
        (Event::InitDone, 2),
    ];
    for (event, size) in steps {
        let what = format!("{event:?}");
        take(&shelf, event);
        assert_eq!(shelf.size(), size, "{what}");
    }
}

#[test]
fn a_new_list_takes_the_place_of_the_old_one_without_a_gap() {
    let shelf = listed(&[("shop", "a", 1), ("shop", "b", 1), ("bank", "a", 1)]);
    take(&shelf, Event::Init);
    take(&shelf, Event::InitApply(filed("shop", "a", 2)));
    take(&shelf, Event::InitApply(filed("bank", "a", 1)));
    assert_eq!(shelf.get("shop", "b"), Some(1), "the old list still serves");
    assert_eq!(take(&shelf, Event::InitDone), ["shop"], "b is gone");
    assert_eq!(shelf.get("shop", "a"), Some(2));
    assert_eq!(shelf.get("shop", "b"), None);
}

#[test]
fn a_list_that_is_broken_off_leaves_nothing_behind() {
    let shelf = listed(&[("shop", "a", 1), ("bank", "a", 1)]);
    take(&shelf, Event::Init);
    take(&shelf, Event::InitApply(filed("shop", "gone", 1)));
    let changed = Event::InitApply(filed("bank", "a", 2));
    assert_eq!(
        take(&shelf, changed),
        ["bank"],
        "it counts although that list never ends"
    );
    take(&shelf, Event::Init);
    take(&shelf, Event::InitApply(filed("shop", "a", 1)));
    take(&shelf, Event::InitApply(filed("bank", "a", 2)));
    assert_eq!(take(&shelf, Event::InitDone), ["shop"]);
    assert_eq!(shelf.get("shop", "gone"), None);
}

#[test]
fn what_comes_while_a_list_is_complete_stays_until_the_next() {
    let shelf = listed(&[("shop", "a", 1)]);
    take(&shelf, Event::Apply(filed("shop", "new", 1)));
    assert_eq!(shelf.get("shop", "new"), Some(1));
    take(&shelf, Event::Init);
    assert_eq!(shelf.get("shop", "new"), Some(1));
    take(&shelf, Event::InitApply(filed("shop", "a", 1)));
    assert_eq!(take(&shelf, Event::InitDone), ["shop"]);
    assert_eq!(shelf.get("shop", "new"), None);
}

#[test]
fn only_a_change_touches_a_namespace() {
    let shelf = listed(&[("shop", "a", 1)]);
    let apply = |record| take(&shelf, Event::Apply(filed("shop", "a", record)));
    assert_eq!(apply(1), [] as [&str; 0]);
    assert_eq!(apply(2), ["shop"]);
    let delete = || take(&shelf, Event::Delete(filed("shop", "a", 2)));
    assert_eq!(delete(), ["shop"]);
    assert_eq!(delete(), [] as [&str; 0]);
    assert_eq!(shelf.namespaces().len(), 0);
}

#[test]
fn what_comes_while_a_list_is_read_stays() {
    let shelf = listed(&[("shop", "a", 1), ("shop", "b", 1)]);
    take(&shelf, Event::Init);
    assert_eq!(
        take(&shelf, Event::Apply(filed("shop", "a", 1))),
        [] as [&str; 0]
    );
    assert_eq!(
        take(&shelf, Event::Apply(filed("shop", "new", 1))),
        ["shop"]
    );
    assert_eq!(take(&shelf, Event::InitDone), ["shop"], "b is gone");
    let of: Vec<_> = shelf.of("shop").into_keys().collect();
    assert_eq!(of, ["a".into(), "new".into()]);
}

#[test]
fn a_list_is_told_once_and_a_namespace_that_it_empties_is_none() {
    let shelf = listed(&[("shop", "a", 1), ("bank", "a", 1)]);
    take(&shelf, Event::Init);
    take(&shelf, Event::InitApply(filed("shop", "a", 1)));
    assert_eq!(take(&shelf, Event::InitDone), ["bank"]);
    assert_eq!(
        shelf.namespaces(),
        [Namespace::parse("shop").unwrap()].into()
    );
    take(&shelf, Event::Init);
    take(&shelf, Event::InitApply(filed("shop", "a", 1)));
    assert_eq!(take(&shelf, Event::InitDone), [] as [&str; 0]);
}

/// A record whose comparison panics where it is 0.
#[derive(Debug, Clone)]
struct Odd(u8);

impl PartialEq for Odd {
    fn eq(&self, other: &Self) -> bool {
        assert_ne!(other.0, 0, "injected");
        self.0 == other.0
    }
}

#[test]
fn f22_after_a_panic_amidst_an_event_it_is_read_and_takes_the_next() {
    let shelf = Shelf::default();
    let odd = |record| Event::Apply(filed("shop", "a", Odd(record)));
    shelf.take(odd(1));
    let amidst = std::panic::catch_unwind(|| shelf.take(odd(0))).unwrap_err();
    let said = amidst.downcast_ref::<String>().unwrap();
    assert!(said.contains("injected"), "{said}");
    assert_eq!(shelf.get("shop", "a"), Some(Odd(1)));
    shelf.take(odd(2));
    assert_eq!(shelf.get("shop", "a"), Some(Odd(2)));
}
