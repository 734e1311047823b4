//! One look at all revocations: what is to be written, what to be deleted, and when to look again.

use std::{collections::BTreeMap, time::Duration};

use hallpass_core::revocation::{Kind, Reported, Revocation, Target};
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, token_revocation::TokenRevocation,
};
use tokio::{task::yield_now, time::Instant};

use super::{
    delete::Deletion,
    desired::{Report, View, desired, says},
    kind::StatusOf,
    pause::Pauses,
    queue::{Due, MOST, Queue},
};
use crate::{
    controller::plan::Write,
    index::revocations::{Place, RefusedRevocation, Revocations},
};

/// What came of it. What is in it is bounded, whatever is to be done.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) own: Vec<Write<StatusOf<TokenRevocation>>>,
    pub(super) cluster: Vec<Write<StatusOf<ClusterTokenRevocation>>>,
    pub(super) deletions: Vec<Deletion>,
    /// There is more than is done in one go.
    more: bool,
    /// When the time alone changes something, in seconds since 1970.
    next: Option<i64>,
    /// A pod was looked up, and no watch of revocations tells when it goes.
    pod: bool,
}

/// How many events there may be: the API server keeps each for an hour, and the status says the same.
#[derive(Debug)]
pub(super) struct Events {
    since: Instant,
    left: usize,
    /// How many a namespace has had.
    of: BTreeMap<Box<str>, usize>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            left: MOST_EVENTS,
            of: BTreeMap::new(),
        }
    }
}

impl Events {
    /// Whether an event tells of that. Half of them are for the cluster, and no namespace has many.
    fn tell(&mut self, says: Reported, namespace: Option<&str>) -> bool {
        let told = match says {
            Reported::Enforced | Reported::OutsideGuard => true,
            Reported::TooMany | Reported::Invalid => true,
            Reported::Nothing | Reported::Pending | Reported::Expired => false,
        };
        if self.since.elapsed() >= EVENTS_PER {
            *self = Self::default();
        }
        let had = namespace.and_then(|namespace| self.of.get(namespace));
        let shared = self.of.values().sum::<usize>() < MOST_EVENTS / 2;
        let fair = namespace.is_none() || (shared && had.is_none_or(|had| *had < SHARE));
        let told = told && fair && self.left > 0;
        self.left -= usize::from(told);
        if let Some(namespace) = namespace.filter(|_| told) {
            *self.of.entry(namespace.into()).or_default() += 1;
        }
        told
    }
}

impl Round {
    /// Looks at those that are in force, a few at a time, and at those that are stored and not in force, and
    /// takes up what it is the turn of.
    pub(super) async fn look(
        &mut self,
        (revocations, refused): (&Revocations, &BTreeMap<Place, RefusedRevocation>),
        view: &View<'_>,
        pauses: &Pauses,
        events: &mut Events,
    ) {
        let mut queue = Queue::default();
        let mut from = 0;
        loop {
            // Copied, so that who writes to the set does not wait for what is made of them.
            let chunk: Vec<_> = revocations.ask(|set| {
                let chunk = set.iter().skip(from).take(AT_ONCE);
                let copied = chunk.map(|(target, revocation, namespace)| {
                    (
                        target.into_owned(),
                        revocation.clone(),
                        namespace.map(Box::<str>::from),
                    )
                });
                copied.collect()
            });
            let seen = chunk.len();
            for (target, revocation, namespace) in chunk {
                if self.wants((&target, &revocation, namespace.as_deref()), view, pauses) {
                    queue.push(Due::Stored(target, revocation, namespace));
                }
            }
            from += seen;
            if seen < AT_ONCE {
                break;
            }
            yield_now().await;
        }
        for (place, stored) in refused {
            let says = super::desired::refused(place, stored, view.now).says;
            let held = pauses.hold(&stored.uid, says, Instant::now());
            if says != stored.reported && !held {
                queue.push(Due::Refused(place.clone(), stored.clone()));
            }
        }
        self.take_up(queue, view, pauses, events);
    }

