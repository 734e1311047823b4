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
        let Self { table, hasher } = self;
        let group = Box::new(Group::new(target, member));
        table.insert_unique(hasher.hash_one(target), group, |group| {
            hasher.hash_one(group.target())
        });
    }

    pub(super) fn remove(&mut self, target: &Target<'_>) {
        let Self { table, hasher } = self;
        let hash = hasher.hash_one(target);
        if let Ok(entry) = table.find_entry(hash, |group| group.target() == *target) {
            entry.remove();
        }
        if table.len() < table.capacity() / 8 {
            table.shrink_to(2 * table.len(), |group| hasher.hash_one(group.target()));
        }
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
