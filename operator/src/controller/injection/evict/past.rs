//! What is remembered of evictions, so that a mistake costs one pod and no cluster.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

use super::{
    super::pod::Lacking,
    choice::{Age, Candidate},
};

/// What became of evictions, by namespace.
///
/// # Guarantees
/// In a namespace one pod is evicted at a time, and another only once what took its place is ready with the sidecar. The
/// first of all is evicted alone: until one was ready, no other is. Where it is not to be, no pod of the namespace is evicted
/// any more; where that was so of the first of all, or [`MOST_FAILED`] times in a row, none of the cluster.
#[derive(Debug, Default)]
pub(super) struct Past {
    places: BTreeMap<String, Place>,
    /// Whether one came back with the sidecar.
    proven: bool,
    /// How many did not since the last one that did.
    failed: usize,
}

#[derive(Debug, Default)]
struct Place {
    state: State,
    /// One that stayed when it was asked for.
    stayed: Option<Age>,
    /// That one stayed has been told.
    told: bool,
    /// Since the last look began, one was asked for.
    tried: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Free,
    Waiting(Box<Gone>),
    Stopped,
}

/// A pod that was evicted.
#[derive(Debug, Clone)]
pub(super) struct Gone {
    pub(super) owner: ObjectReference,
    workload: String,
    /// When, as the API server may tell it.
    at: Timestamp,
    since: Instant,
}

impl Gone {
    pub(super) fn new(pod: &Candidate, at: Timestamp, since: Instant) -> Self {
        Self {
            owner: pod.owner.clone(),
            workload: pod.workload.clone(),
            at,
            since,
        }
    }

    /// Whether that pod may have taken its place. One that was there a moment before shows as well that pods like it
    /// get the sidecar.
    pub(super) fn may_be_replaced_by(&self, pod: &Lacking) -> bool {
        self.is_like(pod) && pod.created().is_some_and(|at| at + CLOCKS >= self.at)
    }

    /// Whether that pod, which lacks the sidecar, came after it.
    pub(super) fn came_back_as(&self, pod: &Lacking) -> bool {
        self.is_like(pod) && pod.created().is_some_and(|at| at > self.at)
    }

    /// Whether it is waited for no longer.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        now - self.since > PATIENCE
    }

    fn is_like(&self, pod: &Lacking) -> bool {
        pod.counts() && pod.made_by() == self.workload
    }
}

impl Past {
    /// Another look begins.
    pub(super) fn begin(&mut self) {
        let known = |place: &Place| place.tried || !matches!(place.state, State::Free);
        self.places.retain(|_, place| known(place));
        for place in self.places.values_mut() {
            place.tried = false;
        }
    }

    /// The pod of that namespace that stayed when it was last asked for.
    pub(super) fn stayed(&self, namespace: &str) -> Option<Age> {
        self.places.get(namespace)?.stayed.clone()
    }

    /// Whether a pod of that namespace may be asked for in this look.
    pub(super) fn allows(&self, namespace: &str) -> bool {
        let room = if self.proven { MOST_WAITING } else { 1 };
        let place = self.places.get(namespace);
        let free = place.is_none_or(|p| !p.tried && matches!(p.state, State::Free));
        free && !self.has_stopped() && self.waiting().count() < room
    }

    /// Whether none of the cluster is evicted any more.
    pub(super) fn has_stopped(&self) -> bool {
        self.failed >= if self.proven { MOST_FAILED } else { 1 }
    }

    /// In so many namespaces none is evicted any more.
    pub(super) fn stopped(&self) -> usize {
        let stopped = |place: &&Place| matches!(place.state, State::Stopped);
        self.places.values().filter(stopped).count()
    }

    /// For whom is waited, and where.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&str, &Gone)> {
        self.places
            .iter()
            .filter_map(|(namespace, place)| match &place.state {
                State::Waiting(gone) => Some((namespace.as_str(), &**gone)),
                State::Free | State::Stopped => None,
            })
    }

    /// A pod of that namespace is asked for.
    pub(super) fn tries(&mut self, namespace: &str) {
        self.place(namespace).tried = true;
    }

    /// It goes, or may go.
    pub(super) fn goes(&mut self, namespace: &str, gone: Gone) {
        let place = self.place(namespace);
        place.state = State::Waiting(Box::new(gone));
        (place.stayed, place.told) = (None, false);
    }

    /// It stays. Whether that has been told of one there before.
    pub(super) fn stays(&mut self, namespace: &str, pod: &Age) -> bool {
        let place = self.place(namespace);
        place.state = State::Free;
        place.stayed = Some(pod.clone());
        std::mem::replace(&mut place.told, true)
    }

    /// What took the place of the one that is waited for there is ready with the sidecar.
    pub(super) fn came_back(&mut self, namespace: &str) {
        self.place(namespace).state = State::Free;
        (self.proven, self.failed) = (true, 0);
    }

    /// It is not to be.
    pub(super) fn stop(&mut self, namespace: &str) {
        self.place(namespace).state = State::Stopped;
        self.failed += 1;
    }

    fn place(&mut self, namespace: &str) -> &mut Place {
        self.places.entry(namespace.to_owned()).or_default()
    }
}

