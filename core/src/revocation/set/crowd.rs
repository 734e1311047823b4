//! Who has a place where there are too few: the oldest, on every replica.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::{
    super::{Kind, Revocation, RevocationUid, Target},
    places::{Full, Share},
};

/// How old a revocation is: the time of its creation, and its uid where that is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(i64, RevocationUid);

impl Rank {
    pub(super) const fn of(revocation: &Revocation) -> Self {
        Self(revocation.created, revocation.uid)
    }
}

/// A revocation that has no place.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) target: Target<'static>,
    pub(super) revocation: Revocation,
    pub(super) share: Share,
    pub(super) round: u32,
    pub(super) why: Full,
}

/// The order of those with a place, and those without. Kept only while there are some without.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Those with a place, by share, each with the hash of its target: there may be a hundred thousand.
    placed: HashMap<Share, BTreeMap<Rank, u64>>,
    waiting: BTreeMap<Rank, Waiting>,
    /// The same by share.
    lines: HashMap<Share, BTreeSet<Rank>>,
    /// Of each kind, the oldest of those without a place that are not kept here.
    dropped: [Option<Rank>; 2],
}

impl Crowd {
    pub(super) fn place(&mut self, rank: Rank, share: Share, hash: u64) {
        self.placed.entry(share).or_default().insert(rank, hash);
    }

    pub(super) fn unplace(&mut self, rank: Rank, share: &Share) {
        if let Some(of) = self.placed.get_mut(share) {
            of.remove(&rank);
            if of.is_empty() {
                self.placed.remove(share);
            }
        }
    }

    /// The youngest of those whose going would make room where it is full, with the hash of its target.
    pub(super) fn youngest(&self, full: Full, wanted: &Share) -> Option<(Rank, u64)> {
        let shares = self.placed.iter().filter(|(s, _)| s.counts(full, wanted));
        let last = shares.filter_map(|(_, of)| of.last_key_value());
        let (rank, hash) = last.max_by_key(|(rank, _)| **rank)?;
        Some((*rank, *hash))
    }

    /// Keeps one that has no place, if it is among the oldest [`MOST_WAITING`] of them.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        let rank = Rank::of(&waiting.revocation);
        if self.dropped.iter().flatten().any(|oldest| *oldest < rank) {
            self.drop(waiting.revocation.kind, rank);
            return;
        }
        let line = self.lines.entry(waiting.share.clone()).or_default();
        line.insert(rank);
        self.waiting.insert(rank, waiting);
        let last = self.waiting.last_key_value().map(|(rank, _)| *rank);
        if self.waiting.len() > MOST_WAITING
            && let Some(last) = last.and_then(|rank| self.leave(rank))
        {
            self.drop(last.revocation.kind, Rank::of(&last.revocation));
        }
    }

    fn drop(&mut self, kind: Kind, rank: Rank) {
        let oldest = &mut self.dropped[kind as usize];
        *oldest = Some(oldest.map_or(rank, |oldest| oldest.min(rank)));
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// How many wait, and one for each kind of which more are not kept.
    pub(super) fn count(&self) -> usize {
        self.waiting.len() + self.dropped.iter().flatten().count()
    }

    pub(super) fn find(&mut self, rank: Rank) -> Option<&mut Waiting> {
        self.waiting.get_mut(&rank)
    }

    pub(super) fn leave(&mut self, rank: Rank) -> Option<Waiting> {
        let left = self.waiting.remove(&rank)?;
        if let Some(line) = self.lines.get_mut(&left.share) {
            line.remove(&rank);
            if line.is_empty() {
                self.lines.remove(&left.share);
            }
        }
        Some(left)
    }

    /// Takes out the oldest of a share that has room.
    pub(super) fn next(&mut self, room: impl Fn(&Share) -> bool) -> Option<Waiting> {
        let lines = self.lines.iter().filter(|(share, _)| room(share));
        let first = lines.filter_map(|(_, line)| line.first()).min();
        first.copied().and_then(|rank| self.leave(rank))
    }

    /// Takes out those that have nothing left to refuse.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<Waiting> {
        self.take(|waiting| waiting.revocation.has_expired(now))
    }

    /// Takes out those of that kind that a complete list did not have.
    pub(super) fn sweep(&mut self, kind: Kind, round: u32) {
        self.take(|w| w.revocation.kind == kind && w.round != round);
    }

    fn take(&mut self, out: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let gone = self.waiting.iter().filter(|(_, waiting)| out(waiting));
        let gone: Vec<Rank> = gone.map(|(rank, _)| *rank).collect();
        gone.into_iter()
            .filter_map(|rank| self.leave(rank))
            .collect()
    }

    /// A list of that kind begins, which has those that are not kept too.
    pub(super) const fn begin(&mut self, kind: Kind) {
        self.dropped[kind as usize] = None;
    }

    /// Whether there are more without a place than are kept here.
    pub(super) const fn has_dropped(&self, kind: Kind) -> bool {
        self.dropped[kind as usize].is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.dropped == [None; 2]
    }
}

/// How many that have no place are kept: they come into force as soon as there is one.
const MOST_WAITING: usize = 10_000;
