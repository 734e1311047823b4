//! The revocations of one target, and what they come to together.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::{
    Effect, Epochs, Kind, LockEnd, RETENTION, Revocation,
    severity::{One, Severity},
};
use crate::name::ObjectName;

/// A revocation in a set.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) revocation: Revocation,
    /// The last list that had it.
    pub(super) round: u32,
    /// It was missing from a list, and nobody has seen it deleted.
    pub(super) missing: bool,
    /// It has nothing left to refuse, and its place is free.
    pub(super) spent: bool,
}

/// The revocations of one target.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The lock that lasts longest is the first.
    members: Vec<Member>,
    /// Of more than one, kept: there may be thousands.
    most: Option<Box<Severity>>,
}

impl Group {
    /// Whether a token is refused that was issued then by somebody who knew so much.
    pub(super) fn refuses(&self, closed: bool, issued: i64, known: Epochs) -> bool {
        match (&self.most, self.members.as_slice()) {
            (Some(most), _) => most.refuses(issued, known),
            (None, [only]) => One::of(&only.revocation, closed).refuses(issued, known),
            (None, _) => false,
        }
    }

    /// The lock that lasts longest.
    pub(super) fn lock(&self, now: Timestamp) -> Option<(LockEnd, &Revocation)> {
        let first = &self.members.first()?.revocation;
        Some((first.locks(now)?, first))
    }

    /// Until when what is issued now is refused because of its time, and by which of them.
    pub(super) fn refuses_until(&self, now: Timestamp) -> Option<(i64, &Revocation)> {
        let most = self.most.as_ref().map(|most| most.before());
        if most.is_some_and(|before| before <= now.as_second()) {
            return None;
        }
        let each = self.members.iter().map(|member| &member.revocation);
        let last = each.max_by_key(|revocation| revocation.before())?;
        (now.as_second() < last.before()).then(|| (last.before(), last))
    }

    pub(super) fn find(&mut self, kind: Kind, name: &ObjectName) -> Option<&mut Member> {
        let same = |m: &&mut Member| m.revocation.kind == kind && m.revocation.name == *name;
        self.members.iter_mut().find(same)
    }

    pub(super) fn put(&mut self, member: Member, closed: bool) {
        if self.members.is_empty() {
            // Most targets have one for ever.
            self.members.reserve_exact(1);
        }
        let order = |member: &Member| lasting(&member.revocation);
        let place = self.members.partition_point(|m| order(m) >= order(&member));
        let one = One::of(&member.revocation, closed);
        self.members.insert(place, member);
        match &mut self.most {
            Some(most) => most.add(one),
            None => self.combine(closed),
        }
    }

    /// Takes out those for which `out` is true. What they refused is refused until the rest is
    /// [combined](Self::combine) anew, and whether that is to be done is said too: thousands may go together.
    pub(super) fn take(
        &mut self,
        closed: bool,
        out: impl Fn(&Member) -> bool,
    ) -> (Vec<Member>, bool) {
        let gone: Vec<Member> = self.members.extract_if(.., |m| out(m)).collect();
        let needs = |most: &Severity| {
            let mut each = gone.iter();
            each.any(|member| most.needs(One::of(&member.revocation, closed)))
        };
        // Of thousands of one target most say less than the last.
        let combine = self.members.len() < 2 || self.most.as_deref().is_none_or(needs);
        (gone, combine)
    }

    /// Changes each of them.
    pub(super) fn change(&mut self, closed: bool, change: impl FnMut(&mut Member)) {
        self.members.iter_mut().for_each(change);
        self.members
            .sort_by_key(|member| Reverse(lasting(&member.revocation)));
        self.combine(closed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Works out what those that are left come to.
    pub(super) fn combine(&mut self, closed: bool) {
        let each = self.members.iter();
        let each = each.map(|member| One::of(&member.revocation, closed));
        let many = self.members.len() > 1;
        self.most = many.then(|| Box::new(each.collect()));
    }
}

/// How long the revocation locks, whatever the time is.
fn lasting(revocation: &Revocation) -> Option<LockEnd> {
    match revocation.effect {
        Effect::Revoke => None,
        Effect::Lock { until } => Some(until.map_or(LockEnd::Never, LockEnd::At)),
    }
}

impl Member {
    /// It is missing from what is stored, and nobody has seen it go: it stays until it would have expired,
    /// and nothing that is issued from now on is refused for it, except for an hour under a lock. It goes by
    /// times alone, since the numbers of before may come again: what was issued in the second in which it was
    /// made is refused, since it may have been issued before it.
    pub(super) fn miss(&mut self, now: Timestamp) {
        self.missing = true;
        let Revocation {
            created,
            epoch,
            issued_before,
            effect,
            ..
        } = &mut self.revocation;
        if let Effect::Lock { until } = effect {
            let end = now.as_second().saturating_add(RETENTION);
            *until = Some(until.map_or(end, |until| until.min(end)));
        }
        let before = issued_before.unwrap_or_else(|| created.saturating_add(1));
        let latest = now.as_second().max(*created).saturating_add(1);
        *issued_before = Some(before.min(latest));
        *epoch = 0;
    }
}
