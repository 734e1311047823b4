//! Evicts pods that lack the sidecar, where the chart asks for that: their controllers make them anew, and then they
//! get it.
//!
//! The API server decides, by the PodDisruptionBudgets: what it does not allow now is asked for at the next look.
//! Nothing is ever deleted.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod},
        policy::v1::Eviction,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kube::{Api, Client, api::PostParams, core::Status};
use tracing::{debug, info, warn};

use self::past::Past;
use super::{
    desired::{Oldest, Owned, Owners, given_up},
    list::{ListError, Lister, Which},
    pod::Lacking,
    status::InjectionStatus,
};
use crate::{
    call::{CallError, within},
    config::Evict,
    controller::{status::Verdict, write::Writer},
    telemetry::{
        Metrics,
        label::{EvictionOutcome, Uninjected},
        log::Chain,
    },
};

mod past;

/// Evicts for one leader.
///
/// # Guarantees
/// One pod of an owner at a time, and another only once what took its place runs with the sidecar ([`Past`]);
/// [`MOST_OF_LOOK`] of all owners in a look. Only pods that run, are older than [`AGE`], and are made anew by what owns
/// them; and exactly the pod that was found, not another one of its name. Another leader remembers nothing of this: it
/// may evict one more pod of each owner, though none in its first look.
pub(super) struct Evictor {
    client: Client,
    which: Evict,
    clock: fn() -> Timestamp,
    metrics: Metrics,
    past: Past,
    /// Whether this replica has looked once since it leads.
    looked: bool,
    /// How many may be evicted still in this look.
    left: usize,
    told_full: bool,
}

impl Evictor {
    /// One that remembers nothing yet. What is created tells its time by the same time as `clock`, within seconds.
    pub(super) fn new(
        client: Client,
        which: Evict,
        clock: fn() -> Timestamp,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            which,
            clock,
            metrics,
            past: Past::default(),
            looked: false,
            left: 0,
            told_full: false,
        }
    }

    /// Begins a look: finds out what took the place of what was evicted.
    pub(super) async fn begin(
        &mut self,
        lister: &mut Lister,
        writer: &Writer,
    ) -> Result<(), ListError> {
        // What came with this version of the operator may not be in force yet, and one that ends again and again must not
        // evict each time that it begins.
        let looked = std::mem::replace(&mut self.looked, true);
        self.left = if looked { MOST_OF_LOOK } else { 0 };
        for namespace in self.past.namespaces() {
            let which = Which::injected(&namespace);
            let look = |pod: Lacking| {
                if let Some(created) = pod.created().filter(|_| pod.counts()) {
                    self.past.runs(&pod.responsible(), created);
                }
            };
            lister.each(&which, look).await?;
        }
        for owner in self.past.overdue((self.clock)()) {
            let why =
                "no pod with the sidecar took the place of one that was evicted half an hour ago";
            self.give_up(owner, why, writer).await;
        }
        if self.past.is_full() && !self.told_full {
            self.told_full = true;
            warn!("too many owners of evicted pods to remember more: no pod of others is evicted");
        }
        Ok(())
    }

    /// Evicts of those what may be evicted now.
    pub(super) async fn look(
        &mut self,
        owners: &Owners,
        lister: &mut Lister,
        writer: &Writer,
    ) -> Result<(), ListError> {
        for owned in owners.iter() {
            let owner = &owned.owner;
            if owned.youngest.is_some_and(|at| self.past.lacks(owner, at)) {
                let why = "a pod that took the place of an evicted one runs without the Hallpass sidecar again";
                self.give_up(owner.clone(), why, writer).await;
            }
            let now = (self.clock)();
            let Some(oldest) = self.choose(owned, now) else {
                continue;
            };
            let namespace = owner.namespace.as_deref().unwrap_or_default();
            let mut runs = false;
            let look = |pod: Lacking| runs |= pod.uid == oldest.uid && pod.counts();
            let which = Which::running(namespace, &oldest.name);
            lister.each(&which, look).await?;
            if runs {
                lister.turn().await;
                self.evict(owned, oldest, writer).await;
            }
        }
        Ok(())
    }

    /// The pod of that owner that is evicted next, if there is one now.
    fn choose<'a>(&self, owned: &'a Owned, now: Timestamp) -> Option<&'a Oldest> {
        let asked = match self.which {
            Evict::Selected => true,
            Evict::Labelled => owned.reason != Uninjected::Policy,
        };
        let oldest = owned.oldest.as_ref().filter(|_| asked && self.left > 0)?;
        let old = oldest.created + AGE <= now && !oldest.uid.is_empty();
        (old && self.past.allows(&owned.owner)).then_some(oldest)
    }

    async fn evict(&mut self, owned: &Owned, pod: &Oldest, writer: &Writer) {
        let (owner, again) = (&owned.owner, self.past.has_failed(&owned.owner));
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        // Before it is known what becomes of it, since it may never be.
        self.past.evicts(owner, (self.clock)());
        let evicted = ask(&self.client, namespace, pod).await;
        let outcome = outcome(&evicted);
        self.metrics.eviction(outcome);
        self.remember(owner, outcome, evicted.as_ref().err());
        let (kind, name) = (owner.kind.as_deref(), owner.name.as_deref());
        match (outcome, evicted) {
            (EvictionOutcome::Evicted, _) => {
                let reason = owned.reason.as_str();
                info!(
                    pod.namespace = namespace,
                    pod.name = pod.name,
                    owner.kind = kind,
                    owner.name = name,
                    reason,
                    "a pod without the sidecar was evicted"
                );
                self.tell(owner.clone(), owned.evicted(&pod.name), writer)
                    .await;
            }
            (EvictionOutcome::Failed, Err(error)) => {
                let error = Chain(&error);
                if again {
                    debug!(pod.namespace = namespace, pod.name = pod.name, owner.kind = kind, owner.name = name, %error, "a pod without the sidecar is still not evicted");
                } else {
                    warn!(pod.namespace = namespace, pod.name = pod.name, owner.kind = kind, owner.name = name, %error, "a pod without the sidecar was not evicted");
                }
            }
            _ => {
                let outcome = outcome.as_str();
                debug!(
                    pod.namespace = namespace,
                    pod.name = pod.name,
                    owner.kind = kind,
                    owner.name = name,
                    outcome,
                    "a pod without the sidecar stays for now"
                );
            }
        }
    }

    /// Puts down what became of the eviction that is under way of a pod of that owner.
    fn remember(
        &mut self,
        owner: &ObjectReference,
        outcome: EvictionOutcome,
        refusal: Option<&CallError>,
    ) {
        match outcome {
            EvictionOutcome::RefusedByBudget | EvictionOutcome::Gone => self.past.was_not(owner),
            EvictionOutcome::Failed if refusal.is_some_and(is_certain) => self.past.failed(owner),
            EvictionOutcome::Evicted | EvictionOutcome::Failed => self.left -= 1,
        }
    }

    async fn give_up(&self, owner: ObjectReference, why: &str, writer: &Writer) {
        let (kind, name) = (owner.kind.as_deref(), owner.name.as_deref());
        let namespace = owner.namespace.as_deref();
        warn!(
            owner.namespace = namespace,
            owner.kind = kind,
            owner.name = name,
            reason = why,
            "no more pods of an owner are evicted"
        );
        self.tell(owner, given_up(why), writer).await;
    }

    async fn tell(&self, owner: ObjectReference, said: Verdict, writer: &Writer) {
        let condition = said.condition::<InjectionStatus>(None, (self.clock)(), None);
        writer.tell(owner, &condition).await;
    }
}

