//! What to do about the status of one object, given what was done before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    status::{Kept, reported},
    write::Remember,
};
use crate::index::{Record, Unusable};

/// What is remembered of one stored object: of thousands that are as they should be that is nothing.
#[derive(Debug)]
pub(super) struct Memory<S> {
    written: Option<Written<S>>,
    backoff: Backoff,
}

/// What was stored.
#[derive(Debug)]
struct Written<S> {
    at: Instant,
    /// The status; [`None`] once the watch has brought it back, since it is held with the object then.
    status: Option<Box<S>>,
}

/// When to try again what failed: ever more rarely.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    failures: u32,
    retry: Option<Instant>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan<S> {
    /// The status says what it should.
    Nothing,
    /// Look again at that time.
    Later(Instant),
    /// Write this status.
    Write {
        /// The status.
        status: S,
        /// Whether the condition or its reason is another one than before.
        transition: bool,
    },
}

/// A status that is to be written.
#[derive(Debug)]
pub(super) struct Write<S> {
    /// The namespace of the object; empty for a kind that has none.
    pub(super) namespace: Box<str>,
    pub(super) name: Arc<str>,
    pub(super) uid: Arc<str>,
    /// The version from which it was decided, where that is kept.
    pub(super) resource_version: Option<Box<str>>,
    pub(super) status: S,
    /// Whether an event tells of it.
    pub(super) transition: bool,
}

/// What is remembered of many objects, by uid. Where nothing has to be, nothing is.
#[derive(Debug)]
pub(super) struct Memories<S>(BTreeMap<Arc<str>, Memory<S>>);

impl<S> Default for Memory<S> {
    fn default() -> Self {
        Self {
            written: None,
            backoff: Backoff::default(),
        }
    }
}

impl<S: Kept> Memory<S> {
    /// Compares what is stored with what `desired` makes of it.
    pub(super) fn plan<T>(
        &mut self,
        record: &Record<T, S>,
        now: Instant,
        desired: impl FnOnce(Option<&S>) -> S,
    ) -> Plan<S> {
        if let Some(retry) = self.retry().filter(|retry| now < *retry) {
            return Plan::Later(retry);
        }
        self.came_back(record);
        let old = self.stored(record, now);
        let status = desired(old);
        let Some(old) = old else {
            return Plan::Write {
                status,
                transition: true,
            };
        };
        if same(old, &status) {
            return Plan::Nothing;
        }
        if let Some(Written { at, .. }) = self.written
            && now < at + S::PAUSE
            && same(old, &status.with_counts_of(old))
        {
            return Plan::Later(at + S::PAUSE);
        }
        let said = |status| reported(status).map(|c| (c.status.clone(), c.reason.clone()));
        let transition = said(old) != said(&status);
        Plan::Write { status, transition }
    }

    /// The status was stored.
    pub(super) fn wrote(&mut self, status: S, now: Instant) {
        *self = Self {
            written: Some(Written {
                at: now,
                status: Some(Box::new(status)),
            }),
            ..Self::default()
        };
    }

    /// The status could not be stored. `jitter` is uniform in `0.0..1.0`. Returns how often in a row.
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) -> u32 {
        self.backoff.failed(now, jitter)
    }

    /// When to look again after a failure.
    pub(super) const fn retry(&self) -> Option<Instant> {
        self.backoff.retry()
    }

    /// Whether it makes a difference to nothing that is still to come.
    fn is_idle(&self, now: Instant) -> bool {
        let over = |Written { at, status }: &Written<S>| status.is_none() && now >= *at + S::PAUSE;
        self.written.as_ref().is_none_or(over) && self.backoff.failures == 0
    }

    /// Lets go of what was written once the watch has delivered it: thousands of objects have a status.
    fn came_back<T>(&mut self, record: &Record<T, S>) {
        let written = self.written.as_mut();
        let status = written.map(|written| &mut written.status);
        if let (Some(status), Some(stored)) = (status, &record.status)
            && status.as_ref().is_some_and(|status| same(stored, status))
        {
            *status = None;
        }
    }

    /// The status that is stored, as far as is known: what was just written has not come back through
    /// the watch yet, and of an object that cannot be read it never does.
    fn stored<'a, T>(&'a self, record: &'a Record<T, S>, now: Instant) -> Option<&'a S> {
        let unusable = record.spec.as_ref().err();
        let unreadable = unusable.is_some_and(|u| matches!(**u, Unusable::Unreadable(_)));
        match &self.written {
            Some(Written {
                at,
                status: Some(status),
            }) if unreadable || now < *at + SETTLE => Some(status),
            _ => record.status.as_ref(),
        }
    }
}

