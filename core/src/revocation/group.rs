//! The revocations of one target, and what they come to together.

use std::{
    cmp::{Ordering, Reverse},
    mem, slice,
};

use jiff::Timestamp;

use super::{
    Effect, Epochs, Kind, LockEnd, RETENTION, Revocation, Target,
    packed::Packed,
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
#[derive(Debug)]
pub(super) struct Group {
    target: Packed,
    members: Members,
}

#[derive(Debug, Default)]
enum Members {
    /// The group is about to go, or to get some.
    #[default]
    None,
    /// Most targets have one for ever.
    One(Member),
    /// There are more, or were.
    Many(Box<Many>),
}

/// There may be thousands.
#[derive(Debug, Default)]
struct Many {
    /// The lock that lasts longest is the first.
    members: Vec<Member>,
    /// What they come to.
    most: Severity,
    /// The place of the one that refuses the longest what is issued now: the last of several. [`None`] since it
    /// was taken out, until the rest is [combined](Group::combine).
    latest: Option<usize>,
}

/// A hundred thousand of them are held in a small program: with the text of the target, the name of the
/// revocation and the place in the table, 190 bytes each where names are short and nothing more is written, and
/// never more than 1,200. An allocator that has blocks of 96 bytes and of 112
/// rounds one byte more up to the next.
const _: () = assert!(size_of::<Member>() <= 72 && size_of::<Group>() <= 96);

impl Group {
    pub(super) fn new(target: &Target<'_>, member: Member) -> Self {
        Self {
            target: target.into(),
            members: Members::One(member),
        }
    }

    pub(super) fn target(&self) -> Target<'_> {
        self.target.target()
    }

    /// The namespace that one of that kind is in.
    pub(super) fn within(&self, kind: Kind) -> Option<&str> {
        match kind {
            Kind::Namespaced => self.target.within(),
            Kind::Cluster => None,
        }
    }

    /// Whether a token is refused that was issued then by somebody who knew so much.
    pub(super) fn refuses(&self, issued: i64, known: Epochs) -> bool {
        match &self.members {
            Members::None => false,
            Members::One(only) => self.one(only).refuses(issued, known),
            Members::Many(many) => many.most.refuses(issued, known),
        }
    }

    /// The lock that lasts longest.
    pub(super) fn lock(&self, now: Timestamp) -> Option<(LockEnd, &Revocation)> {
        let first = &self.members().first()?.revocation;
        Some((first.locks(now)?, first))
    }

    /// Until when what is issued now is refused because of its time, and by which of them.
    pub(super) fn refuses_until(&self, now: Timestamp) -> Option<(i64, &Revocation)> {
        let last = match &self.members {
            Members::None => None,
            Members::One(only) => Some(only),
            Members::Many(many) => many.latest(),
        };
        let last = &last?.revocation;
        (now.as_second() < last.before()).then(|| (last.before(), last))
    }

    pub(super) fn find(&mut self, kind: Kind, name: &ObjectName) -> Option<&mut Member> {
        let same = |m: &&mut Member| m.revocation.kind == kind && m.revocation.name == *name;
        self.each().iter_mut().find(same)
    }

    pub(super) fn put(&mut self, member: Member) {
        let one = self.one(&member);
        let mut many = self.many();
        let order = |member: &Member| lasting(&member.revocation);
        let place = many.members.partition_point(|m| order(m) >= order(&member));
        many.insert(place, member);
        many.most.add(one);
        self.members = Members::Many(many);
    }

    /// Takes out those for which `out` is true. What they refused is refused until the rest is
    /// [combined](Self::combine) anew, and whether that is to be done is said too: thousands may go together.
    pub(super) fn take(&mut self, out: impl Fn(&Member) -> bool) -> (Vec<Member>, bool) {
        let closed = self.is_closed();
        let mut many = self.many();
        let gone = many.extract(out);
        let needs = |member: &Member| many.most.needs(One::of(&member.revocation, closed));
        // Of thousands of one target most say less than the last.
        let combine = many.members.len() < 2 || gone.iter().any(needs);
        self.members = Members::Many(many);
        (gone, combine)
    }

    /// Changes each of them.
    pub(super) fn change(&mut self, change: impl FnMut(&mut Member)) {
        let each = self.each();
        each.iter_mut().for_each(change);
        each.sort_by_key(|member| Reverse(lasting(&member.revocation)));
        self.combine();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    pub(super) fn members(&self) -> &[Member] {
        match &self.members {
            Members::None => &[],
            Members::One(only) => slice::from_ref(only),
            Members::Many(many) => &many.members,
        }
    }

    /// Works out what those that are left come to.
    pub(super) fn combine(&mut self) {
        let closed = self.is_closed();
        let Members::Many(many) = &mut self.members else {
            return;
        };
        if many.members.len() < 2 {
            self.members = many.members.pop().map_or(Members::None, Members::One);
            return;
        }
        let each = many.members.iter();
        let each = each.map(|member| One::of(&member.revocation, closed));
        many.most = each.collect();
        many.latest = many.find_latest();
    }

    fn one(&self, member: &Member) -> One {
        One::of(&member.revocation, self.is_closed())
    }

    fn is_closed(&self) -> bool {
        self.target().is_closed()
    }

    fn each(&mut self) -> &mut [Member] {
        match &mut self.members {
            Members::None => &mut [],
            Members::One(only) => slice::from_mut(only),
            Members::Many(many) => &mut many.members,
        }
    }

    /// All of them, however few, and what they come to. They are to be given back.
    fn many(&mut self) -> Box<Many> {
        match mem::take(&mut self.members) {
            Members::None => Box::default(),
            Members::One(only) => Box::new(Many {
                most: [self.one(&only)].into_iter().collect(),
                members: vec![only],
                latest: Some(0),
            }),
            Members::Many(many) => many,
        }
    }
}

impl Many {
    fn insert(&mut self, place: usize, member: Member) {
        let before = member.revocation.before();
        self.members.insert(place, member);
        let Some(latest) = self.latest else { return };
        let latest = if place <= latest { latest + 1 } else { latest };
        let known = self.members.get(latest).map(|m| m.revocation.before());
        let later = known.map_or(Ordering::Greater, |known| before.cmp(&known));
        self.latest = Some(match later {
            Ordering::Less => latest,
            Ordering::Equal => latest.max(place),
            Ordering::Greater => place,
        });
    }

    fn extract(&mut self, out: impl Fn(&Member) -> bool) -> Vec<Member> {
        let (mut place, mut latest) = (0, self.latest);
        let taken = |member: &mut Member| {
            let taken = out(member);
            if taken && let Some(known) = self.latest {
                latest = match place.cmp(&known) {
                    Ordering::Less => latest.and_then(|latest| latest.checked_sub(1)),
                    Ordering::Equal => None,
                    Ordering::Greater => latest,
                };
            }
            place += 1;
            taken
        };
        let gone = self.members.extract_if(.., taken).collect();
        self.latest = latest;
        gone
    }

    /// Who asks does not look at thousands, except while some of them are being taken out.
    fn latest(&self) -> Option<&Member> {
        let latest = self.latest.or_else(|| self.find_latest());
        latest.and_then(|latest| self.members.get(latest))
    }

    fn find_latest(&self) -> Option<usize> {
        let each = self.members.iter().map(|member| member.revocation.before());
        let (latest, _) = each.enumerate().max_by_key(|(_, before)| *before)?;
        Some(latest)
    }
}

/// How long the revocation locks, whatever the time is.
fn lasting(revocation: &Revocation) -> Option<LockEnd> {
    match revocation.terms().effect {
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
        let revocation = &mut self.revocation;
        let mut terms = revocation.terms().clone();
        if let Effect::Lock { until } = &mut terms.effect {
            let end = now.as_second().saturating_add(RETENTION);
            *until = Some(until.map_or(end, |until| until.min(end)));
        }
        let created = revocation.created;
        let before = terms
            .issued_before
            .unwrap_or_else(|| created.saturating_add(1));
        let latest = now.as_second().max(created).saturating_add(1);
        terms.issued_before = Some(before.min(latest));
        revocation.set_terms(terms);
        revocation.epoch = 0;
    }
}

#[cfg(test)]
mod tests;
