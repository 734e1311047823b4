//! How a status and its event reach the API server.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{debug, info, warn};

use super::{
    event::{event, home},
    events::Events,
    plan::Write,
    status::{Status, reported},
};
use crate::{
    clock,
    lease::tenure::Tenure,
    telemetry::{Metrics, label::StatusWrite, log::Chain},
};

/// Who remembers how a write ended, by the uid of the object.
pub(super) trait Remember<S> {
    /// The status was stored.
    fn wrote(&mut self, uid: &str, status: S, now: Instant);

    /// It could not be stored. `jitter` is uniform in `0.0..1.0`. Returns how often in a row.
    fn failed(&mut self, uid: &str, now: Instant, jitter: f64) -> u32;

    /// When to try the first of the failed writes again.
    fn retry(&self, now: Instant) -> Option<Instant>;
}

/// Writes for one leader.
pub(super) struct Writer {
    client: Client,
    pod: Box<str>,
    leader: watch::Receiver<Tenure>,
    metrics: Metrics,
    events: Mutex<Events>,
}

/// Why a status was not stored.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// The object is gone, another one of that name, or another version of it than was looked at.
    #[error("the object is gone or changed")]
    Gone,
    /// The API server refused.
    #[error("write the status")]
    Write(#[source] Box<kube::Error>),
    /// The API server said nothing.
    #[error("the status was not stored within {0:?}")]
    NoAnswer(Duration),
}

impl Writer {
    /// A writer in the name of the replica `pod`, as long as that one leads.
    pub(super) fn new(
        client: Client,
        pod: &str,
        leader: watch::Receiver<Tenure>,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            pod: pod.into(),
            leader,
            metrics,
            events: Mutex::default(),
        }
    }

    /// Writes, a few at a time. Returns when to try again what failed.
    pub(super) async fn carry_out<S: Status>(
        &self,
        writes: Vec<Write<S>>,
        memories: &mut impl Remember<S>,
    ) -> Option<Instant> {
        let store = |write: Write<S>| async move {
            if !self.may_write() {
                return None;
            }
            let stored = self.status(&write).await;
            if stored.is_ok() && write.transition && self.may_tell(&write.namespace) {
                self.event(&write).await;
            }
            Some((write, stored))
        };
        let stored = stream::iter(writes).map(store).buffer_unordered(AT_ONCE);
        let stored: Vec<_> = stored.filter_map(std::future::ready).collect().await;
        for (write, outcome) in stored {
            self.metrics.status_write(note(write, outcome, memories));
        }
        memories.retry(Instant::now())
    }

    /// Whether this replica may write right now.
    pub(super) fn may_write(&self) -> bool {
        self.leader.borrow().may_write()
    }

    /// Whether there may be one more event in that namespace, now.
    fn may_tell(&self, namespace: &str) -> bool {
        if !self.may_write() {
            return false;
        }
        // Whatever a panic leaves behind is a count.
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.take(namespace)
    }

    /// Stores the status of exactly that object, as it was when the status was decided: the uid and the
    /// resourceVersion are preconditions. So what another leader wrote meanwhile stays.
    async fn status<S: Status>(&self, write: &Write<S>) -> Result<(), WriteError> {
        let Write {
            namespace,
            name,
            uid,
            resource_version,
            status,
            ..
        } = write;
        let api = S::api(self.client.clone(), namespace);
        let mut patch = json!({
            "apiVersion": S::Kind::api_version(&()),
            "kind": S::Kind::kind(&()),
            "metadata": {"name": &**name, "uid": &**uid},
            "status": status,
        });
        if let Some(version) = resource_version {
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        let patch = Patch::Apply(patch);
        let params = PatchParams::apply(S::MANAGER).force();
        let written = timeout(LIMIT, api.patch_status(name, &params, &patch)).await;
        match written.map_err(|_elapsed| WriteError::NoAnswer(LIMIT))? {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => {
                Err(WriteError::Gone)
            }
            Err(error) => Err(WriteError::Write(Box::new(error))),
        }
    }

    /// Tells of a transition. A lost event is not sent again: the status says the same.
    async fn event<S: Status>(&self, write: &Write<S>) {
        let Write {
            namespace,
            name,
            uid,
            status,
            ..
        } = write;
        let Some(condition) = reported(status) else {
            return;
        };
        let kind = S::Kind::kind(&());
        info!(
            object.kind = &*kind,
            object.namespace = &**namespace,
            object.name = &**name,
            condition = condition.type_,
            status = condition.status,
            reason = condition.reason,
            "the state of an object changed"
        );
        let object = ObjectReference {
            api_version: Some(S::Kind::api_version(&()).into_owned()),
            kind: Some(kind.into_owned()),
            namespace: (!namespace.is_empty()).then(|| namespace.to_string()),
            name: Some(name.to_string()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        };
        self.send(object, condition).await;
    }

    /// Tells an object that is none of ours of a condition, if there may be one more event in its namespace.
    pub(super) async fn tell(&self, object: ObjectReference, condition: &Condition) {
        if self.may_tell(home(&object)) {
            self.send(object, condition).await;
        }
    }

    async fn send(&self, object: ObjectReference, condition: &Condition) {
        let event = event(condition, object.clone(), &self.pod, clock::now());
        let api: Api<Event> = Api::namespaced(self.client.clone(), home(&object));
        match timeout(LIMIT, api.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(error = %Chain(&error), "an event was not stored"),
            Err(_) => warn!(error = "no answer", "an event was not stored"),
        }
    }
}

/// Remembers how a write ended.
fn note<S: Status>(
    write: Write<S>,
    outcome: Result<(), WriteError>,
    memories: &mut impl Remember<S>,
) -> StatusWrite {
    let Write {
        namespace,
        name,
        uid,
        status,
        ..
    } = write;
    match outcome {
        Ok(()) => {
            memories.wrote(&uid, status, Instant::now());
            StatusWrite::Written
        }
        // The watch tells what has become of it: the next try is decided from that. Not at every change: one that
        // changes all the time costs no more than one that fails.
        Err(WriteError::Gone) => {
            memories.failed(&uid, Instant::now(), rand::random());
            StatusWrite::Gone
        }
        Err(error) => {
            let kind = S::Kind::kind(&());
            let (kind, namespace, name) = (&*kind, &*namespace, &*name);
            let chain = Chain(&error);
            if memories.failed(&uid, Instant::now(), rand::random()) == 1 {
                warn!(object.kind = kind, object.namespace = namespace, object.name = name, error = %chain, "a status was not stored");
            } else {
                debug!(object.kind = kind, object.namespace = namespace, object.name = name, error = %chain, "a status is still not stored");
            }
            StatusWrite::Failed
        }
    }
}

/// Whose the fields are that a controller writes, and who reports the events.
pub(super) const MANAGER: &str = "hallpass-operator";

/// How many statuses are written at once.
const AT_ONCE: usize = 8;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
