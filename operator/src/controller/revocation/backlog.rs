//! What a leader has found to be due and has not done yet: not all are looked at for each of its rounds.
//!
//! All are looked at when something has changed that may concern any of them: the policies, the keys, what the
//! replicas have in common, the time. Where they are many, that is not done again at once. In between those are
//! that came, or whose status changed.

use std::{collections::BTreeMap, time::Duration};

use hallpass_core::revocation::{
    Cursor, Epochs, Handle, Kind, Reported, Revocation, Stored, Target,
};
use tokio::{task::yield_now, time::Instant};

use super::{
    delete::Deletion,
    desired::{View, desired, refused, says},
    pause::Pauses,
    queue::{Due, KEPT, Queue},
    round::{MOST, Round},
};
use crate::{
    controller::round::FULL,
    index::revocations::{Place, RefusedRevocation},
};

/// What is known from one round to the next. A few bytes for some of the revocations.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    queue: Queue,
    /// What is to be deleted, and whether there is more than is kept.
    deletions: Vec<Handle>,
    more_deletions: bool,
    /// What waits for other replicas to read it, and of what is not kept of that the first version of each kind.
    open: Vec<Handle>,
    unread: [Option<u64>; 2],
    /// How far all had read when that was judged.
    epochs: Epochs,
    /// When the time alone changes something, in seconds since 1970.
    next: Option<i64>,
    /// A pod was looked up, and no watch of revocations tells when it goes.
    pods: bool,
    /// Something changed that may concern any of them.
    stale: bool,
    /// When it is not known how a write has ended.
    doubt: Option<Instant>,
    /// When all were looked at, and how many those were.
    last: Option<(Instant, usize)>,
}

/// A revocation, copied: who writes to the set does not wait for what is made of it.
struct Copied {
    handle: Handle,
    target: Target<'static>,
    revocation: Revocation,
    namespace: Option<Box<str>>,
}

impl From<Stored<'_>> for Copied {
    fn from(stored: Stored<'_>) -> Self {
        Self {
            handle: stored.handle,
            target: stored.target.into_owned(),
            revocation: stored.revocation.clone(),
            namespace: stored.namespace.map(Box::from),
        }
    }
}

impl Backlog {
    /// Something changed that may concern any of them.
    pub(super) const fn spoil(&mut self) {
        self.stale = true;
    }

    /// At that time it is not known how some write has ended.
    pub(super) const fn doubt(&mut self, at: Option<Instant>) {
        self.doubt = at;
    }

    /// Whether there is more than is done in one go.
    pub(super) fn has_more(&self) -> bool {
        let queued = !self.queue.is_empty() || self.queue.is_exhausted();
        queued || self.more_deletions || !self.deletions.is_empty()
    }

    /// Takes up what it is the turn of: of those in force, and of those that are stored and not in force.
    pub(super) async fn round(
        &mut self,
        not_in_force: &BTreeMap<Place, RefusedRevocation>,
        view: &View<'_>,
        pauses: &mut Pauses,
    ) -> Round {
        let mut round = Round::default();
        let changed = view.revocations.changed();
        self.stale |= changed.is_none() || self.is_stale(view);
        let mut some = changed.unwrap_or_default();
        if self.epochs != view.agreement.epochs {
            self.epochs = view.agreement.epochs;
            some.append(&mut self.open);
        }
        for some in some.chunks(AT_ONCE) {
            for one in copied(view, some) {
                pauses.brought(&one.revocation.uid.to_string(), one.revocation.reported);
                self.judge(one, view, pauses);
                round.looked += 1;
            }
            yield_now().await;
        }
        if self.looks() {
            round.looked += self.look(view, pauses).await;
        }
        let due = not_in_force.iter().filter(|(place, stored)| {
            let says = refused(place, stored, view.now).says;
            says != stored.reported && !pauses.hold(&stored.uid, says, Instant::now())
        });
        self.queue.refused(due.map(|(place, _)| place.clone()));
        self.take_up(&mut round, not_in_force, view, pauses);
        self.delete(&mut round, view, pauses);
        round
    }

