//! Reports on every TokenPolicy: how many pods it selects, which of its tokens can be issued, and why
//! the others cannot.
//!
//! Level-triggered: a change marks its namespace, and what is then looked at is the state of the
//! namespace. Nothing else depends on what is written here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hallpass_core::{
    decide::{PodGroups, Standings},
    name::Namespace,
    policy::Policy,
};
use hallpass_crds::token_policy::TokenPolicyStatus;
use kube::Client;
use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, sleep_until},
};

use self::{
    desired::{View, desired, selected_by},
    rights::{Right, Rights},
};
use super::{
    Context,
    plan::{Memories, Write},
    round::{DEBOUNCE, FULL, UNSYNCED, while_leading},
    write::Writer,
};
use crate::{
    index::{Index, PodRecord, PolicyRecord},
    lease::tenure::Tenure,
    telemetry::Metrics,
};

mod desired;
mod rights;
#[cfg(test)]
mod tests;

/// Reports whenever this replica leads. Never returns.
///
/// # Guarantees
/// Nothing is sent any more once `leader` says that this replica does not lead.
pub async fn run(
    index: Index,
    client: Client,
    leader: watch::Receiver<Tenure>,
    context: Context,
    metrics: Metrics,
) {
    let work = || async {
        let pod = &context.pod;
        let writer = Writer::new(client.clone(), pod, leader.clone(), metrics.clone());
        let mut term = Term {
            index: &index,
            context: &context,
            writer,
            rights: Rights::new(client.clone()),
            memory: BTreeMap::new(),
            due: BTreeMap::new(),
        };
        term.work().await;
    };
    while_leading(leader.clone(), work).await;
}

/// What a leader knows, until it is none.
struct Term<'a> {
    index: &'a Index,
    context: &'a Context,
    writer: Writer,
    rights: Rights,
    memory: BTreeMap<Namespace, Memories<TokenPolicyStatus>>,
    /// When to look at a namespace.
    due: BTreeMap<Namespace, Instant>,
}

impl Term<'_> {
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
        self.mark(snapshot.asking(), Instant::now());
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
        if snapshot.policies(namespace.as_str()).is_empty() {
            self.memory.remove(namespace);
            self.rights.forget(namespace);
            return None;
        }
        let (right, until) = self.rights.of(namespace).await;
        let operator = &self.context.operator;
        let grant_command = operator.grant_command(namespace.as_str());
        let now = (self.context.clock)();
        let pods = snapshot.pods(namespace.as_str()).into_values();
        let pods: Vec<PodRecord> = pods.filter(|pod| pod.is_live(now)).collect();
        let records = snapshot.policies(namespace.as_str());
        let policies = records.values().filter_map(|r| r.spec.as_ref().ok());
        let policies: Vec<Arc<Policy>> = policies.cloned().collect();
        let view = View {
            namespace,
            rules: snapshot.rules(),
            standings: standings(&policies, &pods).await,
            service_accounts: snapshot.service_accounts(namespace.as_str()),
            right,
            grant_command: &grant_command,
        };
        let (writes, later) = self.plan(records, &view).await;
        let memories = self.memory.entry(namespace.clone()).or_default();
        let retry = self.writer.carry_out(writes, memories).await;
        [Some(until), later, retry].into_iter().flatten().min()
    }

    async fn plan(
        &mut self,
        records: BTreeMap<Box<str>, PolicyRecord>,
        view: &View<'_>,
    ) -> (Vec<Write<TokenPolicyStatus>>, Option<Instant>) {
        let namespace = view.namespace.as_str();
        let now = (self.context.clock)();
        let memories = self.memory.entry(view.namespace.clone()).or_default();
        let alive: BTreeSet<&str> = records.values().map(|r| &*r.uid).collect();
        memories.retain(&alive);
        let (mut writes, mut later) = (Vec::new(), None);
        // What was said when the right was known stands until it is known again.
        let stands = |r: &PolicyRecord| view.right == Right::Unknown && r.status.is_some();
        for record in records.into_values().filter(|r| !stands(r)) {
            let record = record.unpacked();
            let desired = |record: &_, old: Option<&_>| desired(record, view, now, old);
            let at = memories.plan(namespace, [record], desired, &mut writes);
            later = [later, at].into_iter().flatten().min();
            yield_now().await;
        }
        (writes, later)
    }
}

/// What comes of the policies of a namespace on those pods. There may be thousands of both, and everything
/// else that a leader does, and each request, has its turn in between.
async fn standings<'a>(policies: &'a [Arc<Policy>], pods: &[PodRecord]) -> Standings<'a> {
    let groups = PodGroups::new(policies, pods.iter().map(selected_by));
    let mut reaches = Vec::with_capacity(policies.len());
    for policy in policies {
        reaches.push(groups.reach(policy));
        yield_now().await;
    }
    Standings::new(reaches)
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