/// Asks the API server to evict exactly that pod. kube's own call would send the precondition in a field that the API
/// server does not know, and passes over.
async fn ask(client: &Client, namespace: &str, pod: &Oldest) -> Result<Status, CallError> {
    let eviction = Eviction {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(pod.name.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions {
                uid: Some(pod.uid.clone()),
                ..Preconditions::default()
            }),
            ..DeleteOptions::default()
        }),
    };
    let (api, params) = (
        Api::<Pod>::namespaced(client.clone(), namespace),
        PostParams::default(),
    );
    within(api.create_subresource("eviction", &pod.name, &params, &eviction)).await
}

/// What became of it. A budget says so in the details: the code alone may mean that the API server is asked too often.
fn outcome(answer: &Result<Status, CallError>) -> EvictionOutcome {
    let Err(error) = answer else {
        return EvictionOutcome::Evicted;
    };
    let details = error.refusal().and_then(|said| said.details.as_ref());
    if details.is_some_and(|d| d.causes.iter().any(|cause| cause.reason == BUDGET)) {
        EvictionOutcome::RefusedByBudget
    } else if error.is_not_found() || error.is_conflict() {
        EvictionOutcome::Gone
    } else {
        EvictionOutcome::Failed
    }
}

/// Whether the pod was surely not evicted.
fn is_certain(error: &CallError) -> bool {
    error.refusal().is_some_and(|said| said.code != TIMEOUT)
}

/// So many pods are evicted in a look.
const MOST_OF_LOOK: usize = 5;

/// A younger pod is left alone: what is to give it the sidecar may not be in force for long.
const AGE: Duration = Duration::from_secs(60);

/// The cause that the API server names where a PodDisruptionBudget refuses.
const BUDGET: &str = "DisruptionBudget";

/// The code of an answer that does not tell whether something was done.
const TIMEOUT: u16 = 504;