    /// When to look again although nothing has changed. `now` is the time of the look, in seconds since 1970.
    pub(super) fn later(&self, now: i64) -> Option<Instant> {
        let start = Instant::now();
        let next = self.next.map(|at| {
            let left = u64::try_from(at.saturating_sub(now)).unwrap_or_default();
            start + Duration::from_secs(left.min(LONGEST)) + SLACK
        });
        let pods = self.last.filter(|_| self.pods).map(|(at, _)| at + POD);
        let stale = self.stale.then_some(start);
        let earliest = [next, pods, stale].into_iter().flatten().min()?;
        Some(earliest.max(self.rested().unwrap_or(earliest)))
    }

    fn is_stale(&self, view: &View<'_>) -> bool {
        let now = Instant::now();
        let Some((last, _)) = self.last else {
            return true;
        };
        let read = |kind: &Kind| {
            let first = self.unread[*kind as usize];
            first.is_some_and(|first| view.agreement.epochs.of(*kind) >= first)
        };
        self.next.is_some_and(|at| at <= view.now.as_second())
            || Kind::ALL.iter().any(read)
            || (self.pods && now >= last + POD)
            || now >= last + FULL
            || self.doubt.is_some_and(|at| now >= at)
            // Then it matters how much room there is.
            || view.elsewhere.is_something()
    }

    /// Whether all are looked at now.
    fn looks(&self) -> bool {
        let out = self.more_deletions && self.deletions.is_empty();
        let rested = self.rested().is_none_or(|at| Instant::now() >= at);
        self.queue.is_exhausted() || out || (self.stale && rested)
    }

    /// Until when it is to do with the last look.
    fn rested(&self) -> Option<Instant> {
        let (at, count) = self.last?;
        let rest = count as u64 / PER_MILLISECOND;
        Some(at + Duration::from_millis(if count > AT_ONCE { rest } else { 0 }))
    }

    /// Looks at all of them, a few at a time. Returns how many those were.
    async fn look(&mut self, view: &View<'_>, pauses: &Pauses) -> usize {
        let began = Instant::now();
        self.queue.clear();
        self.deletions.clear();
        self.open.clear();
        (self.more_deletions, self.unread, self.doubt) = (false, [None; 2], None);
        (self.next, self.pods, self.stale) = (None, false, false);
        let (mut from, mut count) = (Some(Cursor::default()), 0);
        while let Some(cursor) = from {
            let page: Vec<Copied>;
            (page, from) = view.revocations.ask(|set| {
                let (page, next) = set.page(cursor, AT_ONCE);
                (page.map(Copied::from).collect(), next)
            });
            count += page.len();
            page.into_iter()
                .for_each(|one| self.judge(one, view, pauses));
            yield_now().await;
        }
        self.last = Some((began, count));
        count
    }

    /// Keeps it if something is to be done about it.
    fn judge(&mut self, one: Copied, view: &View<'_>, pauses: &Pauses) {
        let (now, revocation) = (view.now.as_second(), &one.revocation);
        let says = says(&one.target, revocation, view);
        let reported = revocation.reported;
        self.pods |= matches!(one.target, Target::Pod(..)) && reported == Reported::OutsideGuard;
        let gone = gone(revocation);
        let times = [revocation.expires(), gone].into_iter().flatten();
        self.next = times.chain(self.next).filter(|time| *time > now).min();
        if says == Reported::Pending {
            self.wait(one.handle, revocation);
        }
        let uid = || revocation.uid.to_string();
        if says != reported {
            if !pauses.hold(&uid(), says, Instant::now()) {
                let namespace = one.namespace.as_deref();
                self.queue.push(one.handle, revocation, namespace);
            }
        } else if is_over(revocation, now) && !pauses.hold_deletion(&uid(), Instant::now()) {
            if self.deletions.len() < KEPT {
                self.deletions.push(one.handle);
            } else {
                self.more_deletions = true;
            }
        }
    }

