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
    /// Of each share, the oldest of those without a place that are not kept here. All that are kept of it are
    /// older.
    dropped: HashMap<Share, Rank>,
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

    /// Keeps one that has no place. Where there are more than so many, the youngest goes of the share that has
    /// the most: nobody's hide those of the others.
    pub(super) fn wait(&mut self, waiting: Waiting, most: usize) {
        let rank = Rank::of(&waiting.revocation);
        let dropped = self.dropped.get(&waiting.share);
        if dropped.is_some_and(|oldest| *oldest <= rank) {
            return;
        }
        let line = self.lines.entry(waiting.share.clone()).or_default();
        line.insert(rank);
        self.waiting.insert(rank, waiting);
        if self.waiting.len() > most {
            let lines = self.lines.values();
            let longest = lines.max_by_key(|line| (line.len(), line.last().copied()));
            let last = longest.and_then(|line| line.last()).copied();
            last.into_iter().for_each(|rank| self.drop(rank));
        }
    }

    fn drop(&mut self, rank: Rank) {
        if let Some(gone) = self.leave(rank) {
            self.lacks(rank, gone.share);
        }
    }

    fn lacks(&mut self, rank: Rank, share: Share) {
        let oldest = self.dropped.entry(share).or_insert(rank);
        *oldest = rank.min(*oldest);
    }

    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// How many wait, and one more if some are not kept. Of how many shares those are goes by who came first,
    /// which is not the same for all replicas.
    pub(super) fn count(&self) -> usize {
        self.waiting.len() + usize::from(!self.dropped.is_empty())
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

    /// The oldest of each share that has no place, whether it is kept here or not.
    pub(super) fn heads(&self) -> BTreeMap<Rank, Share> {
        let shares = self.lines.keys().chain(self.dropped.keys());
        let heads = shares.filter_map(|share| Some((self.head(share)?, share.clone())));
        heads.collect()
    }

    /// That of one of them. Those that are kept are older than those that are not.
    pub(super) fn head(&self, share: &Share) -> Option<Rank> {
        let line = self.lines.get(share).and_then(BTreeSet::first);
        line.or_else(|| self.dropped.get(share)).copied()
    }

    /// Keeps none of that share.
    pub(super) fn drop_all(&mut self, share: &Share) {
        let line = self.lines.get(share).cloned();
        line.into_iter().flatten().for_each(|rank| self.drop(rank));
    }

    /// Keeps none of that share, nor that one, which is about to come.
    pub(super) fn skip(&mut self, rank: Rank, share: &Share) {
        self.drop_all(share);
        self.lacks(rank, share.clone());
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
    pub(super) fn begin(&mut self, kind: Kind) {
        self.dropped.retain(|share, _| share.kind() != kind);
    }

    /// Whether there are more without a place than are kept here.
    pub(super) fn has_dropped(&self, kind: Kind) -> bool {
        self.dropped.keys().any(|share| share.kind() == kind)
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.dropped.is_empty()
    }
}
