//! Which pod of a namespace is evicted next.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

use super::super::pod::Lacking;
use crate::telemetry::label::Uninjected;

/// A pod that lacks the sidecar, and is made anew where it goes.
#[derive(Debug, Clone)]
pub(in super::super) struct Candidate {
    pub(super) age: Age,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owner: ObjectReference,
    /// What its replacement is of, too: a Deployment rather than one of its ReplicaSets.
    pub(super) workload: String,
    pub(super) reason: Uninjected,
}

/// When a pod was created, and its uid among those of the same second.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Age {
    pub(super) created: Timestamp,
    pub(super) uid: String,
}

/// The oldest of those that are offered; or, where one stayed when it was last asked for, the next one after that, so
/// that none keeps all others waiting.
#[derive(Debug, Default)]
pub(in super::super) struct Choice {
    after: Option<Age>,
    first: Option<Candidate>,
    next: Option<Candidate>,
}

impl Choice {
    /// `stayed` is the one that stayed.
    pub(in super::super) fn after(stayed: Option<Age>) -> Self {
        Self {
            after: stayed,
            ..Self::default()
        }
    }

    pub(in super::super) fn offer(&mut self, pod: &Lacking, reason: Uninjected) {
        let (Some(created), true) = (pod.created(), pod.is_replaced()) else {
            return;
        };
        let uid = pod.uid.clone();
        let age = Age { created, uid };
        let older = |than: &Option<Candidate>| than.as_ref().is_none_or(|c| age < c.age);
        let comes_after = self.after.as_ref().is_some_and(|stayed| age > *stayed);
        let (first, next) = (older(&self.first), comes_after && older(&self.next));
        if !first && !next {
            return;
        }
        let candidate = Candidate {
            age,
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            owner: pod.responsible(),
            workload: pod.made_by(),
            reason,
        };
        if next {
            self.next = Some(candidate.clone());
        }
        if first {
            self.first = Some(candidate);
        }
    }

    pub(in super::super) fn take(self) -> Option<Candidate> {
        self.next.or(self.first)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, minute: u32) -> Lacking {
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "orders", "uid": "o", "controller": true,
        });
        serde_json::from_value(json!({
            "namespace": "shop", "name": name, "uid": format!("uid-{name}"),
            "creationTimestamp": format!("2026-11-01T11:{minute:02}:00Z"), "ownerReferences": [owner],
        }))
        .unwrap()
    }

    fn chosen(stayed: Option<&Age>) -> Candidate {
        let mut choice = Choice::after(stayed.cloned());
        for (name, minute) in [("c", 2), ("b", 1), ("d", 2), ("a", 3)] {
            choice.offer(&pod(name, minute), Uninjected::Policy);
        }
        choice.take().unwrap()
    }

    #[test]
    fn each_has_its_turn_from_the_oldest_on_and_then_again() {
        let mut stayed = None;
        let mut names = Vec::new();
        for _ in 0..5 {
            let chosen = chosen(stayed.as_ref());
            names.push(chosen.name);
            stayed = Some(chosen.age);
        }
        assert_eq!(names, ["b", "c", "d", "a", "b"]);
    }

    #[test]
    fn what_nothing_makes_anew_is_no_choice() {
        let mut bare = pod("a", 1);
        bare.labels
            .insert("hallpass.dev/inject".to_owned(), "no".to_owned());
        let mut choice = Choice::default();
        choice.offer(&bare, Uninjected::Policy);
        assert!(choice.take().is_none());
    }
}