    /// Takes up as many as are written in one go.
    fn take_up(&mut self, queue: Queue, view: &View<'_>, pauses: &Pauses, events: &mut Events) {
        self.more |= queue.is_over();
        let (cluster, others) = queue.turns();
        // What remembers only those of the cluster yet has room for no others.
        let others = others.take_while(|_| !pauses.is_nearly_full());
        for due in cluster.into_iter().chain(others) {
            if self.own.len() + self.cluster.len() >= MOST {
                self.more = true;
                break;
            }
            match due {
                Due::Stored(target, revocation, namespace) => {
                    let namespace = namespace.as_deref();
                    let uid = revocation.uid.to_string();
                    let object = (revocation.kind, namespace, revocation.name.as_str(), &*uid);
                    if let Some(report) = desired(&target, &revocation, namespace, view) {
                        self.write(object, report, events);
                    }
                }
                Due::Refused((kind, namespace, name), stored) => {
                    let place = (kind, namespace, name);
                    let report = super::desired::refused(&place, &stored, view.now);
                    let (kind, namespace, name) = &place;
                    let object = (*kind, namespace.as_deref(), &**name, &*stored.uid);
                    self.write(object, report, events);
                }
            }
        }
    }

    /// Whether there is more than is done in one go.
    pub(super) const fn is_full(&self) -> bool {
        // What waits for its turn while nothing can be done is looked at when a pause ends.
        let idle = self.own.is_empty() && self.cluster.is_empty() && self.deletions.is_empty();
        self.more && !idle
    }

    /// When to look again although nothing has changed. `now` is the time of the look.
    pub(super) fn later(&self, now: i64) -> Option<Instant> {
        let start = Instant::now();
        let next = self.next.map(|at| {
            let left = u64::try_from(at.saturating_sub(now)).unwrap_or_default();
            start + Duration::from_secs(left.min(LONGEST)) + SLACK
        });
        let pod = self.pod.then(|| start + POD);
        [next, pod].into_iter().flatten().min()
    }

    /// Whether a status is to be written. What is to be deleted is taken up at once.
    fn wants(
        &mut self,
        (target, revocation, namespace): (&Target<'_>, &Revocation, Option<&str>),
        view: &View<'_>,
        pauses: &Pauses,
    ) -> bool {
        let now = view.now.as_second();
        let says = says(target, revocation, view);
        self.pod |= matches!(target, Target::Pod(..))
            && matches!(revocation.reported, Reported::OutsideGuard);
        let end = revocation.expires();
        let gone = end.and_then(|end| Some(end.saturating_add(revocation.ttl()?.into())));
        let times = [end, gone].into_iter().flatten();
        self.next = times.chain(self.next).filter(|time| *time > now).min();
        let reported = revocation.reported;
        if says != reported {
            return !pauses.hold(&revocation.uid.to_string(), says, Instant::now());
        }
        // The API server lets nothing be deleted of which the status does not say that it has expired.
        if reported == Reported::Expired && gone.is_some_and(|gone| gone <= now) {
            let uid = revocation.uid.to_string();
            if self.deletions.len() >= MOST {
                self.more = true;
            } else if !pauses.is_nearly_full() && !pauses.hold_deletion(&uid, Instant::now()) {
                self.deletions.push(Deletion {
                    kind: revocation.kind,
                    namespace: namespace.unwrap_or_default().into(),
                    name: revocation.name.as_str().into(),
                    uid: uid.into(),
                });
            }
        }
        false
    }

    fn write(
        &mut self,
        (kind, namespace, name, uid): (Kind, Option<&str>, &str, &str),
        report: Report,
        events: &mut Events,
    ) {
        let transition = events.tell(report.says, namespace);
        let (namespace, name) = (namespace.unwrap_or_default().into(), name.into());
        match kind {
            Kind::Namespaced => self.own.push(Write {
                namespace,
                name,
                uid: uid.into(),
                status: StatusOf::new(report.status),
                transition,
            }),
            Kind::Cluster => self.cluster.push(Write {
                namespace,
                name,
                uid: uid.into(),
                status: StatusOf::new(report.status),
                transition,
            }),
        }
    }
}

/// How many are looked at in one go.
const AT_ONCE: usize = 4096;

/// How many events there are at most in that time.
const MOST_EVENTS: usize = 500;
/// How many of them one namespace has at most.
const SHARE: usize = 50;

const EVENTS_PER: Duration = Duration::from_secs(360);

/// How soon a pod is looked up again.
const POD: Duration = Duration::from_secs(10);

/// How long after a time it is looked.
const SLACK: Duration = Duration::from_secs(1);

/// Everything is looked at more often anyway.
const LONGEST: u64 = 3600;
