//! The groups, by what they are about.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::super::{
    Target,
    group::{Group, Member},
};

/// A map whose entries hold their own key, so that it is there once. Tenants choose the keys: it is hashed
/// with a secret.
#[derive(Debug, Default)]
pub(super) struct Groups {
    table: HashTable<Box<Group>>,
    hasher: RandomState,
    /// Counts how often they may have been put in other places of the table.
    moved: u64,
}

/// How far somebody has looked who looks at all, some at a time. The default is the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cursor {
    bucket: usize,
    moved: u64,
}

impl Groups {
    pub(super) fn get(&self, target: &Target<'_>) -> Option<&Group> {
        let hash = self.hasher.hash_one(target);
        let group = self.table.find(hash, |group| group.target() == *target);
        group.map(|group| &**group)
    }

    pub(super) fn get_mut(&mut self, target: &Target<'_>) -> Option<&mut Group> {
        let hash = self.hasher.hash_one(target);
        let found = self.table.find_mut(hash, |group| group.target() == *target);
        found.map(|group| &mut **group)
    }

    /// The hash of a target.
    pub(super) fn hash(&self, target: &Target<'_>) -> u64 {
        self.hasher.hash_one(target)
    }

    /// The group of a target with that hash that has such a member.
    pub(super) fn with(&self, hash: u64, member: impl Fn(&Member) -> bool) -> Option<&Group> {
        let has = |group: &Group| group.members().iter().any(&member);
        self.table
            .find(hash, |group| has(group))
            .map(|group| &**group)
    }

    pub(super) fn put(&mut self, target: &Target<'_>, member: Member) {
        if let Some(group) = self.get_mut(target) {
            group.put(member);
            return;
        }
        let Self {
            table,
            hasher,
            moved,
        } = self;
        // The next one that comes into a full table has all of them moved.
        *moved += u64::from(table.len() >= table.capacity());
        let group = Box::new(Group::new(target, member));
        table.insert_unique(hasher.hash_one(target), group, |group| {
            hasher.hash_one(group.target())
        });
    }

    pub(super) fn remove(&mut self, target: &Target<'_>) {
        let Self {
            table,
            hasher,
            moved,
        } = self;
        let hash = hasher.hash_one(target);
        if let Ok(entry) = table.find_entry(hash, |group| group.target() == *target) {
            entry.remove();
        }
        if table.len() < table.capacity() / 8 {
            *moved += 1;
            table.shrink_to(2 * table.len(), |group| hasher.hash_one(group.target()));
        }
    }

    /// The next ones, of so many places of the table, and how far that is; [`None`] if there are no more.
    /// Where they were moved meanwhile it begins again: who is there all the time is not left out.
    pub(super) fn page(
        &self,
        from: Cursor,
        most: usize,
    ) -> (impl Iterator<Item = &Group>, Option<Cursor>) {
        let start = if from.moved == self.moved {
            from.bucket
        } else {
            0
        };
        let all = self.table.num_buckets();
        let end = start.saturating_add(most).min(all);
        let page = (start..end).filter_map(|bucket| self.table.get_bucket(bucket));
        let next = (end < all).then_some(Cursor {
            bucket: end,
            moved: self.moved,
        });
        (page.map(|group| &**group), next)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.table.iter().map(|group| &**group)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.table.iter_mut().map(|group| &mut **group)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
