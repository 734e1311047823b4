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
            definition: Definition::of::<K>(client, patience(kind)),
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

    /// Lets the events through that count, and says whether the definition is still there: if not, the watch is over.
    pub(super) async fn pass<F>(&mut self, events: Vec<Event<F>>) -> (Vec<Event<F>>, bool) {
        let Some(defined) = &mut self.defined else {
            return (events, true);
        };
        // One look for all of them: each came before it.
        let told = |event: &Event<F>| matches!(event, Event::Delete(_) | Event::InitDone);
        let there = !events.iter().any(told) || defined.is_there().await;
        let counts = events.into_iter().filter_map(|e| defined.pass(e, there));
        (counts.collect(), there)
    }

    /// Whether the definition is still there, after the API server said that there is no such kind.
    pub(super) async fn is_there(&mut self) -> bool {
        match &mut self.defined {
            Some(defined) => defined.is_there().await,
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
                // The list will tell.
                Found::Unknown => return,
                Found::Gone => self.miss(),
            }
            if self.synced {
                self.stamp.proven(sent);
            }
            sleep(PACE).await;
        }
    }

    /// Whether it is the one that it was. Where nobody says, it is.
    async fn is_there(&mut self) -> bool {
        match self.definition.look().await {
            Found::There(uid) => *self.uid.get_or_insert_with(|| uid.clone()) == uid,
            Found::Unknown => true,
            Found::Gone => false,
        }
    }

    fn pass<F>(&mut self, event: Event<F>, there: bool) -> Option<Event<F>> {
        match event {
            Event::Init => {
                // Another list has begun: its end is to come.
                self.held = false;
                Some(Event::Init)
            }
            // The end of the list may be held back, and with it that something came.
            Event::InitApply(object) if self.is_sparing() => Some(Event::Apply(object)),
            Event::InitDone => (there && self.listed()).then_some(Event::InitDone),
            Event::Delete(object) => there.then_some(Event::Delete(object)),
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
                "the definition is back: revocations that were not written again refuse what was issued before"
            );
        }
    }

    async fn lapsed(&mut self) {
        match self.spares.filter(|_| self.held) {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
        (self.spares, self.held) = (None, false);
        let definition = self.definition.name();
        info!(definition, "objects that were not written again go");
    }

    /// It went.
    fn miss(&mut self) {
        if std::mem::replace(&mut self.missing, true) {
            return;
        }
        self.metrics.definition_missing(self.kind, true);
        let definition = self.definition.name();
        if self.synced {
            error!(
                definition,
                "the definition was deleted, and with it every object of its kind: going on with what was known of them. Put it back with helm upgrade, write the objects again, and restart no replica before"
            );
        } else {
            error!(
                definition,
                "there is no definition: this replica knows nothing of its kind and does not become ready. Put it back with helm upgrade"
            );
        }
    }
}

/// How long it is waited for what the API server says of a definition before what it deleted counts as deleted. To let
/// go of a revocation by mistake is worse than to let go of it late.
const fn patience(kind: Kind) -> Duration {
    match kind {
        Kind::TokenRevocation | Kind::ClusterTokenRevocation => Duration::from_secs(3),
        _ => Duration::from_secs(1),
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
