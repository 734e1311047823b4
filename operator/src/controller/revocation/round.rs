//! One look at all revocations: what is to be written, what to be deleted, and when to look again.

use std::time::Duration;

use hallpass_core::revocation::{Kind, Reported, Revocation, Target};
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, token_revocation::TokenRevocation,
};
use tokio::{task::yield_now, time::Instant};

use super::{
    delete::Deletion,
    desired::{Report, View, desired, refused},
    kind::StatusOf,
    pause::Pauses,
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
    /// When the time alone changes something, in seconds since 1970.
    next: Option<i64>,
    /// A pod was looked up, and no watch of revocations tells when it goes.
    pod: bool,
}

/// How many events there may be: each is kept for minutes by what sends them, and the status says the same.
#[derive(Debug)]
pub(super) struct Events {
    since: Instant,
    left: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            left: MOST_EVENTS,
        }
    }
}

impl Events {
    /// Whether an event tells of that.
    fn tell(&mut self, says: Reported) -> bool {
        let told = match says {
            Reported::Enforced | Reported::OutsideGuard => true,
            Reported::TooMany | Reported::Invalid => true,
            Reported::Nothing | Reported::Pending | Reported::Expired => false,
        };
        if self.since.elapsed() >= EVENTS_PER {
            *self = Self::default();
        }
        let told = told && self.left > 0;
        self.left -= usize::from(told);
        told
    }
}

impl Round {
    /// Looks at those that are in force, a few at a time: whoever asks the set does not wait for all of them.
    pub(super) async fn look(
        &mut self,
        revocations: &Revocations,
        view: &View<'_>,
        pauses: &Pauses,
        events: &mut Events,
    ) {
        let mut from = 0;
        loop {
            // Copied, so that who writes to the set does not wait for what is made of them.
            let chunk: Vec<_> = revocations.ask(|set| {
                let chunk = set.iter().skip(from).take(AT_ONCE);
                let copied = chunk.map(|(target, revocation, namespace)| {
                    (
                        target.clone(),
                        revocation.clone(),
                        namespace.map(Box::<str>::from),
                    )
                });
                copied.collect()
            });
            for (target, revocation, namespace) in &chunk {
                if !self.is_full() {
                    let seen = (target, revocation, namespace.as_deref());
                    self.look_at(seen, view, pauses, events);
                }
            }
            from += chunk.len();
            if chunk.len() < AT_ONCE || self.is_full() {
                break;
            }
            yield_now().await;
        }
    }

    /// Looks at those that are stored and not in force.
    pub(super) fn look_at_refused<'a>(
        &mut self,
        all: impl IntoIterator<Item = (&'a Place, &'a RefusedRevocation)>,
        view: &View<'_>,
        pauses: &Pauses,
        events: &mut Events,
    ) {
        for (place, stored) in all {
            let report = refused(place, stored, view.now);
            let held = pauses.hold(&stored.uid, report.says, Instant::now());
            if report.says != stored.reported && !held && !self.is_full() {
                let (kind, namespace, name) = place;
                let object = (*kind, namespace.as_deref(), &**name, &*stored.uid);
                self.write(object, report, events);
            }
        }
    }

    /// Whether there is more than is done in one go.
    pub(super) fn is_full(&self) -> bool {
        self.own.len() + self.cluster.len() + self.deletions.len() >= MOST
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

    fn look_at(
        &mut self,
        (target, revocation, namespace): (&Target<'_>, &Revocation, Option<&str>),
        view: &View<'_>,
        pauses: &Pauses,
        events: &mut Events,
    ) {
        let now = view.now.as_second();
        let report = desired(target, revocation, namespace, view);
        self.pod |= matches!(target, Target::Pod(..))
            && matches!(revocation.reported, Reported::OutsideGuard);
        let end = revocation.expires();
        let gone = end.and_then(|end| Some(end.saturating_add(revocation.ttl?.into())));
        let times = [end, gone].into_iter().flatten();
        self.next = times.chain(self.next).filter(|time| *time > now).min();
        if let Some(report) = report {
            let uid = revocation.uid.to_string();
            if !pauses.hold(&uid, report.says, Instant::now()) {
                let object = (revocation.kind, namespace, revocation.name.as_str(), &*uid);
                self.write(object, report, events);
            }
            return;
        }
        // The API server lets nothing be deleted of which the status does not say that it has expired.
        let expired = revocation.reported == Reported::Expired;
        if expired && gone.is_some_and(|gone| gone <= now) {
            let uid = revocation.uid.to_string();
            if !pauses.hold_deletion(&uid, Instant::now()) {
                self.deletions.push(Deletion {
                    kind: revocation.kind,
                    namespace: namespace.unwrap_or_default().into(),
                    name: revocation.name.as_str().into(),
                    uid: uid.into(),
                });
            }
        }
    }

    fn write(
        &mut self,
        (kind, namespace, name, uid): (Kind, Option<&str>, &str, &str),
        report: Report,
        events: &mut Events,
    ) {
        let transition = events.tell(report.says);
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

/// How many are written or deleted in one round.
const MOST: usize = 256;

/// How many events there are at most in that time.
const MOST_EVENTS: usize = 500;
const EVENTS_PER: Duration = Duration::from_secs(360);

/// How soon a pod is looked up again.
const POD: Duration = Duration::from_secs(10);

/// How long after a time it is looked.
const SLACK: Duration = Duration::from_secs(1);

/// Everything is looked at more often anyway.
const LONGEST: u64 = 3600;
