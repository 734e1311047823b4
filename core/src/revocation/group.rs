//! The revocations of one target, and what they come to together.

use jiff::Timestamp;

use super::{Effect, Epochs, Kind, LockEnd, RETENTION, Revocation};
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

/// What revocations come to: the most severe of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Severity {
    /// All of it is refused.
    all: bool,
    /// What was issued before is refused.
    before: Option<i64>,
    /// What an issuer made that knew less is refused.
    epochs: Epochs,
}

impl Severity {
    fn of(revocation: &Revocation, closed: bool) -> Self {
        let before = revocation.issued_before.unwrap_or(revocation.created);
        let epoch = if revocation.spares_later() {
            0
        } else {
            revocation.epoch
        };
        Self {
            all: closed,
            before: Some(before),
            epochs: Epochs::only(revocation.kind, epoch),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            all: self.all || other.all,
            before: self.before.max(other.before),
            epochs: self.epochs.max(other.epochs),
        }
    }

    /// Whether a token is refused that was issued then by somebody who knew so much.
    pub(super) fn refuses(&self, issued: i64, known: Epochs) -> bool {
        self.all || self.before.is_some_and(|before| issued < before) || known.lacks(self.epochs)
    }

    /// What is issued now is refused until then.
    pub(super) fn refuses_until(&self, now: i64) -> Option<i64> {
        self.before.filter(|before| now < *before)
    }
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
    pub(super) fn severity(&self, closed: bool) -> Severity {
        match (&self.most, self.members.as_slice()) {
            (Some(most), _) => **most,
            (None, [only]) => Severity::of(&only.revocation, closed),
            (None, _) => Severity::default(),
        }
    }

    /// The lock that lasts longest.
    pub(super) fn lock(&self, now: Timestamp) -> Option<(LockEnd, &Revocation)> {
        let first = &self.members.first()?.revocation;
        Some((first.locks(now)?, first))
    }

    pub(super) fn find(&mut self, kind: Kind, name: &ObjectName) -> Option<&mut Member> {
        let same = |m: &&mut Member| m.revocation.kind == kind && m.revocation.name == *name;
        self.members.iter_mut().find(same)
    }

    pub(super) fn put(&mut self, member: Member, closed: bool) {
        let order = |member: &Member| lasting(&member.revocation);
        let place = self.members.partition_point(|m| order(m) >= order(&member));
        self.members.reserve_exact(1);
        self.members.insert(place, member);
        self.combine(closed);
    }

    /// Takes out those for which `keep` is false, which may change the others.
    pub(super) fn retain(&mut self, closed: bool, mut keep: impl FnMut(&mut Member) -> bool) {
        self.members.retain_mut(&mut keep);
        self.combine(closed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    fn combine(&mut self, closed: bool) {
        self.members
            .sort_by_key(|m| std::cmp::Reverse(lasting(&m.revocation)));
        let each = self.members.iter();
        let each = each.map(|member| Severity::of(&member.revocation, closed));
        let many = self.members.len() > 1;
        self.most = many.then(|| Box::new(each.fold(Severity::default(), Severity::max)));
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
    /// and a lock has an end now. It goes by times alone, since the numbers of before may come again.
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
        issued_before.get_or_insert(*created);
        *epoch = 0;
    }
}
