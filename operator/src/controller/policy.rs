//! Reports on every TokenPolicy: how many pods it selects, which of its tokens can be issued, and why
//! the others cannot.
//!
//! Level-triggered: a change marks its namespace, and what is then looked at is the state of the
//! namespace. Nothing else depends on what is written here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use hallpass_core::name::Namespace;
use hallpass_crds::token_policy::TokenPolicyStatus;
use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};

use self::{
    desired::{View, desired},
    plan::{Memory, Plan},
    rights::{Right, Rights},
    write::{WriteError, Writer},
};
use crate::{
    index::{Index, PolicyRecord, Snapshot},
    issuer::kubernetes::OperatorId,
    telemetry::{Metrics, label::StatusWrite, log::Chain},
};

mod desired;
mod plan;
mod rights;
#[cfg(test)]
mod tests;
mod write;

/// Who reports, and by which clock.
#[derive(Debug, Clone)]
pub struct Context {
    /// The operator, for the command that gives it a right.
    pub operator: OperatorId,
    /// This replica's pod, the reporter of events.
    pub pod: String,
    /// The time of day, for `lastTransitionTime`.
    pub clock: fn() -> Timestamp,
}

/// Reports whenever this replica leads. Never returns.
///
/// # Guarantees
/// Nothing is sent any more once `leader` says that this replica does not lead.
pub async fn run(
    index: Index,
    client: Client,
    mut leader: watch::Receiver<bool>,
    context: Context,
    metrics: Metrics,
) {
    while leader.wait_for(|leads| *leads).await.is_ok() {
        let mut term = Term::new(&index, client.clone(), leader.clone(), &context, &metrics);
        let over = tokio::select! {
            biased;
            over = leader.wait_for(|leads| !*leads) => over.map(drop),
            () = term.work() => Ok(()),
        };
        if over.is_err() {
            break;
        }
    }
    // The elector is gone: this replica never leads again.
    std::future::pending().await
}

/// What a leader knows, until it is none.
struct Term<'a> {
    index: &'a Index,
    leader: watch::Receiver<bool>,
    context: &'a Context,
    metrics: &'a Metrics,
    writer: Writer,
    rights: Rights,
    /// By namespace and uid.
    memory: BTreeMap<Namespace, BTreeMap<Box<str>, Memory>>,
    /// When to look at a namespace.
    due: BTreeMap<Namespace, Instant>,
}

/// A status that is to be written.
struct Write {
    record: PolicyRecord,
    status: TokenPolicyStatus,
    transition: bool,
}

impl<'a> Term<'a> {
    fn new(
        index: &'a Index,
        client: Client,
        leader: watch::Receiver<bool>,
        context: &'a Context,
        metrics: &'a Metrics,
    ) -> Self {
        Self {
            index,
            leader,
            context,
            metrics,
            writer: Writer::new(client.clone(), &context.pod),
            rights: Rights::new(client),
            memory: BTreeMap::new(),
            due: BTreeMap::new(),
        }
    }

    async fn work(&mut self) {
        let changes = self.index.changes();
        let mut full = Instant::now();
        loop {
            let next = self.due.iter().min_by_key(|(_, at)| **at);
            let next = next.map(|(namespace, at)| (namespace.clone(), *at));
            tokio::select! {
                () = sleep_until(full) => {
                    let synced = self.mark_all();
                    full = Instant::now() + if synced { FULL } else { UNSYNCED };
                }
                () = changes.changed() => {
                    // What changes until then is looked at together.
                    self.mark(changes.take(), Instant::now() + DEBOUNCE);
                }
                namespace = reached(next) => {
                    self.due.remove(&namespace);
                    if let Some(at) = self.visit(&namespace).await {
                        self.mark([namespace], at);
                    }
                }
            }
        }
    }

    /// Marks every namespace with a policy. Whether it is known which those are.
    fn mark_all(&mut self) -> bool {
        let Ok(snapshot) = self.index.snapshot() else {
            return false;
        };
        self.mark(snapshot.namespaces(), Instant::now());
        true
    }

    fn mark(&mut self, namespaces: impl IntoIterator<Item = Namespace>, at: Instant) {
        for namespace in namespaces {
            let due = self.due.entry(namespace).or_insert(at);
            *due = at.min(*due);
        }
    }

    /// Brings every status of the namespace up to date. Returns when to look again, if at all.
    async fn visit(&mut self, namespace: &Namespace) -> Option<Instant> {
        let Ok(snapshot) = self.index.snapshot() else {
            return Some(Instant::now() + UNSYNCED);
        };
        if snapshot.records(namespace.as_str()).is_empty() {
            self.memory.remove(namespace);
            self.rights.forget(namespace);
            return None;
        }
        let (right, until) = self.rights.of(namespace).await;
        let operator = &self.context.operator;
        let grant_command = operator.grant_command(namespace.as_str());
        let view = view(
            &snapshot,
            namespace,
            right,
            &grant_command,
            (self.context.clock)(),
        );
        let (writes, later) = self.plan(&snapshot, &view);
        let retry = self.carry_out(namespace, writes).await;
        [Some(until), later, retry].into_iter().flatten().min()
    }

