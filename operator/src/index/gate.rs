//! Between the watch of a kind and the index: what goes only because the definition of the kind went does not go.
//!
//! A definition that is deleted takes every object of its kind with it, which nobody means to revoke. While it is
//! away the last that was known goes on, loudly. When it is back its objects count as they come, and those that it
//! lacks are let go of a while later: whoever put it back has written them again by then.

use std::time::Duration;

use kube::{Client, Resource, runtime::watcher::Event};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::{
    definition::{Definition, Found},
    freshness::Stamp,
};
use crate::telemetry::{Metrics, label::Kind};

/// What the watch of one kind goes through.
pub(crate) struct Gate {
    pub(super) kind: Kind,
    pub(super) metrics: Metrics,
    /// [`None`] for a kind that is always there.
    defined: Option<Defined>,
}

/// What is known of the definition of a kind.
struct Defined {
    kind: Kind,
    metrics: Metrics,
    definition: Definition,
    /// Of the watch: that the definition is away is a proof that nothing newer is known.
    stamp: Stamp,
    /// The uid that it had when it was last seen.
    uid: Option<Box<str>>,
    /// A whole list has counted.
    synced: bool,
    /// It went, and no list has counted since.
    missing: bool,
    /// Until then nothing goes that only a list lacks.
    spares: Option<Instant>,
    /// The end of a list is held back until then.
    held: bool,
}

/// What counts.
#[derive(Debug, Clone, Copy)]
struct Counting {
    /// That an object was deleted.
    deletions: bool,
    /// That a list lacks one.
    lists: bool,
}

/// Everything does.
const WHOLE: Counting = Counting {
    deletions: true,
    lists: true,
};

impl Gate {
    /// The gate of a kind whose definition nobody can delete.
    pub(crate) const fn open(kind: Kind, metrics: Metrics) -> Self {
        Self {
            kind,
            metrics,
            defined: None,
        }
    }

    /// The gate of a kind of ours, or of another one.
    pub(super) fn of<K: Resource<DynamicType = ()>>(
        client: Client,
        kind: Kind,
        stamp: Stamp,
        metrics: Metrics,
    ) -> Self {
        let mut gate = Self::open(kind, metrics);
        gate.defined = Kind::DEFINED.contains(&kind).then(|| Defined {
            kind,
            metrics: gate.metrics.clone(),
            definition: Definition::of::<K>(client),
            stamp,
            uid: None,
            synced: false,
            missing: false,
            spares: None,
            held: false,
        });
        gate
    }

    /// Waits until there is a definition, or nobody says. What is listed from then on is of that one.
    pub(super) async fn ready(&mut self) {
        if let Some(defined) = &mut self.defined {
            defined.ready().await;
        }
    }

    /// Hands the events that count on to `take`, and says whether the watch goes on.
    pub(super) async fn pass<F>(
        &mut self,
        mut events: Vec<Event<F>>,
        mut take: impl FnMut(Vec<Event<F>>),
    ) -> bool {
        let mut hand_on = |events: Vec<Event<F>>| {
            if !events.is_empty() {
                take(events);
            }
        };
        let Some(defined) = &mut self.defined else {
            hand_on(events);
            return true;
        };
        let goes = |event: &Event<F>| matches!(event, Event::Delete(_) | Event::InitDone);
        let first = events.iter().position(goes).unwrap_or(events.len());
        let later = events.split_off(first);
        // What comes before anything goes waits for nothing.
        let counts = events.into_iter().filter_map(|e| defined.pass(e, WHOLE));
        hand_on(counts.collect());
        if later.is_empty() {
            return true;
        }
        // One look for all of them: each came before it.
        let counting = defined.counting().await;
        let goes_on = |event: &Event<F>| match event {
            Event::Delete(_) => counting.deletions,
            _ => counting.lists,
        };
        let goes_on = later.iter().filter(|e| goes(e)).all(goes_on);
        let counts = later.into_iter().filter_map(|e| defined.pass(e, counting));
        hand_on(counts.collect());
        goes_on
    }

    /// Whether the definition is still there, after the API server said that there is no such kind.
    pub(super) async fn is_there(&mut self) -> bool {
        match &mut self.defined {
            Some(defined) => defined.counting().await.lists,
            None => true,
        }
    }

    /// Waits for the time to let go of what the definition lacks, if there is something. Cancelling it loses nothing.
    pub(super) async fn lapsed(&mut self) {
        match &mut self.defined {
            Some(defined) => defined.lapsed().await,
            None => std::future::pending().await,
        }
    }
}

