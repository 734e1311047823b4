//! Where to look, and in which order.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use hallpass_core::{name::Namespace, policy::Policy};

use super::pod::{INJECT, INJECTED};
use crate::index::Snapshot;

/// What asks for the sidecar in one namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Target {
    /// The namespace's own label does.
    pub(super) labelled: bool,
    /// The namespace's own label says anything else, so that no policy has a pod there get it.
    pub(super) closed: bool,
    /// These policies select pods that need it.
    pub(super) policies: Vec<Arc<Policy>>,
}

/// Every namespace where something does; never one where nothing is injected.
pub(super) fn targets(
    snapshot: &Snapshot,
    never: impl Fn(&Namespace) -> bool,
) -> BTreeMap<Namespace, Target> {
    let mut targets: BTreeMap<Namespace, Target> = BTreeMap::new();
    for namespace in snapshot.asking() {
        let policies = snapshot.rules().policies.of(namespace.as_str()).to_vec();
        if !policies.is_empty() {
            targets.entry(namespace).or_default().policies = policies;
        }
    }
    for namespace in snapshot.labelled(INJECT, INJECTED) {
        targets.entry(namespace).or_default().labelled = true;
    }
    for namespace in snapshot.saying(INJECT) {
        if let Some(target) = targets.get_mut(&namespace) {
            target.closed = !target.labelled;
        }
    }
    targets.retain(|namespace, _| !never(namespace));
    targets
}

/// The namespaces that are to be looked at.
///
/// # Guarantees
/// One that changed waits for one that did not, and no longer; nor does a namespace that changes all the time
/// keep the others waiting. Each has its turn before another has its second, however often all are marked.
#[derive(Debug, Default)]
pub(super) struct Queue {
    changed: BTreeSet<Namespace>,
    others: BTreeSet<Namespace>,
    /// Whose turn it was.
    changed_had: bool,
    /// Which of the others was last.
    last: Option<Namespace>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.others.is_empty()
    }

    /// These changed.
    pub(super) fn changed(&mut self, namespaces: impl IntoIterator<Item = Namespace>) {
        self.changed.extend(namespaces);
    }

    /// It is time to look at these again.
    pub(super) fn all(&mut self, namespaces: impl IntoIterator<Item = Namespace>) {
        self.others.extend(namespaces);
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<Namespace> {
        let others_turn = self.changed_had && !self.others.is_empty();
        self.changed_had = !others_turn && !self.changed.is_empty();
        let next = if self.changed_had {
            self.changed.pop_first()
        } else {
            self.next_other()
        };
        if let Some(next) = &next {
            self.others.remove(next);
            self.changed.remove(next);
        }
        next
    }

    /// In a circle: to take the first one each time would begin anew whenever all are marked.
    fn next_other(&mut self) -> Option<Namespace> {
        let after = self.last.as_ref().map_or(Unbounded, Excluded);
        let mut rest = self.others.range::<Namespace, _>((after, Unbounded));
        let next = rest.next().or_else(|| self.others.first()).cloned();
        self.last.clone_from(&next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Namespace> {
        names.iter().map(|n| Namespace::parse(n).unwrap()).collect()
    }

    #[test]
    fn one_that_changes_all_the_time_takes_every_second_turn() {
        let mut queue = Queue::default();
        queue.all(names(&["a", "b", "c"]));
        let mut order = vec![];
        for _ in 0..5 {
            queue.changed(names(&["loud"]));
            order.extend(queue.next());
        }
        assert_eq!(order, names(&["loud", "a", "loud", "b", "loud"]));
    }

    #[test]
    fn all_have_their_turn_however_often_all_are_marked() {
        let mut queue = Queue::default();
        let mut order = vec![];
        for _ in 0..4 {
            queue.all(names(&["a", "b", "c"]));
            order.extend(queue.next());
        }
        assert_eq!(order, names(&["a", "b", "c", "a"]));
    }

    #[test]
    fn one_that_changed_is_looked_at_once() {
        let mut queue = Queue::default();
        queue.all(names(&["a", "b"]));
        queue.changed(names(&["b"]));
        let order: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(order, names(&["b", "a"]));
        assert!(queue.is_empty());
    }
}