impl Backoff {
    /// It failed. `jitter` is uniform in `0.0..1.0`. Returns how often in a row.
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) -> u32 {
        self.failures = self.failures.saturating_add(1);
        let doubled = FIRST_RETRY * 2u32.saturating_pow(self.failures.min(8) - 1);
        let pause = doubled.min(LONGEST_RETRY).mul_f64(0.5 + 0.5 * jitter);
        self.retry = Some(now + pause);
        self.failures
    }

    /// When to try again, after a failure.
    pub(super) const fn retry(&self) -> Option<Instant> {
        self.retry
    }
}

impl<S> Default for Memories<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Kept> Memories<S> {
    /// Forgets every object but those.
    pub(super) fn retain(&mut self, alive: &BTreeSet<&str>) {
        self.0.retain(|uid, _| alive.contains(&**uid));
    }

    /// Adds what is to be written for those objects of one namespace. Returns when to look again, if at
    /// all.
    pub(super) fn plan<T>(
        &mut self,
        namespace: &str,
        records: impl IntoIterator<Item = Record<T, S>>,
        desired: impl Fn(&Record<T, S>, Option<&S>) -> S,
        writes: &mut Vec<Write<S>>,
    ) -> Option<Instant> {
        let mut later = None::<Instant>;
        for record in records {
            let (status, now) = (|old: Option<&S>| desired(&record, old), Instant::now());
            let mut memory = self.0.remove(&record.uid).unwrap_or_default();
            let plan = memory.plan(&record, now, status);
            if !memory.is_idle(now) {
                self.0.insert(record.uid.clone(), memory);
            }
            match plan {
                Plan::Nothing => {}
                Plan::Later(at) => later = Some(later.map_or(at, |later| later.min(at))),
                Plan::Write { status, transition } => writes.push(Write {
                    namespace: namespace.into(),
                    name: record.name,
                    uid: record.uid,
                    resource_version: Some(record.resource_version),
                    status,
                    transition,
                }),
            }
        }
        later
    }

    /// What is remembered of the object with that uid.
    fn of(&mut self, uid: &str) -> &mut Memory<S> {
        self.0.entry(uid.into()).or_default()
    }
}

impl<S: Kept> Remember<S> for Memories<S> {
    fn wrote(&mut self, uid: &str, status: S, now: Instant) {
        self.of(uid).wrote(status, now);
    }

    fn failed(&mut self, uid: &str, now: Instant, jitter: f64) -> u32 {
        self.of(uid).failed(now, jitter)
    }

    fn retry(&self, now: Instant) -> Option<Instant> {
        let retries = self.0.values().filter_map(Memory::retry);
        retries.filter(|at| *at > now).min()
    }
}

/// Whether both say the same. Conditions that somebody else added are none of ours.
fn same<S: Kept>(old: &S, new: &S) -> bool {
    let of = |status: &S| status.with_conditions(reported(status).into_iter().cloned().collect());
    of(old) == of(new)
}

/// How long after a write the watch has surely brought it back.
pub(super) const SETTLE: Duration = Duration::from_secs(5);

/// The pauses between failures.
const FIRST_RETRY: Duration = Duration::from_secs(1);
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
