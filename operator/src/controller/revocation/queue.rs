//! In which order statuses are written: those of the cluster first, then locks, then the rest, each the
//! newest first, and of the namespaces one after the other. Who writes thousands waits for his own.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use hallpass_core::revocation::{Effect, Handle, Kind, Revocation};

use crate::index::revocations::Place;

/// What a status is to be written for. It is kept from one round to the next.
#[derive(Debug, Default)]
pub(super) struct Queue {
    cluster: Line,
    locks: Turns,
    rest: Turns,
    /// How many are kept, and from how many on some of them are not.
    count: usize,
    most: usize,
    /// The last of those that are kept of one line was taken, and there are more of it.
    exhausted: bool,
}

/// One of them. Only where it is is kept: what it says may be another thing when it is its turn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// It is in the set.
    Stored(Handle),
    /// It is not in force.
    Refused(Box<Place>),
}

/// Those of one kind or namespace: with the time of its creation each.
#[derive(Debug, Default)]
struct Line {
    due: Vec<(i64, Due)>,
    /// The newest is the last, and none is there twice.
    sorted: bool,
    /// The newest that is not kept, where there are more than are: no older one is kept either.
    over: Option<(i64, Due)>,
}

/// Those of the namespaces, and whose turn it was.
#[derive(Debug, Default)]
struct Turns {
    of: BTreeMap<Box<str>, Line>,
    last: Box<str>,
}

impl Queue {
    /// One more that is in the set, of that namespace.
    pub(super) fn push(
        &mut self,
        handle: Handle,
        revocation: &Revocation,
        namespace: Option<&str>,
    ) {
        let locks = matches!(revocation.terms().effect, Effect::Lock { .. });
        let line = match (revocation.kind, namespace) {
            (Kind::Namespaced, Some(namespace)) if locks => self.locks.line(namespace),
            (Kind::Namespaced, Some(namespace)) => self.rest.line(namespace),
            (Kind::Namespaced | Kind::Cluster, _) => &mut self.cluster,
        };
        if line.push(revocation.created, Due::Stored(handle)) {
            self.pushed();
        }
    }

    /// These are not in force, instead of those of before. They are told before what is.
    pub(super) fn refused(&mut self, places: impl Iterator<Item = Place>) {
        for line in self.lines() {
            line.due.retain(|(_, due)| matches!(due, Due::Stored(_)));
        }
        self.count = self.lines().map(|line| line.due.len()).sum();
        for place in places {
            let line = match (place.0, place.1.as_deref()) {
                (Kind::Namespaced, Some(namespace)) => self.rest.line(namespace),
                (Kind::Namespaced | Kind::Cluster, _) => &mut self.cluster,
            };
            if line.push(i64::MAX, Due::Refused(Box::new(place))) {
                self.pushed();
            }
        }
    }

    /// Keeps the newest of each where there are too many.
    fn pushed(&mut self) {
        self.count += 1;
        if self.count < self.most.max(2 * KEPT) {
            return;
        }
        let share = (KEPT / self.lines().count()).max(1);
        self.lines().for_each(|line| line.cut(share));
        self.count = self.lines().map(|line| line.due.len()).sum();
        self.most = 2 * self.count;
    }

    /// That whose turn it is: of the cluster, or of all. None is given any more once it
    /// [is exhausted](Self::is_exhausted): what comes next is not kept.
    pub(super) fn next(&mut self, others_too: bool) -> Option<Due> {
        if self.exhausted {
            return None;
        }
        let mut taken = self.cluster.pop();
        if others_too {
            taken = taken.or_else(|| self.locks.next());
            taken = taken.or_else(|| self.rest.next());
        }
        let (due, last) = taken?;
        self.count = self.count.saturating_sub(1);
        self.exhausted = last;
        Some(due)
    }

    /// Keeps none. Whose turn it was is not forgotten.
    pub(super) fn clear(&mut self) {
        self.cluster = Line::default();
        self.locks.of.clear();
        self.rest.of.clear();
        (self.count, self.most, self.exhausted) = (0, 0, false);
    }

    /// Whether all are to be looked at again, to know whose turn it is.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        let mut own = self.locks.of.values().chain(self.rest.of.values());
        self.cluster.due.is_empty() && own.all(|line| line.due.is_empty())
    }

    fn lines(&mut self) -> impl Iterator<Item = &mut Line> {
        let own = self.locks.of.values_mut().chain(self.rest.of.values_mut());
        [&mut self.cluster].into_iter().chain(own)
    }
}

impl Line {
    /// One more. Returns whether it is kept.
    fn push(&mut self, created: i64, due: Due) -> bool {
        let due = (created, due);
        let kept = self.over.as_ref().is_none_or(|over| due > *over);
        if kept {
            self.due.push(due);
            self.sorted = false;
        }
        kept
    }

    fn sort(&mut self) {
        if !self.sorted {
            // Mostly a few new ones behind what is sorted: that is quick.
            self.due.sort();
            self.due.dedup();
            self.sorted = true;
        }
    }

    fn cut(&mut self, most: usize) {
        self.sort();
        let over = self.due.len().saturating_sub(most);
        if let Some(newest) = self.due.drain(..over).next_back() {
            self.over = Some(newest);
        }
    }

    /// The newest, and whether it was the last that is kept of more.
    fn pop(&mut self) -> Option<(Due, bool)> {
        self.sort();
        let (_, due) = self.due.pop()?;
        Some((due, self.over.is_some() && self.due.is_empty()))
    }
}

impl Turns {
    fn line(&mut self, namespace: &str) -> &mut Line {
        self.of.entry(namespace.into()).or_default()
    }

    /// One of the next namespace.
    fn next(&mut self) -> Option<(Due, bool)> {
        loop {
            let after = (Excluded(&*self.last), Unbounded);
            let next = self.of.range::<str, _>(after).next();
            let (namespace, _) = next.or_else(|| self.of.first_key_value())?;
            let namespace = namespace.clone();
            let line = self.of.get_mut(&namespace)?;
            let taken = line.pop();
            if line.due.is_empty() {
                self.of.remove(&namespace);
            }
            self.last = namespace;
            if taken.is_some() {
                return taken;
            }
        }
    }
}

/// How many are kept in all, at least: each namespace has as large a share of it. Twice as many may be kept.
pub(super) const KEPT: usize = 8192;

#[cfg(test)]
mod tests;
