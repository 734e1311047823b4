//! What those who report on revocations ask: which are stored, and which are not what they were.

use std::mem;

use super::{
    super::{
        Revocation, RevocationUid, Target,
        group::{Group, Member},
    },
    Cursor, RevocationSet,
};

/// Where a revocation is in a set, for asking that set for it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle {
    uid: RevocationUid,
    /// Of its target.
    hash: u64,
}

/// A revocation that is stored.
#[derive(Debug, Clone)]
pub struct Stored<'a> {
    /// Where it is.
    pub handle: Handle,
    /// What it names.
    pub target: Target<'a>,
    /// What it says.
    pub revocation: &'a Revocation,
    /// The namespace that it is in.
    pub namespace: Option<&'a str>,
}

/// Those that came or have another status, since somebody asked.
#[derive(Debug, Default)]
pub(super) struct Changed {
    handles: Vec<Handle>,
    /// There were more than are kept.
    over: bool,
}

impl RevocationSet {
    /// Those that are stored, as far as is known, of some places of the set from a cursor on; and from where
    /// to go on, if there may be more. About `most` of them, where no target has many.
    ///
    /// # Guarantees
    /// Whoever goes on to the end has seen each that was there from the beginning to the end, whatever came
    /// and went between two calls; maybe more than once.
    pub fn page(
        &self,
        from: Cursor,
        most: usize,
    ) -> (impl Iterator<Item = Stored<'_>>, Option<Cursor>) {
        let (groups, next) = self.groups.page(from, most);
        (groups.flat_map(|group| self.stored(group)), next)
    }

    /// The same one again, if it is still stored.
    #[must_use]
    pub fn find(&self, handle: Handle) -> Option<Stored<'_>> {
        let same = |member: &Member| member.revocation.uid == handle.uid && !member.missing;
        let group = self.groups.with(handle.hash, same)?;
        let member = group.members().iter().find(|member| same(member))?;
        Some(one(group, member, handle.hash))
    }

    /// Those that came, or whose status became another one, since the last call; [`None`] where they are so
    /// many that they are not kept: any may be among them. One reader asks.
    pub fn changed(&mut self) -> Option<Vec<Handle>> {
        let Changed { handles, over } = mem::take(&mut self.changed);
        (!over).then_some(handles)
    }

    #[cfg(test)]
    pub(in super::super) fn iter(
        &self,
    ) -> impl Iterator<Item = (Target<'_>, &Revocation, Option<&str>)> {
        let (all, _) = self.page(Cursor::default(), usize::MAX);
        all.map(|one| (one.target, one.revocation, one.namespace))
    }

    /// It came, or its status changed.
    pub(super) fn note(&mut self, target: &Target<'_>, uid: RevocationUid) {
        let Changed { handles, over } = &mut self.changed;
        if handles.len() >= MOST_CHANGED {
            *over = true;
            *handles = Vec::new();
        }
        if !*over {
            let hash = self.groups.hash(target);
            handles.push(Handle { uid, hash });
        }
    }

    fn stored<'a>(&self, group: &'a Group) -> impl Iterator<Item = Stored<'a>> + use<'a> {
        let hash = self.groups.hash(&group.target());
        let stored = group.members().iter().filter(|member| !member.missing);
        stored.map(move |member| one(group, member, hash))
    }
}

fn one<'a>(group: &'a Group, member: &'a Member, hash: u64) -> Stored<'a> {
    let revocation = &member.revocation;
    Stored {
        handle: Handle {
            uid: revocation.uid,
            hash,
        },
        target: group.target(),
        revocation,
        namespace: group.within(revocation.kind),
    }
}

/// How many are kept: more than are written in a few seconds.
const MOST_CHANGED: usize = 4096;
