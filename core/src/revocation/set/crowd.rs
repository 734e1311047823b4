//! Who has a place where there are too few: the oldest, on every replica.

use std::collections::{BTreeMap, HashMap};

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
        self.waiting.insert(rank, waiting);
        if self.waiting.len() > MOST_WAITING
            && let Some((rank, last)) = self.waiting.pop_last()
        {
            self.drop(last.revocation.kind, rank);
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
        self.waiting.remove(&rank)
    }

    /// The oldest that waits and comes after that one.
    pub(super) fn after(&self, rank: Option<Rank>) -> Option<(Rank, &Waiting)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = rank.map_or(Unbounded, Excluded);
        let mut rest = self.waiting.range((from, Unbounded));
        rest.next().map(|(rank, waiting)| (*rank, waiting))
    }

    /// Takes out those of that kind that a complete list did not have.
    pub(super) fn sweep(&mut self, kind: Kind, round: u32) {
        let there = |w: &Waiting| w.revocation.kind != kind || w.round == round;
        self.waiting.retain(|_, waiting| there(waiting));
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
