//! Reports on every TokenRevocation and ClusterTokenRevocation: whether it is in force on every replica,
//! why not, and when it has nothing left to refuse. Deletes those that asked for it then.
//!
//! Level-triggered: whatever changed, all of them are looked at, and only those whose status says something
//! else are written. No token is refused because of what is written here.

use std::collections::BTreeSet;

use hallpass_core::revocation::Epochs;
use kube::Client;
use tokio::{sync::watch, time::Instant};

use self::{
    desired::{Elsewhere, LASTING, View},
    outside::Outside,
    pause::Pauses,
    round::{Events, Round},
};
use super::{
    Context,
    round::{Rounds, UNSYNCED, told, while_leading},
    write::Writer,
};
use crate::{
    index::{Index, Snapshot, revocations::NotInForce},
    keys::Keys,
    telemetry::Metrics,
};

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
    leader: watch::Receiver<bool>,
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
            events: Events::default(),
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
    leader: watch::Receiver<bool>,
    context: &'a Context,
    writer: Writer,
    pauses: Pauses,
    events: Events,
    /// Since when another replica leaves out what this one does not.
    differing: Option<Instant>,
}

impl Term<'_> {
    /// Brings a bounded number of statuses up to date. Returns when to look again, if at all.
    async fn round(&mut self, snapshot: &Snapshot) -> Option<Instant> {
        let (round, later) = self.plan(snapshot).await;
        let more = round.is_full();
        let Round {
            own,
            cluster,
            deletions,
            ..
        } = round;
        let pauses = &mut self.pauses;
        self.writer.carry_out(cluster, pauses).await;
        self.writer.carry_out(own, pauses).await;
        delete::carry_out(self.client, &self.leader, deletions, pauses).await;
        let now = Instant::now();
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
        let mut round = Round::default();
        if self.pauses.is_full() {
            return (round, None);
        }
        let agreement = *self.agreement.borrow();
        let here = *revocations.observed().borrow();
        let elsewhere = Elsewhere::new(&here, &agreement);
        let (elsewhere, settles) = self.lasting(elsewhere);
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
        let (pauses, events) = (&self.pauses, &mut self.events);
        let stored = (revocations, &refused);
        round.look(stored, &view, pauses, events).await;
        let later = round.later(view.now.as_second());
        (round, [later, settles].into_iter().flatten().min())
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