    /// It is judged again when the replicas have read more.
    fn wait(&mut self, handle: Handle, revocation: &Revocation) {
        if self.open.len() >= KEPT {
            self.open.sort_unstable();
            self.open.dedup();
        }
        if self.open.len() < KEPT {
            self.open.push(handle);
        } else {
            let first = &mut self.unread[revocation.kind as usize];
            *first = Some(first.unwrap_or(u64::MAX).min(revocation.epoch));
        }
    }

    /// Takes up as many as are written in one go.
    fn take_up(
        &mut self,
        round: &mut Round,
        not_in_force: &BTreeMap<Place, RefusedRevocation>,
        view: &View<'_>,
        pauses: &Pauses,
    ) {
        // What remembers only those of the cluster yet has room for no others.
        let others = !pauses.is_nearly_full();
        while !round.is_full()
            && let Some(due) = self.queue.next(others)
        {
            round.looked += 1;
            match due {
                Due::Stored(handle) => {
                    let Some(one) = copied(view, &[handle]).pop() else {
                        continue;
                    };
                    let (revocation, namespace) = (&one.revocation, one.namespace.as_deref());
                    let uid = revocation.uid.to_string();
                    let object = (revocation.kind, namespace, revocation.name.as_str(), &*uid);
                    let report = desired(&one.target, revocation, namespace, view);
                    let held = |says| pauses.hold(&uid, says, Instant::now());
                    if let Some(report) = report.filter(|report| !held(report.says)) {
                        round.write(object, report);
                    }
                }
                Due::Refused(place) => {
                    if let Some(stored) = not_in_force.get(&*place) {
                        let report = refused(&place, stored, view.now);
                        let (kind, namespace, name) = &*place;
                        let object = (*kind, namespace.as_deref(), &**name, &*stored.uid);
                        round.write(object, report);
                    }
                }
            }
        }
    }

    /// Takes up as many as are deleted in one go.
    fn delete(&mut self, round: &mut Round, view: &View<'_>, pauses: &Pauses) {
        while round.deletions.len() < MOST
            && !pauses.is_nearly_full()
            && let Some(handle) = self.deletions.pop()
        {
            let Some(one) = copied(view, &[handle]).pop() else {
                continue;
            };
            if is_over(&one.revocation, view.now.as_second()) {
                round.deletions.push(Deletion {
                    kind: one.revocation.kind,
                    namespace: one.namespace.unwrap_or_default(),
                    name: one.revocation.name.as_str().into(),
                    uid: one.revocation.uid.to_string().into(),
                });
            }
        }
    }
}

/// Those that are still stored.
fn copied(view: &View<'_>, handles: &[Handle]) -> Vec<Copied> {
    view.revocations.ask(|set| {
        let stored = handles.iter().filter_map(|handle| set.find(*handle));
        stored.map(Copied::from).collect()
    })
}

/// When it is to be deleted.
fn gone(revocation: &Revocation) -> Option<i64> {
    let ttl = revocation.ttl()?.into();
    Some(revocation.expires()?.saturating_add(ttl))
}

/// Whether it is to be deleted now. The API server lets nothing be deleted of which the status does not say
/// that it has expired.
fn is_over(revocation: &Revocation, now: i64) -> bool {
    let told = matches!(revocation.reported, Reported::Expired);
    told && gone(revocation).is_some_and(|gone| gone <= now)
}

/// How many are looked at in one go.
const AT_ONCE: usize = 4096;

/// Where there are more than that, all are looked at again only after as many milliseconds as this goes into
/// their number.
const PER_MILLISECOND: u64 = 16;

/// How soon a pod is looked up again.
const POD: Duration = Duration::from_secs(10);

/// How long after a time it is looked.
const SLACK: Duration = Duration::from_secs(1);

/// Everything is looked at more often anyway.
const LONGEST: u64 = 3600;
