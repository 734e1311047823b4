//! Finds pods that should have the sidecar and have not: their own label asks for it, or that of their
//! namespace, or a TokenPolicy selects them. Who asks for it after a pod was created, who created one
//! past admission, or wrote a policy for pods that are not injected, learns of it here.
//!
//! Says so in the condition `Injected` of the policy, in a metric, and in an event on the pods' owner; where the
//! chart asks for it, it evicts them. The index knows injected pods alone, so that this lists the others, and keeps
//! none of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use hallpass_core::name::Namespace;
use kube::Client;
use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};

use self::{
    counts::Counts,
    desired::{Gaps, Owned, Owners},
    evict::{Evictor, choice::Choice},
    list::{ListError, Lister, Which},
    memory::Memory,
    pod::Lacking,
    status::InjectionStatus,
    target::{Queue, Target, targets},
    told::Told,
};
use super::{
    Context,
    round::{UNSYNCED, while_leading},
    write::Writer,
};
use crate::{
    index::Index,
    lease::tenure::Tenure,
    telemetry::{Metrics, label::Uninjected, log::Chain},
};

mod counts;
mod desired;
mod evict;
mod evicting;
mod list;
mod memory;
mod pod;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod told;

pub use self::evict::Evictions;

/// Looks whenever this replica leads, and evicts what it is to. Never returns.
///
/// # Guarantees
/// Nothing is sent any more once `leader` says that this replica does not lead.
pub async fn run(
    index: Index,
    client: Client,
    leader: watch::Receiver<Tenure>,
    context: Context,
    metrics: Metrics,
    evictions: Option<Evictions>,
) {
    let work = || async {
        let pod = &context.pod;
        let mut term = Term {
            index: &index,
            context: &context,
            writer: Writer::new(client.clone(), pod, leader.clone(), metrics.clone()),
            lister: Lister::new(index.lister(client.clone())),
            targets: BTreeMap::new(),
            queue: Queue::default(),
            begun: BTreeMap::new(),
            memory: BTreeMap::new(),
            told: Told::default(),
            evictor: evictions.clone().map(|evictions| {
                let (client, standing) = (client.clone(), index.standing().clone());
                Evictor::new(client, evictions, standing, context.clock, metrics.clone())
            }),
            last_asking: None,
            counts: Counts::new(metrics.clone()),
            failures: 0,
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
    lister: Lister,
    targets: BTreeMap<Namespace, Target>,
    queue: Queue,
    /// Where not all accounts were looked at yet: what was found so far.
    begun: BTreeMap<Namespace, Gaps>,
    memory: BTreeMap<Namespace, Memory>,
    told: Told,
    /// [`None`] where nothing is evicted.
    evictor: Option<Evictor>,
    /// The namespace of the last pod that was asked for of those whose own label asks.
    last_asking: Option<String>,
    counts: Counts,
    /// How many looks in a row failed.
    failures: u32,
}

impl Term<'_> {
    async fn work(&mut self) {
        let mut changes = self.index.consents();
        let (mut full, mut settled) = (Instant::now(), None::<Instant>);
        loop {
            tokio::select! {
                () = sleep_until(full) => {
                    let synced = self.mark(true);
                    if synced {
                        self.follow_up().await;
                        self.look_at_asking().await;
                    }
                    full = Instant::now() + if synced { LOOK } else { UNSYNCED };
                }
                // What changes until then is looked at together.
                Ok(()) = changes.changed() => drop(settled.get_or_insert_with(|| Instant::now() + SETTLE)),
                () = sleep_until(settled.unwrap_or(full)), if settled.is_some() => {
                    settled = None;
                    self.mark(false);
                }
                () = std::future::ready(()), if !self.queue.is_empty() => {
                    if let Some(namespace) = self.queue.next() {
                        self.visit(&namespace).await;
                    }
                }
            }
        }
    }

    /// Marks what is to be looked at: everything, or what is asked for in another way than before. Whether it
    /// is known what that is.
    fn mark(&mut self, all: bool) -> bool {
        let Ok(snapshot) = self.index.snapshot() else {
            return false;
        };
        let home = self.context.operator.namespace.as_str();
        let now = targets(&snapshot, |namespace| is_never(home, namespace.as_str()));
        let before = std::mem::replace(&mut self.targets, now);
        let now = self.targets.iter();
        let marked =
            now.filter(|(namespace, target)| all || before.get(*namespace) != Some(target));
        let gone = before.keys().filter(|n| !self.targets.contains_key(*n));
        let marked = marked.map(|(namespace, _)| namespace).chain(gone).cloned();
        if all {
            self.queue.all(marked);
        } else {
            self.queue.changed(marked);
        }
        true
    }

    /// The pods of the whole cluster whose own label asks for the sidecar.
    async fn look_at_asking(&mut self) {
        let (mut count, mut owners) = (0, Owners::at_most(MOST_ASKING));
        let mut choices: BTreeMap<String, Choice> = BTreeMap::new();
        let evictor = self.evictor.as_ref();
        let home = self.context.operator.namespace.clone();
        let which = Which::asking();
        let listed = self.lister.each(&which, |pod: Lacking| {
            if pod.counts() && !is_never(&home, &pod.namespace) {
                count += 1;
                owners.add(&pod, Uninjected::PodLabel);
                if let Some(evictor) = evictor {
                    let of = || evictor.choice(&pod.namespace);
                    let choice = choices.entry(pod.namespace.clone()).or_insert_with(of);
                    choice.offer(&pod, Uninjected::PodLabel);
                }
            }
        });
        match listed.await {
            Ok(()) => {
                self.failures = 0;
                self.counts.asking(count);
                let news = self.told.news(EVERYWHERE, owners);
                self.tell(news).await;
                self.evict_asking(choices).await;
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Brings what is said of a namespace up to date.
    async fn visit(&mut self, namespace: &Namespace) {
        let Some(target) = self.targets.get(namespace).cloned() else {
            self.begun.remove(namespace);
            self.memory.remove(namespace);
            self.told.forget(namespace.as_str());
            self.counts.of(namespace, [0, 0]);
            return;
        };
        match self.find(namespace, &target).await {
            Ok(None) => self.failures = 0,
            Ok(Some(mut gaps)) => {
                self.failures = 0;
                self.counts
                    .of(namespace, [gaps.by_namespace, gaps.by_policy]);
                self.report(namespace, &gaps).await;
                let choice = std::mem::take(&mut gaps.choice);
                let news = self.told.news(namespace.as_str(), gaps.owners);
                self.tell(news).await;
                self.evict_selected(namespace, &target, choice).await;
            }
            // What was said of it stands until more is known.
            Err(error) => self.failed(&error),
        }
    }

    /// What asks for the sidecar there and has it not, once all accounts were looked at. Each visit looks at some
    /// of them, and the other namespaces come before the next: a namespace may have policies for thousands.
    async fn find(
        &mut self,
        namespace: &Namespace,
        target: &Target,
    ) -> Result<Option<Gaps>, ListError> {
        let which = Which::of(namespace.as_str());
        let begun = self.begun.remove(namespace);
        // What is asked for in another way than before is looked for anew.
        let mut gaps = match begun.filter(|gaps| gaps.is_for(target)) {
            Some(gaps) => gaps,
            None => self.begin(namespace, &which, target).await?,
        };
        if gaps.any {
            for account in gaps.next_accounts(ACCOUNTS_OF_VISIT) {
                let look = |pod: Lacking| gaps.under(&account, &pod);
                self.lister.each(&which.under(&account), look).await?;
            }
        }
        if !gaps.has_more() {
            return Ok(Some(gaps));
        }
        self.begun.insert(namespace.clone(), gaps);
        self.queue.all([namespace.clone()]);
        Ok(None)
    }

    /// What no policy has to do with. A namespace where nothing lacks the sidecar costs this one request.
    async fn begin(
        &mut self,
        namespace: &Namespace,
        which: &Which,
        target: &Target,
    ) -> Result<Gaps, ListError> {
        let mut gaps = Gaps::new(target.clone());
        let evictor = self.evictor.as_ref();
        let choice = evictor.map(|evictor| evictor.choice(namespace.as_str()));
        gaps.choice = choice.unwrap_or_default();
        if target.labelled {
            let look = |pod: Lacking| gaps.in_labelled(&pod);
            self.lister.each(which, look).await?;
        } else {
            gaps.any = self.lister.any(which).await?;
        }
        Ok(gaps)
    }

    /// Writes the conditions of its policies, as far as they say something else.
    async fn report(&mut self, namespace: &Namespace, gaps: &Gaps) {
        let Ok(snapshot) = self.index.snapshot() else {
            return;
        };
        let (now, mut writes) = ((self.context.clock)(), Vec::new());
        let memory = self.memory.entry(namespace.clone()).or_default();
        let mut told = BTreeSet::new();
        for (policy, pods) in gaps.found() {
            let place = (namespace.as_str(), policy.id.name.as_str());
            let record =
                snapshot.look_at_policy(place, |record| status::of(record, policy, pods.count > 0));
            if let Some(record) = record.flatten() {
                told.insert(record.uid.clone());
                memory.plan(place.0, record, &pods.verdict(place.0), now, &mut writes);
            }
            // However many there are, requests are answered in between.
            yield_now().await;
        }
        memory.retain(&told);
        // What could not be written is tried again at the next look.
        self.writer.carry_out(writes, memory).await;
    }

    /// Sends an event to each of those.
    async fn tell(&self, news: Vec<Owned>) {
        let now = (self.context.clock)();
        let events = stream::iter(news).map(|owned| async move {
            let namespace = owned.owner.namespace.clone().unwrap_or_default();
            let condition = owned
                .verdict(&namespace)
                .condition::<InjectionStatus>(None, now, None);
            self.writer.tell(owned.owner, &condition).await;
        });
        events
            .buffer_unordered(EVENTS_AT_ONCE)
            .collect::<()>()
            .await;
    }

    fn failed(&mut self, error: &ListError) {
        self.failures = self.failures.saturating_add(1);
        let error = Chain(error);
        if self.failures == 1 {
            warn!(%error, "pods without the sidecar could not be looked for");
        } else {
            debug!(%error, "pods without the sidecar can still not be looked for");
        }
    }
}

/// Whether nothing is injected there, whatever is labelled. `home` is the namespace of the operator.
fn is_never(home: &str, namespace: &str) -> bool {
    let of_home = namespace.strip_prefix(home);
    NEVER.contains(&namespace) || of_home.is_some_and(|rest| rest.is_empty() || rest == KEYS)
}

/// How often everything is looked at, if that takes no longer.
const LOOK: Duration = Duration::from_secs(60);

/// How long after a change what changed is looked at: its other status is written by then.
const SETTLE: Duration = Duration::from_secs(2);

/// Where pods are never injected, beside the namespaces of the release.
const NEVER: [&str; 2] = ["kube-system", "kube-node-lease"];

/// What follows the name of the operator's namespace in that of the keys.
const KEYS: &str = "-keys";

/// Where those were found that ask by their own label.
const EVERYWHERE: &str = "";

/// Owners in the whole cluster that are told of such pods.
const MOST_ASKING: usize = 500;

/// Service accounts that one visit of a namespace looks at: some 5 s of the lister's pace.
const ACCOUNTS_OF_VISIT: usize = 50;

/// How many events are sent at once.
const EVENTS_AT_ONCE: usize = 8;
