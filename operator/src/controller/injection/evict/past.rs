//! What is remembered of the owners of evicted pods, so that no pod is evicted that would come back as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

/// The owners of which a pod was evicted.
///
/// # Guarantees
/// Of one owner, another pod is evicted only once one that was created after the eviction runs with the sidecar. Where
/// that is not to be, none is as long as this lives. It remembers [`MOST`] owners, and where there are more, no pod of
/// the others is evicted; and where [`MOST_WAITING`] wait, no pod at all, [`MOST_OF_NAMESPACE`] of one namespace none of
/// that one.
#[derive(Debug, Default)]
pub(super) struct Past(BTreeMap<Key, Last>);

/// The namespace of an owner and its uid: whoever makes a pod says whose it is, and is to be believed of no other
/// namespace.
type Key = (Box<str>, Box<str>);

/// What came of the last eviction of an owner.
#[derive(Debug)]
enum Last {
    /// Nothing yet.
    Waiting {
        owner: ObjectReference,
        /// What is younger than that may be what took its place.
        since: Timestamp,
    },
    /// Nothing good.
    GivenUp,
    /// It was refused, which has been told.
    Failed,
}

impl Past {
    /// Whether a pod of that owner may be evicted.
    pub(super) fn allows(&self, owner: &ObjectReference) -> bool {
        match self.0.get(&key(owner)) {
            Some(Last::Waiting { .. } | Last::GivenUp) => return false,
            Some(Last::Failed) => {}
            None if self.is_full() => return false,
            None => {}
        }
        let beside = self.waiting().filter(|w| w.namespace == owner.namespace);
        beside.count() < MOST_OF_NAMESPACE && self.waiting().count() < MOST_WAITING
    }

    /// Whether it can remember no more owners.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// A pod of that owner is evicted now.
    pub(super) fn evicts(&mut self, owner: &ObjectReference, now: Timestamp) {
        let last = Last::Waiting {
            owner: owner.clone(),
            since: now - CLOCKS,
        };
        self.0.insert(key(owner), last);
    }

    /// It was not, and that need not be told.
    pub(super) fn was_not(&mut self, owner: &ObjectReference) {
        self.0.remove(&key(owner));
    }

    /// It was refused.
    pub(super) fn failed(&mut self, owner: &ObjectReference) {
        self.0.insert(key(owner), Last::Failed);
    }

    /// Whether the last one was refused.
    pub(super) fn has_failed(&self, owner: &ObjectReference) -> bool {
        matches!(self.0.get(&key(owner)), Some(Last::Failed))
    }

    /// A pod of that owner, which was created then, runs with the sidecar.
    pub(super) fn runs(&mut self, owner: &ObjectReference, created: Timestamp) {
        if self.is_after(owner, created) {
            self.0.remove(&key(owner));
        }
    }

    /// A pod of that owner, which was created then, lacks the sidecar. Whether none is evicted any more for that, from
    /// now on.
    pub(super) fn lacks(&mut self, owner: &ObjectReference, created: Timestamp) -> bool {
        let again = self.is_after(owner, created);
        if again {
            self.0.insert(key(owner), Last::GivenUp);
        }
        again
    }

    /// The owners for which nothing took the place of the evicted pod in time. None of theirs is evicted any more.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Vec<ObjectReference> {
        let mut overdue = Vec::new();
        for last in self.0.values_mut() {
            if let Last::Waiting { owner, since } = last
                && *since + PATIENCE < now
            {
                overdue.push(owner.clone());
                *last = Last::GivenUp;
            }
        }
        overdue
    }

    /// The namespaces in which something is waited for.
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        let namespaces = self.waiting().map(|owner| owner.namespace.clone());
        namespaces.flatten().collect()
    }

    fn waiting(&self) -> impl Iterator<Item = &ObjectReference> {
        self.0.values().filter_map(|last| match last {
            Last::Waiting { owner, .. } => Some(owner),
            Last::GivenUp | Last::Failed => None,
        })
    }

    fn is_after(&self, owner: &ObjectReference, created: Timestamp) -> bool {
        let last = self.0.get(&key(owner));
        matches!(last, Some(Last::Waiting { since, .. }) if created >= *since)
    }
}

