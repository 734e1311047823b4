//! Evicts pods that lack the sidecar, where the chart asks for that: their controllers make them anew, and then they
//! get it.
//!
//! The API server decides, by the PodDisruptionBudgets: what it does not allow now is asked for at a later look.
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
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use self::{
    choice::{Candidate, Choice},
    past::{Gone, Past},
};
use super::{
    desired,
    list::{ListError, Lister, Which},
    pod::Lacking,
    status::InjectionStatus,
};
use crate::{
    call::{CallError, within},
    config::Evict,
    controller::{status::Verdict, write::Writer},
    replica::standing::Standing,
    telemetry::{
        Metrics,
        label::{EvictionOutcome, Uninjected},
        log::Chain,
    },
};

pub(super) mod choice;
mod past;

/// What is evicted, and whether it may be.
#[derive(Debug, Clone)]
pub struct Evictions {
    /// Which pods.
    pub which: Evict,
    /// Whether the cluster has what injection needs: where it has not, a pod that goes may not come back.
    pub fit: watch::Receiver<Result<(), String>>,
}

/// Evicts for one leader.
///
/// # Guarantees
/// Of pods that run, are older than [`AGE`] and are made anew by what owns them, as many as [`Past`] allows, each as it was
/// found and none of the same name; while this replica knows what is so now, and the cluster has what injection needs, the
/// definitions among it: what is known of a kind whose definition went selects pods, and injects none.
/// Another leader remembers nothing of this: it may evict one pod more, though none in its first look.
pub(super) struct Evictor {
    client: Client,
    evictions: Evictions,
    standing: Standing,
    clock: fn() -> Timestamp,
    metrics: Metrics,
    past: Past,
    /// Whether this replica has looked once since it leads.
    looked: bool,
    /// Whether this look is a later one.
    may: bool,
}

impl Evictor {
    /// One that remembers nothing yet. What is created tells its time by the same time as `clock`, within seconds.
    pub(super) fn new(
        client: Client,
        evictions: Evictions,
        standing: Standing,
        clock: fn() -> Timestamp,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            evictions,
            standing,
            clock,
            metrics,
            past: Past::default(),
            looked: false,
            may: false,
        }
    }

    /// A choice of one of the pods of that namespace.
    pub(super) fn choice(&self, namespace: &str) -> Choice {
        Choice::after(self.past.stayed(namespace))
    }

    /// Begins a look: finds out what took the place of what was evicted.
    pub(super) async fn begin(
        &mut self,
        lister: &mut Lister,
        writer: &Writer,
    ) -> Result<(), ListError> {
        // What came with this version of the operator may not be in force yet, and one that ends again and again must not
        // evict each time that it begins.
        self.may = std::mem::replace(&mut self.looked, true);
        self.past.begin();
        let waiting = self.past.waiting();
        let waiting: Vec<_> = waiting
            .map(|(n, gone)| (n.to_owned(), gone.clone()))
            .collect();
        let mut outcome = Ok(());
        for (namespace, gone) in waiting {
            let became = became(&namespace, &gone, lister).await;
            let overdue = gone.is_overdue(Instant::now());
            match &became {
                Ok(Became::Injected) => self.past.came_back(&namespace),
                Ok(Became::Lacking) => self.stop(&namespace, gone.owner, BARE, writer).await,
                _ if overdue => self.stop(&namespace, gone.owner, NOTHING, writer).await,
                Ok(Became::Nothing) | Err(_) => {}
            }
            // The other namespaces are looked at all the same.
            if let Err(error) = became {
                outcome = Err(error);
            }
        }
        self.metrics.evictions_stopped(self.past.stopped());
        outcome
    }

    /// Evicts that pod, if it may be now. Whether it may.
    pub(super) async fn attempt(
        &mut self,
        pod: Candidate,
        lister: &mut Lister,
        writer: &Writer,
    ) -> Result<bool, ListError> {
        if !self.allows(&pod) {
            return Ok(false);
        }
        let namespace = pod.namespace.clone();
        self.past.tries(&namespace);
        let mut runs = false;
        let look = |there: Lacking| runs |= there.uid == pod.age.uid && there.counts();
        let which = Which::running(&namespace, &pod.name);
        lister.each(&which, look).await?;
        if runs {
            lister.turn().await;
            // To look took a while.
            if !writer.may_write() {
                return Ok(false);
            }
            self.evict(pod, writer).await;
        } else {
            self.past.stays(&namespace, &pod.age);
        }
        Ok(true)
    }

    /// Whether it may be evicted in this look.
    fn allows(&self, pod: &Candidate) -> bool {
        let asked = match self.evictions.which {
            Evict::Selected => true,
            Evict::Labelled => pod.reason != Uninjected::Policy,
        };
        let old = pod.age.created + AGE <= (self.clock)() && !pod.age.uid.is_empty();
        let knows = self.standing.may_tell(Instant::now()).is_ok();
        let whole = self.standing.freshness().is_whole();
        let fit = whole && self.evictions.fit.borrow().is_ok();
        self.may && asked && old && knows && fit && self.past.allows(&pod.namespace)
    }

    async fn evict(&mut self, pod: Candidate, writer: &Writer) {
        let (namespace, name) = (pod.namespace.as_str(), pod.name.as_str());
        // Before it is known what becomes of it, since it may never be.
        let gone = Gone::new(&pod, (self.clock)(), Instant::now());
        self.past.goes(namespace, gone);
        let evicted = ask(&self.client, &pod).await;
        let outcome = outcome(&evicted);
        self.metrics.eviction(outcome);
        let refusal = evicted.as_ref().err();
        let told = stays(outcome, refusal) && self.past.stays(namespace, &pod.age);
        match (outcome, refusal) {
            (EvictionOutcome::Evicted, _) => {
                let reason = pod.reason.as_str();
                let (kind, owner) = (pod.owner.kind.as_deref(), pod.owner.name.as_deref());
                info!(
                    pod.namespace = namespace,
                    pod.name = name,
                    owner.kind = kind,
                    owner.name = owner,
                    reason,
                    "a pod without the sidecar was evicted"
                );
                let said = desired::evicted(pod.reason, name);
                self.tell(pod.owner.clone(), said, writer).await;
            }
            (EvictionOutcome::Failed, Some(error)) if !told => {
                let error = Chain(error);
                warn!(pod.namespace = namespace, pod.name = name, %error, "a pod without the sidecar was not evicted");
            }
            (EvictionOutcome::RefusedByBudget, _) if !told => info!(
                pod.namespace = namespace,
                pod.name = name,
                "a pod without the sidecar is not evicted now: a PodDisruptionBudget does not allow it"
            ),
            _ => {
                let outcome = outcome.as_str();
                debug!(
                    pod.namespace = namespace,
                    pod.name = name,
                    outcome,
                    "a pod without the sidecar is still not evicted"
                );
            }
        }
    }

    async fn stop(&mut self, namespace: &str, owner: ObjectReference, why: &str, writer: &Writer) {
        self.past.stop(namespace);
        let all = self.past.has_stopped();
        let (kind, name) = (owner.kind.as_deref(), owner.name.as_deref());
        warn!(
            owner.namespace = namespace,
            owner.kind = kind,
            owner.name = name,
            reason = why,
            anywhere = all,
            "no more pods are evicted there until another replica leads"
        );
        self.tell(owner, desired::stopped(why, all), writer).await;
    }

    async fn tell(&self, owner: ObjectReference, said: Verdict, writer: &Writer) {
        let condition = said.condition::<InjectionStatus>(None, (self.clock)(), None);
        writer.tell(owner, &condition).await;
    }
}

