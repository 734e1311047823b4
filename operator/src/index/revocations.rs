//! The revocations that this replica knows of, and how far it has read.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use hallpass_core::{
    fault::Faults,
    revocation::{Full, Handle, Kind, Missing, Reported, RevocationSet},
};
use jiff::Timestamp;
use kube::runtime::watcher::Event;
use tokio::{sync::watch as channel, time::Instant};
use tracing::error;

pub(super) use self::read::{Read, Revokes};
use self::state::{Filling, State};
use crate::{
    replica::Observed,
    telemetry::{Metrics, label},
};

mod read;
mod state;

/// The revocations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Revocations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    /// Told whenever one came, changed or went.
    observed: channel::Sender<Observed>,
    clock: fn() -> Timestamp,
    metrics: Metrics,
}

/// Where a revocation is stored: its kind, its namespace if it has one, its name.
pub(crate) type Place = (Kind, Option<Box<str>>, Box<str>);

/// A stored revocation that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRevocation {
    /// `metadata.uid`
    pub(crate) uid: Box<str>,
    /// Why not.
    pub(crate) why: NotInForce,
    /// What its status says.
    pub(crate) reported: Reported,
}

/// Why a stored revocation is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotInForce {
    /// There is no room.
    #[error(transparent)]
    Full(#[from] Full),
    /// It is not of the form that this version knows.
    #[error("the stored object cannot be read: {0}")]
    Unreadable(String),
    /// It says what none of its kind may say.
    #[error(transparent)]
    Invalid(#[from] Faults),
}

impl Revocations {
    pub(super) fn new(metrics: Metrics, clock: fn() -> Timestamp) -> Self {
        Self(Arc::new(Shared {
            state: RwLock::default(),
            observed: channel::Sender::default(),
            clock,
            metrics,
        }))
    }

    /// Whether both kinds have been read once.
    pub(super) fn synced(&self) -> bool {
        self.read(|state| state.synced == [true; 2])
    }

    /// Asks the set. It does not change meanwhile, so what is asked should be little.
    pub fn ask<R>(&self, question: impl FnOnce(&RevocationSet) -> R) -> R {
        self.read(|state| question(&state.set))
    }

    /// Those that came or have another status since the last call: for one reader. [`None`] if it may be any.
    pub(crate) fn changed(&self) -> Option<Vec<Handle>> {
        self.write(|state| state.set.changed())
    }

    /// How far this replica has read. Told whenever a revocation came, changed or went.
    #[must_use]
    pub fn observed(&self) -> channel::Receiver<Observed> {
        self.0.observed.subscribe()
    }

    /// What is stored and not in force: of those that cannot be, and of those without room whose status does not
    /// say so yet, the first [`MOST_LISTED`] each.
    pub(crate) fn not_in_force(&self) -> BTreeMap<Place, RefusedRevocation> {
        self.read(|state| {
            let untold = state.set.waiting();
            let untold = untold.filter(|(_, one, ..)| one.reported != Reported::TooMany);
            let waiting = untold.take(MOST_LISTED);
            let waiting = waiting.map(|(_, revocation, namespace, why)| {
                let namespace = namespace.map(Box::from);
                let place = (revocation.kind, namespace, revocation.name.as_str().into());
                let refused = RefusedRevocation {
                    uid: revocation.uid.to_string().into(),
                    why: why.into(),
                    reported: revocation.reported,
                };
                (place, refused)
            });
            let invalid = state.invalid.iter();
            let invalid = invalid.map(|(place, refused)| (place.clone(), refused.clone()));
            invalid.chain(waiting).collect()
        })
    }

    /// Makes room.
    pub(super) fn tidy(&self) {
        let now = (self.0.clock)();
        self.write(|state| state.set.tidy(now));
    }

    /// The kind of which more is stored than is known here, where there is room for it now.
    pub(super) fn lacks(&self) -> Option<Kind> {
        self.read(|state| {
            let mut kinds = Kind::ALL.into_iter();
            kinds.find(|kind| state.set.wants_list(*kind) || state.unfilled[*kind as usize])
        })
    }

    /// A list of that kind begins that is to fill it up, beside the watch.
    pub(super) fn begin_filling(&self, kind: Kind) {
        self.write(|state| {
            state.set.look_again(kind);
            state.unfilled[kind as usize] = true;
            state.filling = Some(Filling {
                kind,
                gone: HashSet::new(),
            });
        });
    }

    /// Takes in a page of it. Returns whether to go on: the watch may have begun anew meanwhile, and then
    /// it brings all of them.
    pub(super) fn fill(&self, kind: Kind, page: Vec<Read>) -> bool {
        let now = (self.0.clock)();
        self.write(|state| {
            let Some(filling) = state.filling.take().filter(|f| f.kind == kind) else {
                return false;
            };
            for read in page {
                // What cannot be read has no room to wait for.
                if !filling.gone.contains(&read.uid)
                    && let Ok((target, revocation)) = read.says
                {
                    let _no_room = state.set.put(&target, revocation, now);
                }
            }
            state.set.settle(now);
            state.filling = Some(filling);
            true
        })
    }

    /// The list ended, to its end or not.
    pub(super) fn end_filling(&self, kind: Kind, complete: bool) {
        self.write(|state| {
            state.filling = None;
            state.unfilled[kind as usize] = !complete;
        });
        self.tell(kind);
    }

    /// Takes in what the watch of that kind delivered.
    pub(super) fn take(&self, kind: Kind, events: Vec<Event<Read>>) {
        let now = (self.0.clock)();
        let missing = self.write(|state| {
            let mut missing = 0;
            for event in events {
                if let Some(Missing(count)) = state.take(kind, event, now) {
                    missing += count;
                }
            }
            state.set.settle(now);
            missing
        });
        if missing > 0 {
            error!(
                watch.kind = kind.as_str(),
                count = missing,
                "revocations are missing that nobody has seen deleted: they stay in force until they would have expired"
            );
        }
        self.tell(kind);
    }

    /// Tells what has become of those of that kind.
    fn tell(&self, kind: Kind) {
        let (kept, invalid, told) = self.read(|state| {
            let invalid = state.invalid.keys().filter(|(of, _, _)| *of == kind);
            (state.set.of_kind(kind), invalid.count(), state.told())
        });
        let metrics = &self.0.metrics;
        let label = match kind {
            Kind::Namespaced => label::Kind::TokenRevocation,
            Kind::Cluster => label::Kind::ClusterTokenRevocation,
        };
        metrics.watch_objects(label, kept);
        metrics.unreadable_objects(label, invalid);
        let refused = told.refused;
        metrics.revocations_refused(refused);
        if self.write(|state| state.is_news(refused, Instant::now())) {
            error!(
                count = refused,
                "revocations are NOT in force: there are too many; their status says so"
            );
        }
        self.0.observed.send_modify(|observed| {
            *observed = Observed {
                revocations: observed.revocations.wrapping_add(1),
                ..told
            };
        });
    }

    fn read<R>(&self, question: impl FnOnce(&State) -> R) -> R {
        question(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.0.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How many of those that are not in force are reported on, for each reason.
const MOST_LISTED: usize = 1000;

#[cfg(test)]
mod tests;