fn key(owner: &ObjectReference) -> Key {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    (text(&owner.namespace), text(&owner.uid))
}

/// So many owners are remembered.
const MOST: usize = 1000;

/// For so many of them it is waited at a time: where pods do not come back, that is all that is missing.
const MOST_WAITING: usize = 10;

/// For so many of one namespace: there a policy may be wrong, and others are not to wait for that.
const MOST_OF_NAMESPACE: usize = 3;

/// How long is waited for what takes the place of a pod.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How far apart the clocks of the API server and of this replica may be, where both work. The former says when a pod was
/// created, to the second.
const CLOCKS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::noon;

    fn owner(namespace: &str, uid: &str) -> ObjectReference {
        ObjectReference {
            namespace: Some(namespace.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }
    }

    fn a() -> ObjectReference {
        owner("shop", "a")
    }

    fn after(seconds: i64) -> Timestamp {
        noon() + jiff::SignedDuration::from_secs(seconds)
    }

    /// Of [`a`], at noon.
    fn evicted() -> Past {
        let mut past = Past::default();
        past.evicts(&a(), noon());
        past
    }

    #[test]
    fn another_pod_of_an_owner_waits_for_one_that_runs_with_the_sidecar() {
        let mut past = evicted();
        assert!(!past.allows(&a()));
        assert!(past.allows(&owner("shop", "b")));
        past.runs(&a(), after(-11));
        assert!(!past.allows(&a()), "it was there before");
        past.runs(&owner("shop", "b"), after(5));
        past.runs(&owner("bank", "a"), after(5));
        assert!(!past.allows(&a()), "it is of another owner");
        past.runs(&a(), after(5));
        assert!(past.allows(&a()));
    }

    #[test]
    fn where_a_pod_came_back_as_it_was_that_is_told_once_and_it_is_the_last() {
        let mut past = evicted();
        assert!(!past.lacks(&a(), after(-11)), "it was there before");
        assert!(!past.lacks(&owner("shop", "b"), after(5)));
        assert!(!past.lacks(&owner("bank", "a"), after(5)));
        assert!(past.lacks(&a(), after(5)));
        assert!(!past.lacks(&a(), after(6)));
        past.runs(&a(), after(7));
        assert!(!past.allows(&a()));
        assert_eq!(past.namespaces(), BTreeSet::new());
    }

    #[test]
    fn what_comes_from_a_clock_that_is_behind_is_new_all_the_same() {
        let mut past = evicted();
        past.runs(&a(), after(-9));
        assert!(past.allows(&a()));
    }

    #[test]
    fn where_nothing_comes_in_half_an_hour_that_is_told_once_and_it_is_the_last() {
        let mut past = evicted();
        assert_eq!(past.overdue(after(1790)), []);
        assert_eq!(past.overdue(after(1791)), [a()]);
        assert_eq!(past.overdue(after(1792)), []);
        assert!(!past.allows(&a()));
    }

    #[test]
    fn while_three_of_a_namespace_wait_or_ten_of_all_no_other_is_evicted() {
        let mut past = Past::default();
        for n in 0..MOST_OF_NAMESPACE {
            assert!(past.allows(&a()), "{n}");
            past.evicts(&owner("shop", &format!("{n}")), noon());
        }
        assert!(!past.allows(&a()));
        for n in MOST_OF_NAMESPACE..MOST_WAITING {
            assert!(past.allows(&owner("bank", "b")), "{n}");
            past.evicts(&owner(&format!("n-{n}"), "c"), noon());
        }
        assert!(!past.allows(&owner("bank", "b")));
        assert!(past.lacks(&owner("shop", "1"), after(5)));
        assert!(past.allows(&a()), "that one is not waited for any more");
        assert!(past.allows(&owner("bank", "b")));
    }

    #[test]
    fn no_more_owners_are_remembered_than_there_is_room_for() {
        let mut past = Past::default();
        for n in 0..MOST {
            past.failed(&owner("shop", &format!("{n}")));
        }
        assert!(past.is_full());
        assert!(!past.allows(&a()));
        assert!(past.allows(&owner("shop", "7")), "it may be tried again");
    }
}
