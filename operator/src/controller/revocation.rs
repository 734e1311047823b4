//! Reports on every TokenRevocation and ClusterTokenRevocation: whether it is in force on every replica,
//! why not, and when it has nothing left to refuse. Deletes those that asked for it then.
//!
//! Level-triggered: whatever changed, all of them are looked at that it may concern, and only those whose
//! status says something else are written. No token is refused because of what is written here.

use std::collections::BTreeSet;

use hallpass_core::revocation::Epochs;
use kube::Client;
use tokio::{sync::watch, time::Instant};
use tracing::debug;

use self::{
    backlog::Backlog,
    desired::{Elsewhere, LASTING, View},
    outside::Outside,
    pause::Pauses,
    round::Round,
};
use super::{
    Context,
    round::{Rounds, UNSYNCED, told, while_leading},
    write::Writer,
};
use crate::{
    index::{Index, Snapshot, revocations::NotInForce},
    keys::Keys,
    lease::tenure::Tenure,
    telemetry::Metrics,
};

mod backlog;
mod delete;
mod desired;
mod kind;
mod outside;
mod pause;
mod queue;
mod round;
#[cfg(test)]
mod tests;

/// What all live replicas have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    /// How far every one of them has read: the least of each kind.
    pub epochs: Epochs,
    /// How many there are; 0 while that is not known.
    pub replicas: usize,
    /// The most revocations that one of them has no room for.
    pub refused: usize,
    /// Which revocations none of them can read, in one number; [`None`] where they differ.
    pub unread: Option<u64>,
}

/// Reports and deletes whenever this replica leads. Never returns. By `keys` it tells which are still there.
///
/// # Guarantees
/// Nothing is sent any more once `leader` says that this replica does not lead.
pub async fn run(
    index: Index,
    keys: Keys,
    agreement: watch::Receiver<Agreement>,
    client: Client,
    leader: watch::Receiver<Tenure>,
    context: Context,
    metrics: Metrics,
) {
    let work = || async {
        let pod = &context.pod;
        let mut term = Term {
            index: &index,
            keys: &keys,
            agreement: agreement.clone(),
            client: &client,
            leader: leader.clone(),
            context: &context,
            writer: Writer::new(client.clone(), pod, leader.clone(), metrics.clone()),
            pauses: Pauses::default(),
            backlog: Backlog::default(),
            concerns: (index.consents(), keys.changes()),
            before: None,
            differing: None,
        };
        let mut rounds = Rounds::new([
            told(index.revocations().observed()),
            told(index.consents()),
            told(agreement.clone()),
            told(keys.changes()),
        ]);
        loop {
            rounds.next().await;
            rounds.again(match index.snapshot() {
                Ok(snapshot) => term.round(&snapshot).await,
                Err(_) => Some(Instant::now() + UNSYNCED),
            });
        }
    };
    while_leading(leader.clone(), work).await;
}

/// What a leader knows, until it is none.
struct Term<'a> {
    index: &'a Index,
    keys: &'a Keys,
    agreement: watch::Receiver<Agreement>,
    client: &'a Client,
    leader: watch::Receiver<Tenure>,
    context: &'a Context,
    writer: Writer,
    pauses: Pauses,
    backlog: Backlog,
    /// What any of them depends on: the policies and the keys,
    concerns: (watch::Receiver<()>, watch::Receiver<u64>),
    /// and the other replicas, as they were in the last round: whether there are any, and what they leave out.
    before: Option<(bool, Elsewhere)>,
    /// Since when another replica leaves out what this one does not.
    differing: Option<Instant>,
}

impl Term<'_> {
    /// Brings a bounded number of statuses up to date. Returns when to look again, if at all.
    async fn round(&mut self, snapshot: &Snapshot) -> Option<Instant> {
        let (round, later) = self.plan(snapshot).await;
        // What waits for its turn while nothing can be done is looked at when a pause ends.
        let more = self.backlog.has_more() && !round.is_idle();
        let Round {
            own,
            cluster,
            deletions,
            looked,
        } = round;
        let written = own.len() + cluster.len();
        debug!(looked, written, "revocations were looked at");
        let pauses = &mut self.pauses;
        self.writer.carry_out(cluster, pauses).await;
        self.writer.carry_out(own, pauses).await;
        delete::carry_out(self.client, &self.leader, deletions, pauses).await;
        let now = Instant::now();
        self.backlog.doubt(pauses.doubt(now));
        if more {
            return Some(now);
        }
        [later, pauses.end(now)].into_iter().flatten().min()
    }

    async fn plan(&mut self, snapshot: &Snapshot) -> (Round, Option<Instant>) {
        let revocations = self.index.revocations();
        let refused = revocations.not_in_force();
        let unreadable = refused
            .values()
            .filter(|r| matches!(r.why, NotInForce::Unreadable(_)));
        let unreadable: BTreeSet<&str> = unreadable.map(|r| &*r.uid).collect();
        self.pauses.tidy(Instant::now(), &unreadable);
        if self.pauses.is_full() {
            return (Round::default(), None);
        }
        let agreement = *self.agreement.borrow();
        let here = *revocations.observed().borrow();
        let elsewhere = Elsewhere::new(&here, &agreement);
        let (elsewhere, settles) = self.lasting(elsewhere);
        self.compare((agreement.replicas == 0, elsewhere));
        let rules = snapshot.rules();
        let view = View {
            agreement: &agreement,
            elsewhere: &elsewhere,
            outside: &Outside::new(&rules.policies, &snapshot.asking()),
            revocations,
            keys: self.keys,
            snapshot,
            home: &self.context.operator.namespace,
            now: (self.context.clock)(),
        };
        let pauses = &mut self.pauses;
        let round = self.backlog.round(&refused, &view, pauses).await;
        let later = self.backlog.later(view.now.as_second());
        (round, [later, settles].into_iter().flatten().min())
    }

    /// Has all of them looked at where something changed that any of them depends on.
    fn compare(&mut self, others: (bool, Elsewhere)) {
        let (policies, keys) = &mut self.concerns;
        let mut changed = self.before.replace(others) != Some(others);
        changed |= policies.has_changed().unwrap_or_default();
        changed |= keys.has_changed().unwrap_or_default();
        policies.mark_unchanged();
        keys.mark_unchanged();
        if changed {
            self.backlog.spoil();
        }
    }

    /// The same with how long that has been so, and when that is long.
    fn lasting(&mut self, elsewhere: Elsewhere) -> (Elsewhere, Option<Instant>) {
        if !elsewhere.is_something() {
            self.differing = None;
            return (elsewhere, None);
        }
        let since = *self.differing.get_or_insert_with(Instant::now);
        let settles = Some(since + LASTING).filter(|at| *at > Instant::now());
        (elsewhere.for_as_long_as(since.elapsed()), settles)
    }
}