impl Drop for Evictor {
    fn drop(&mut self) {
        self.metrics.evictions_stopped(0);
    }
}

/// What took the place of a pod that was evicted.
enum Became {
    /// One that is ready with the sidecar.
    Injected,
    /// One that lacks it.
    Lacking,
    /// Nothing yet.
    Nothing,
}

async fn became(namespace: &str, gone: &Gone, lister: &mut Lister) -> Result<Became, ListError> {
    let mut names = Vec::new();
    let look = |pod: Lacking| {
        if names.len() < MOST_REPLACEMENTS && gone.may_be_replaced_by(&pod) {
            names.push(pod.name);
        }
    };
    lister.each(&Which::injected(namespace), look).await?;
    for name in names {
        if lister.is_ready(namespace, &name).await? {
            return Ok(Became::Injected);
        }
    }
    let mut lacking = false;
    let look = |pod: Lacking| lacking |= gone.came_back_as(&pod);
    lister.each(&Which::of(namespace), look).await?;
    Ok(if lacking {
        Became::Lacking
    } else {
        Became::Nothing
    })
}

/// Asks the API server to evict exactly that pod. kube's own call would send the precondition in a field that the API
/// server does not know, and passes over.
async fn ask(client: &Client, pod: &Candidate) -> Result<Status, CallError> {
    let eviction = Eviction {
        metadata: ObjectMeta {
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions {
                uid: Some(pod.age.uid.clone()),
                ..Preconditions::default()
            }),
            ..DeleteOptions::default()
        }),
    };
    let (api, params) = (
        Api::<Pod>::namespaced(client.clone(), &pod.namespace),
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

/// Whether the pod surely stays, or another one of its name is there. What fails on the way, or within the API server, may
/// have been done.
fn stays(outcome: EvictionOutcome, refusal: Option<&CallError>) -> bool {
    match outcome {
        EvictionOutcome::Evicted => false,
        EvictionOutcome::RefusedByBudget | EvictionOutcome::Gone => true,
        EvictionOutcome::Failed => {
            let code = refusal.and_then(CallError::refusal).map(|said| said.code);
            code.is_some_and(|code| (400..500).contains(&code))
        }
    }
}

/// Why none is evicted any more.
const BARE: &str =
    "a pod that took the place of an evicted one runs without the Hallpass sidecar again";
const NOTHING: &str = "no pod took the place of one that was evicted half an hour ago and became ready with the Hallpass sidecar";

/// A younger pod is left alone: what is to give it the sidecar may not be in force for long.
const AGE: Duration = Duration::from_secs(60);

/// Of so many pods that may have taken the place of one, it is asked whether they are ready.
const MOST_REPLACEMENTS: usize = 5;

/// The cause that the API server names where a PodDisruptionBudget refuses.
const BUDGET: &str = "DisruptionBudget";
