//! The revocations that this replica knows of, and how far it has read.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use hallpass_core::{
    fault::Faults,
    name::Namespace,
    revocation::{Full, Kind, Missing, RawRevocation, Reported, Revocation, RevocationSet, Target},
};
use hallpass_crds::revocation::RevocationStatus;
use jiff::Timestamp;
use kube::{
    Resource,
    core::{DeserializeGuard, object::HasStatus},
    runtime::watcher::Event,
};
use tokio::sync::{Notify, watch as channel};
use tracing::{error, warn};

use crate::{
    replica::Observed,
    telemetry::{Metrics, label},
};

/// The revocations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Revocations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    /// Told whenever one came, changed or went.
    observed: channel::Sender<Observed>,
    /// Room was made for what had none.
    room: Notify,
    clock: fn() -> Timestamp,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    set: RevocationSet,
    /// What is stored and not in force.
    refused: BTreeMap<Place, RefusedRevocation>,
    /// More of that than is kept here.
    unlisted: usize,
    synced: [bool; 2],
    /// While a list comes in: the newest version in it.
    newest: [u64; 2],
}

/// Where a revocation is stored: its kind, its namespace if it has one, its name.
pub(crate) type Place = (Kind, Option<Box<str>>, Box<str>);

/// A stored revocation that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRevocation {
    /// `metadata.uid`
    pub(crate) uid: Box<str>,
    /// `metadata.resourceVersion`
    pub(crate) resource_version: Box<str>,
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

/// A kind that revokes.
pub(super) trait Revokes:
    Resource<DynamicType = ()> + HasStatus<Status = RevocationStatus>
{
    const KIND: Kind;
    fn raw(&self) -> RawRevocation;
}

impl Revokes for hallpass_crds::token_revocation::TokenRevocation {
    const KIND: Kind = Kind::Namespaced;
    fn raw(&self) -> RawRevocation {
        self.into()
    }
}

impl Revokes for hallpass_crds::cluster_token_revocation::ClusterTokenRevocation {
    const KIND: Kind = Kind::Cluster;
    fn raw(&self) -> RawRevocation {
        self.into()
    }
}