impl Defined {
    async fn ready(&mut self) {
        loop {
            let sent = Instant::now();
            match self.definition.look().await {
                Found::There(uid) => {
                    if self.uid.as_ref().is_some_and(|known| *known != uid) {
                        self.miss();
                    }
                    self.uid = Some(uid);
                    return;
                }
                Found::Unknown | Found::Unasked => {
                    if self.missing {
                        // Whichever there is now, it is not the one that went.
                        self.uid = None;
                    }
                    return;
                }
                Found::Gone => self.miss(),
            }
            if self.synced {
                self.stamp.proven(sent);
            }
            sleep(PACE).await;
        }
    }

    /// What counts of that which has come: all of it, if the definition is the one that it was.
    async fn counting(&mut self) -> Counting {
        let is_there = match self.definition.look().await {
            Found::There(uid) => *self.uid.get_or_insert_with(|| uid.clone()) == uid,
            Found::Unasked => true,
            Found::Gone => false,
            // A revocation that goes by mistake is worse than one that stays: what the next list lacks stays in force.
            Found::Unknown => {
                return Counting {
                    deletions: spares(self.kind),
                    lists: true,
                };
            }
        };
        Counting {
            deletions: is_there,
            lists: is_there,
        }
    }

    fn pass<F>(&mut self, event: Event<F>, counting: Counting) -> Option<Event<F>> {
        match event {
            Event::Init => {
                // Another list has begun: its end is to come.
                self.held = false;
                Some(Event::Init)
            }
            // The end of the list may be held back, and with it that something came.
            Event::InitApply(object) if self.is_sparing() => Some(Event::Apply(object)),
            Event::InitDone => (counting.lists && self.listed()).then_some(Event::InitDone),
            Event::Delete(object) => counting.deletions.then_some(Event::Delete(object)),
            other => Some(other),
        }
    }

    /// Whether what is known and a list lacks stays.
    const fn is_sparing(&self) -> bool {
        self.spares.is_some() || (self.missing && self.synced && spares(self.kind))
    }

    /// A list is complete. Returns whether what it lacks goes now.
    fn listed(&mut self) -> bool {
        let now = Instant::now();
        if self.missing {
            self.missing = false;
            self.metrics.definition_missing(self.kind, false);
            self.back(now);
        }
        self.synced = true;
        self.held = self.spares.is_some_and(|end| now < end);
        if !self.held {
            self.spares = None;
        }
        self.note();
        !self.held
    }

    fn back(&mut self, now: Instant) {
        let definition = self.definition.name();
        if !self.synced {
            info!(definition, "the definition is there");
        } else if spares(self.kind) {
            self.spares = Some(now + SPARED);
            let seconds = SPARED.as_secs();
            warn!(
                definition,
                spared_seconds = seconds,
                "the definition is back: objects that were not written again go when that time is over"
            );
        } else {
            warn!(
                definition,
                "the definition is back: revocations that were not written again go on refusing what they named"
            );
        }
    }

    async fn lapsed(&mut self) {
        match self.spares.filter(|_| self.held) {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
        (self.spares, self.held) = (None, false);
        self.note();
        let definition = self.definition.name();
        info!(definition, "objects that were not written again go");
    }

    /// Puts down whether the cluster has what is known here.
    fn note(&self) {
        self.stamp.bereft(self.missing || self.spares.is_some());
    }

    /// It went.
    fn miss(&mut self) {
        if std::mem::replace(&mut self.missing, true) {
            return;
        }
        self.metrics.definition_missing(self.kind, true);
        self.note();
        let definition = self.definition.name();
        if self.synced {
            error!(
                definition,
                "the definition was deleted, and with it every object of its kind: going on with what was known of them. Put it back with helm upgrade, write the objects again, and restart no replica until they are all there"
            );
        } else {
            error!(
                definition,
                "there is no definition: this replica knows nothing of its kind and does not become ready. Put it back with helm upgrade"
            );
        }
    }
}

/// Whether what a list lacks is let go of by the time. [Revocations](hallpass_core::revocation) that a list lacks stay
/// in force in any case.
const fn spares(kind: Kind) -> bool {
    !matches!(kind, Kind::TokenRevocation | Kind::ClusterTokenRevocation)
}

/// How long after the first list of a definition that is back the objects stay that it lacks: the controllers that may
/// write them again look every five or ten minutes.
const SPARED: Duration = Duration::from_secs(15 * 60);

/// How often it is looked whether a definition is back.
const PACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
