//! Who waits, and who is next: the pure half of the admission.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use hallpass_core::name::Namespace;

/// Those who wait, by namespace.
///
/// # Guarantees
/// Between two turns of one namespace every other one that waits has one. Within a namespace the first is who
/// is nearest to expiry, then who has waited longest. Of [`MOST`] places there is always one left for a
/// namespace that has none: no namespace takes more of them than are free.
#[derive(Debug)]
pub(super) struct Line<T> {
    namespaces: BTreeMap<Namespace, BTreeMap<Place, T>>,
    count: usize,
    /// Whose turn it was.
    last: Option<Namespace>,
    arrivals: u64,
}

/// Where somebody stands among those of the same namespace: the smaller, the sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Seconds, as whoever asks says: it is believed among its neighbours alone.
    expires_in: u32,
    arrival: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            namespaces: BTreeMap::new(),
            count: 0,
            last: None,
            arrivals: 0,
        }
    }
}

impl<T> Line<T> {
    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Takes a place in the line; [`None`] where that namespace has as many as are left.
    pub(super) fn join(&mut self, namespace: &Namespace, expires_in: u32, who: T) -> Option<Place> {
        let there = self.namespaces.get(namespace).map_or(0, BTreeMap::len);
        if there >= MOST - self.count {
            return None;
        }
        let place = Place {
            expires_in,
            arrival: self.arrivals,
        };
        self.arrivals += 1;
        self.count += 1;
        let of = self.namespaces.entry(namespace.clone()).or_default();
        of.insert(place, who);
        Some(place)
    }

    /// Gives the place up, if it is still taken.
    pub(super) fn leave(&mut self, namespace: &Namespace, place: Place) {
        let Some(of) = self.namespaces.get_mut(namespace) else {
            return;
        };
        self.count -= usize::from(of.remove(&place).is_some());
        if of.is_empty() {
            self.namespaces.remove(namespace);
        }
    }

    /// Whose turn it is.
    pub(super) fn next(&mut self) -> Option<T> {
        let after = self.last.as_ref().map_or(Unbounded, Excluded);
        let rest = self.namespaces.range::<Namespace, _>((after, Unbounded));
        let namespace = rest.map(|(n, _)| n).next();
        let namespace = namespace.or_else(|| self.namespaces.keys().next())?.clone();
        let of = self.namespaces.get_mut(&namespace)?;
        let (_, who) = of.pop_first()?;
        self.count -= 1;
        if of.is_empty() {
            self.namespaces.remove(&namespace);
        }
        self.last = Some(namespace);
        Some(who)
    }
}

/// How many wait at most: what a replica has minted in the time that one waits, where the API server takes
/// 16 ms for each.
pub(super) const MOST: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn name(index: usize) -> Namespace {
        Namespace::parse(&format!("n-{index}")).unwrap()
    }

    #[test]
    fn f11_who_is_nearest_to_expiry_is_first_then_who_came_first() {
        let mut line = Line::default();
        for (who, expires_in) in [("late", 600), ("soon", 30), ("none", 0), ("too", 30)] {
            line.join(&name(0), expires_in, who).unwrap();
        }
        let order: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(order, ["none", "soon", "too", "late"]);
    }

    #[test]
    fn f11_ten_thousand_of_one_namespace_are_one_turn_to_another() {
        let mut line = Line::default();
        for _ in 0..10_000 {
            line.join(&name(1), 0, "many").unwrap();
        }
        for other in [0, 2] {
            // What another namespace says of its haste counts there alone.
            line.join(&name(other), u32::MAX, "single").unwrap();
            let turns = std::iter::from_fn(|| line.next());
            let before = turns.take_while(|who| *who == "many").count();
            assert!(before <= 1, "{before} turns of the other");
        }
    }

    #[test]
    fn f11_no_namespace_takes_all_the_room() {
        let mut line = Line::default();
        let filled =
            |line: &mut Line<()>, n| std::iter::from_fn(|| line.join(&name(n), 0, ())).count();
        assert_eq!(filled(&mut line, 0), MOST / 2);
        assert_eq!(filled(&mut line, 1), MOST / 4);
        for other in 2..100 {
            assert!(line.join(&name(other), 0, ()).is_some(), "n-{other}");
        }
        assert!(line.len() <= MOST);
        // Room that is given back is room again.
        while line.next().is_some() {}
        assert_eq!(line.len(), 0);
        assert_eq!(filled(&mut line, 0), MOST / 2);
    }

    #[test]
    fn who_leaves_has_no_turn_and_no_place() {
        let mut line = Line::default();
        let place = line.join(&name(0), 0, "gone").unwrap();
        line.join(&name(0), 5, "there").unwrap();
        line.leave(&name(0), place);
        line.leave(&name(0), place);
        assert_eq!(line.len(), 1);
        assert_eq!(line.next(), Some("there"));
        assert_eq!((line.next(), line.len()), (None, 0));
    }

    /// What happens: somebody comes, somebody's turn it is, or somebody leaves.
    #[derive(Debug, Clone)]
    enum Step {
        Join(usize, u32),
        Next,
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..6usize, 0..4u32).prop_map(|(n, e)| Step::Join(n, e)),
            2 => Just(Step::Next),
            1 => (0..200usize).prop_map(Step::Leave),
        ]
    }

    proptest! {
        #[test]
        fn f11_while_one_waits_no_other_namespace_has_two_turns(
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut line = Line::default();
            let mut waiting: BTreeMap<usize, BTreeMap<(u32, usize), Place>> = BTreeMap::new();
            // Who had turns since that namespace had one or began to wait.
            let mut since: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
            for (id, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Join(n, e) => {
                        let place = line.join(&name(n), e, (n, e, id)).unwrap();
                        if waiting.entry(n).or_default().insert((e, id), place).is_none()
                            && waiting[&n].len() == 1
                        {
                            since.insert(n, BTreeSet::new());
                        }
                    }
                    Step::Next => {
                        let Some((n, e, id)) = line.next() else {
                            prop_assert!(waiting.is_empty());
                            continue;
                        };
                        let of = waiting.get_mut(&n).unwrap();
                        prop_assert_eq!(of.pop_first().unwrap().0, (e, id));
                        if of.is_empty() {
                            waiting.remove(&n);
                        }
                        since.insert(n, BTreeSet::new());
                        for other in waiting.keys().filter(|other| **other != n) {
                            let first = since.entry(*other).or_default().insert(n);
                            prop_assert!(first, "n-{} had two turns before n-{}", n, other);
                        }
                    }
                    Step::Leave(which) => {
                        let all = waiting.iter().flat_map(|(n, of)| of.iter().map(|w| (*n, *w.0, *w.1)));
                        let all: Vec<_> = all.collect();
                        let Some((n, key, place)) = all.get(which % all.len().max(1)).copied() else {
                            continue;
                        };
                        line.leave(&name(n), place);
                        let of = waiting.get_mut(&n).unwrap();
                        of.remove(&key);
                        if of.is_empty() {
                            waiting.remove(&n);
                        }
                    }
                }
                prop_assert_eq!(line.len(), waiting.values().map(BTreeMap::len).sum::<usize>());
            }
        }
    }
}