/// In so many namespaces it is waited at a time.
const MOST_WAITING: usize = 5;

/// So many in a row may not come back.
const MOST_FAILED: usize = 3;

/// How long is waited for what takes the place of a pod.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How far apart the clocks of the API server and of this replica may be, where both work. The former says when a pod was
/// created, to the second. Where they are further apart, no replacement is found and the namespace is stopped.
const CLOCKS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::choice::Choice, *};
    use crate::{controller::fixture::noon, telemetry::label::Uninjected};

    fn pod(set: &str, time: &str) -> Value {
        json!({
            "namespace": "shop", "name": "orders", "uid": "u", "labels": {"pod-template-hash": set},
            "creationTimestamp": format!("2026-11-01T{time}Z"),
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("orders-{set}"),
                "uid": format!("uid-{set}"), "controller": true,
            }],
        })
    }

    fn gone() -> Gone {
        let mut choice = Choice::default();
        let pod = serde_json::from_value(pod("a", "11:00:00")).unwrap();
        choice.offer(&pod, Uninjected::Policy);
        Gone::new(&choice.take().unwrap(), noon(), Instant::now())
    }

    /// How many of the namespaces `n-0`, `n-1` and so on may have a pod evicted before no more may.
    fn room(past: &mut Past) -> usize {
        let goes = |n: &usize| {
            let namespace = format!("n-{n}");
            let allowed = past.allows(&namespace);
            past.goes(&namespace, gone());
            allowed
        };
        (0..20).take_while(goes).count()
    }

    fn proven() -> Past {
        let mut past = Past::default();
        past.goes("first", gone());
        past.came_back("first");
        past
    }

    #[test]
    fn the_first_of_all_goes_alone() {
        assert_eq!(room(&mut Past::default()), 1);
        assert_eq!(room(&mut proven()), MOST_WAITING);
    }

    #[test]
    fn where_the_first_of_all_did_not_come_back_none_goes_any_more() {
        let mut past = Past::default();
        past.goes("first", gone());
        past.stop("first");
        assert!(past.has_stopped());
        assert_eq!(room(&mut past), 0);
    }

    #[test]
    fn three_that_did_not_come_back_in_a_row_are_the_last() {
        let mut past = proven();
        for namespace in ["a", "b"] {
            past.stop(namespace);
        }
        past.goes("c", gone());
        past.came_back("c");
        for namespace in ["d", "e"] {
            past.stop(namespace);
        }
        assert!(past.allows("c") && !past.allows("a"), "each alone");
        past.stop("f");
        assert!(!past.allows("c"));
        assert_eq!(past.stopped(), 5);
    }

    #[test]
    fn of_one_namespace_one_is_asked_for_in_a_look() {
        let mut past = proven();
        past.begin();
        assert!(past.allows("a"));
        past.tries("a");
        let age = Age {
            created: noon(),
            uid: "u".to_owned(),
        };
        assert!(!past.stays("a", &age));
        assert!(!past.allows("a") && past.allows("b"));
        past.begin();
        assert!(past.allows("a"));
        assert_eq!(past.stayed("a"), Some(age.clone()));
        assert!(past.stays("a", &age), "it has been told");
        past.begin();
        assert_eq!(past.stayed("a"), None, "nothing was asked for in a look");
    }

    #[test]
    fn what_takes_its_place_is_of_the_same_workload_and_younger() {
        let bare: [(Value, bool, bool); 6] = [
            (pod("a", "12:00:05"), true, true),
            // Another version of the same Deployment.
            (pod("b", "12:00:05"), true, true),
            (pod("a", "11:59:52"), true, false),
            (pod("a", "11:59:50"), false, false),
            (json!({"name": "x"}), false, false),
            (of_another(), false, false),
        ];
        for (pod, replaces, back) in bare {
            let pod: Lacking = serde_json::from_value(pod).unwrap();
            assert_eq!(gone().may_be_replaced_by(&pod), replaces, "{pod:?}");
            assert_eq!(gone().came_back_as(&pod), back, "{pod:?}");
        }
    }

    fn of_another() -> Value {
        let mut pod = pod("a", "12:00:05");
        pod["ownerReferences"][0]["name"] = json!("billing-a");
        pod
    }

    #[tokio::test(start_paused = true)]
    async fn half_an_hour_is_waited() {
        let gone = gone();
        assert!(!gone.is_overdue(Instant::now() + Duration::from_secs(1800)));
        assert!(gone.is_overdue(Instant::now() + Duration::from_secs(1801)));
    }
}