    fn plan(&mut self, snapshot: &Snapshot, view: &View<'_>) -> (Vec<Write>, Option<Instant>) {
        let records = snapshot.records(view.namespace.as_str());
        let now = (self.context.clock)();
        let memory = self.memory.entry(view.namespace.clone()).or_default();
        let alive: BTreeSet<&str> = records.values().map(|r| &*r.uid).collect();
        memory.retain(|uid, _| alive.contains(&**uid));
        let (mut writes, mut later) = (Vec::new(), None::<Instant>);
        for record in records.into_values() {
            // What was said when the right was known stands until it is known again.
            if view.right == Right::Unknown && record.status.is_some() {
                continue;
            }
            let memory = memory.entry(record.uid.clone()).or_default();
            let status = |old: Option<&TokenPolicyStatus>| desired(&record, view, now, old);
            match memory.plan(&record, Instant::now(), status) {
                Plan::Nothing => {}
                Plan::Later(at) => later = Some(later.map_or(at, |later| later.min(at))),
                Plan::Write { status, transition } => writes.push(Write {
                    record,
                    status,
                    transition,
                }),
            }
        }
        (writes, later)
    }

    /// Writes, a few at a time. Returns when to try again what failed.
    async fn carry_out(&mut self, namespace: &Namespace, writes: Vec<Write>) -> Option<Instant> {
        let (writer, leader) = (&self.writer, &self.leader);
        let store = |write: Write| async move {
            if !*leader.borrow() {
                return None;
            }
            let stored = writer
                .status(namespace.as_str(), &write.record, &write.status)
                .await;
            if stored.is_ok() && write.transition {
                writer
                    .event(namespace.as_str(), &write.record, &write.status)
                    .await;
            }
            Some((write, stored))
        };
        let stored = stream::iter(writes).map(store).buffer_unordered(AT_ONCE);
        let stored: Vec<_> = stored.filter_map(std::future::ready).collect().await;
        let memory = self.memory.entry(namespace.clone()).or_default();
        for (write, outcome) in stored {
            let memory = memory.entry(write.record.uid.clone()).or_default();
            let outcome = note(namespace, write, outcome, memory);
            self.metrics.status_write(outcome);
        }
        let retries = memory.values().filter_map(Memory::retry);
        retries.filter(|at| *at > Instant::now()).min()
    }
}

/// Remembers how a write ended.
fn note(
    namespace: &Namespace,
    write: Write,
    outcome: Result<(), WriteError>,
    memory: &mut Memory,
) -> StatusWrite {
    match outcome {
        Ok(()) => {
            memory.wrote(write.status, Instant::now());
            StatusWrite::Written
        }
        // The watch tells what has become of it; until then it is not tried at every change.
        Err(WriteError::Gone) => {
            memory.failed(Instant::now(), rand::random());
            StatusWrite::Gone
        }
        Err(error) => {
            let (namespace, name, chain) = (namespace.as_str(), &*write.record.name, Chain(&error));
            if memory.failed(Instant::now(), rand::random()) == 1 {
                warn!(policy.namespace = namespace, policy.name = name, error = %chain, "a status was not stored");
            } else {
                debug!(policy.namespace = namespace, policy.name = name, error = %chain, "a status is still not stored");
            }
            StatusWrite::Failed
        }
    }
}

fn view<'a>(
    snapshot: &'a Snapshot,
    namespace: &'a Namespace,
    right: Right,
    grant_command: &'a str,
    now: Timestamp,
) -> View<'a> {
    let pods = snapshot.pods(namespace.as_str()).into_values();
    View {
        namespace,
        policies: snapshot.policies(),
        pods: pods.filter(|pod| pod.is_live(now)).collect(),
        service_accounts: snapshot.service_accounts(namespace.as_str()),
        right,
        grant_command,
    }
}

async fn reached(next: Option<(Namespace, Instant)>) -> Namespace {
    match next {
        Some((namespace, at)) => {
            sleep_until(at).await;
            namespace
        }
        None => std::future::pending().await,
    }
}

/// How long changes are gathered before they are looked at.
const DEBOUNCE: Duration = Duration::from_millis(150);

/// How often everything is looked at, whether it changed or not.
const FULL: Duration = Duration::from_secs(300);

/// How long to wait for an index that has not been filled yet.
const UNSYNCED: Duration = Duration::from_secs(1);

/// How many statuses of a namespace are written at once.
const AT_ONCE: usize = 8;