impl Revocations {
    pub(super) fn new(metrics: Metrics, clock: fn() -> Timestamp) -> Self {
        Self(Arc::new(Shared {
            state: RwLock::default(),
            observed: channel::Sender::default(),
            room: Notify::new(),
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

    /// How far this replica has read. Told whenever a revocation came, changed or went.
    #[must_use]
    pub fn observed(&self) -> channel::Receiver<Observed> {
        self.0.observed.subscribe()
    }

    /// What is stored and not in force, as far as it is kept.
    pub(crate) fn not_in_force(&self) -> BTreeMap<Place, RefusedRevocation> {
        self.read(|state| state.refused.clone())
    }

    /// Waits until there is room for what had none.
    pub(super) async fn room(&self) {
        self.0.room.notified().await;
    }

    /// Makes room.
    pub(super) fn tidy(&self) {
        let now = (self.0.clock)();
        self.write(|state| state.set.tidy(now));
    }

    pub(super) fn take<K: Revokes>(&self, events: Vec<Event<DeserializeGuard<K>>>) {
        let now = (self.0.clock)();
        let missing = self.write(|state| {
            let mut missing = 0;
            for event in events {
                if let Some(Missing(count)) = state.take(event, now) {
                    missing += count;
                }
            }
            missing
        });
        if missing > 0 {
            let kind = K::KIND.as_str();
            error!(
                watch.kind = kind,
                count = missing,
                "revocations are missing that nobody has seen deleted: they stay in force until they would have expired"
            );
        }
        let (kept, refused, invalid) = self.read(|state| {
            let invalid = |((kind, _, _), refused): &(&Place, &RefusedRevocation)| {
                *kind == K::KIND && !matches!(refused.why, NotInForce::Full(_))
            };
            let invalid = state.refused.iter().filter(invalid).count();
            (state.set.of_kind(K::KIND), state.without_room(), invalid)
        });
        let metrics = &self.0.metrics;
        let kind = match K::KIND {
            Kind::Namespaced => label::Kind::TokenRevocation,
            Kind::Cluster => label::Kind::ClusterTokenRevocation,
        };
        metrics.watch_objects(kind, kept);
        metrics.unreadable_objects(kind, invalid);
        metrics.revocations_refused(refused);
        let epochs = self.ask(RevocationSet::epochs);
        self.0.observed.send_modify(|observed| {
            *observed = Observed {
                epochs: [epochs.namespaced, epochs.cluster],
                refused,
                revocations: observed.revocations.wrapping_add(1),
            };
        });
    }

    fn read<R>(&self, question: impl FnOnce(&State) -> R) -> R {
        question(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.set.len();
        let answer = change(&mut state);
        let room = state.set.len() < before && state.without_room() > 0;
        drop(state);
        if room {
            self.0.room.notify_waiters();
        }
        answer
    }
}

impl State {
    fn take<K: Revokes>(
        &mut self,
        event: Event<DeserializeGuard<K>>,
        now: Timestamp,
    ) -> Option<Missing> {
        let kind = K::KIND;
        match event {
            Event::Init => {
                self.newest[kind as usize] = 0;
                self.refused.retain(|(of, _, _), _| *of != kind);
                self.unlisted = 0;
                self.set.begin(kind);
            }
            Event::InitApply(object) => {
                let version = self.put(&object, now);
                let newest = &mut self.newest[kind as usize];
                *newest = version.max(*newest);
            }
            Event::InitDone => {
                self.synced[kind as usize] = true;
                let newest = self.newest[kind as usize];
                return Some(self.set.finish(kind, newest, now));
            }
            Event::Apply(object) => {
                let version = self.put(&object, now);
                self.set.read_up_to(kind, version);
            }
            Event::Delete(object) => {
                let version = self.remove(&object);
                self.set.read_up_to(kind, version);
            }
        }
        None
    }

    /// Puts in force what can be. Returns its version.
    fn put<K: Revokes>(&mut self, object: &DeserializeGuard<K>, now: Timestamp) -> u64 {
        let outcome = parse(object).and_then(|(target, revocation)| {
            self.set.put(&target, revocation, now)?;
            Ok(())
        });
        let Some(place) = place(object) else {
            return 0;
        };
        match outcome {
            Ok(()) => drop(self.refused.remove(&place)),
            Err(why) => self.refuse(place, object, why),
        }
        version(object)
    }

    fn refuse<K: Revokes>(&mut self, place: Place, object: &DeserializeGuard<K>, why: NotInForce) {
        let metadata = object.meta();
        let refused = RefusedRevocation {
            uid: metadata.uid.clone().unwrap_or_default().into(),
            resource_version: metadata.resource_version.clone().unwrap_or_default().into(),
            why,
            reported: match &object.0 {
                Ok(object) => object
                    .status()
                    .map(RevocationStatus::reported)
                    .unwrap_or_default(),
                Err(_) => Reported::Nothing,
            },
        };
        let known = self.refused.get(&place);
        if known.is_none_or(|known| known.why != refused.why || known.uid != refused.uid) {
            let (kind, namespace, name) = &place;
            let (kind, namespace) = (kind.as_str(), namespace.as_deref().unwrap_or_default());
            error!(object.kind = kind, object.namespace = namespace, object.name = &**name, error = %refused.why, "a revocation is NOT in force");
        }
        if known.is_some() || self.refused.len() < MOST_LISTED {
            self.refused.insert(place, refused);
        } else if matches!(refused.why, NotInForce::Full(_)) {
            self.unlisted += 1;
        } else {
            warn!("more revocations cannot be read than are reported on");
        }
    }

    fn remove<K: Revokes>(&mut self, object: &DeserializeGuard<K>) -> u64 {
        if let Some(place) = place(object) {
            self.refused.remove(&place);
        }
        if let Ok((target, revocation)) = parse(object) {
            self.set.remove(&target, revocation.kind, &revocation.name);
        }
        version(object)
    }

    fn without_room(&self) -> usize {
        let full = |r: &&RefusedRevocation| matches!(r.why, NotInForce::Full(_));
        self.refused.values().filter(full).count() + self.unlisted
    }
}

fn parse<K: Revokes>(
    object: &DeserializeGuard<K>,
) -> Result<(Target<'static>, Revocation), NotInForce> {
    match &object.0 {
        Ok(object) => Ok(object.raw().parse()?),
        Err(invalid) => Err(NotInForce::Unreadable(invalid.error.clone())),
    }
}

fn place<K: Revokes>(object: &DeserializeGuard<K>) -> Option<Place> {
    let metadata = object.meta();
    let namespace = metadata
        .namespace
        .as_deref()
        .map(Namespace::parse)
        .transpose()
        .ok()?;
    let namespace = namespace.map(|namespace| namespace.as_str().into());
    Some((K::KIND, namespace, metadata.name.as_deref()?.into()))
}

fn version<K: Revokes>(object: &DeserializeGuard<K>) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// How many of those that are not in force are reported on.
const MOST_LISTED: usize = 1000;

#[cfg(test)]
mod tests;
