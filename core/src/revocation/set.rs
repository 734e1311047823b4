//! All revocations that are in force, and the two questions that they answer.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use jiff::Timestamp;

use super::{
    Epochs, Kind, LockEnd, MOST, MOST_OF_NAMESPACE, Marks, Revocation, Target,
    group::{Group, Member},
    words::{Place, denial, locked, time, within},
};
use crate::{
    denial::{Code, Denial},
    name::ObjectName,
    token::claims::Claims,
};

/// The revocations that are in force.
///
/// # Guarantees
/// It refuses a token if one of them does, whatever else is in it. There are at most [`MOST`], and at most
/// [`MOST_OF_NAMESPACE`] of one namespace; none makes room for another. The time of a question does not
/// grow with their number.
#[derive(Debug, Default)]
pub struct RevocationSet {
    groups: HashMap<Target<'static>, Group>,
    epochs: Epochs,
    rounds: [u32; 2],
    counts: [usize; 2],
    by_namespace: HashMap<Box<str>, usize>,
    keys: BTreeSet<Box<str>>,
    /// How many have nothing left to refuse and are still here, for their status.
    spent: usize,
}

/// There is no room for another revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// In the cluster.
    #[error("{MOST} revocations are in force in this cluster, which is the most there can be")]
    Cluster,
    /// In its namespace.
    #[error(
        "{MOST_OF_NAMESPACE} revocations are in force in this namespace, which is the most there can be"
    )]
    Namespace,
}

/// How many revocations a list lacks that nobody has seen deleted. They stay in force until they would have
/// expired, and a lock for [`RETENTION`](super::RETENTION) at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(pub usize);

impl RevocationSet {
    /// Whether a token is refused that says this, was made with the key of that `kid`, and is one of that
    /// `TokenIssuer`.
    #[must_use]
    pub fn refuses(&self, claims: &Claims, kid: &str, issuer: &str) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        let marks = Marks {
            namespace: claims.namespace.as_str(),
            service_account: claims.service_account.as_str(),
            pod: claims.pod.as_str(),
            policy: claims.policy.as_str(),
            audience: claims.audience.as_str(),
            issuer: Some(issuer),
        };
        let id = Cow::Borrowed(claims.id.as_str());
        let one = [
            Target::Key(Cow::Borrowed(kid)),
            Target::Token(Some(Cow::Borrowed(marks.namespace)), id.clone()),
            Target::Token(None, id),
        ];
        let issued = claims.issued.as_second();
        marks.targets().chain(one).any(|target| {
            let group = self.group(&target);
            group.is_some_and(|group| {
                let severity = group.severity(target.is_closed());
                severity.refuses(issued, claims.known)
            })
        })
    }

    /// Whether such a token may be made now. Gives what its maker knows, for the token to say.
    ///
    /// # Errors
    /// [`Code::Locked`] with the message of the lock that lasts longest; [`Code::Revoked`] where a
    /// revocation already refuses what is issued now.
    pub fn admit(&self, marks: Marks<'_>, now: Timestamp) -> Result<Epochs, Denial> {
        if self.groups.is_empty() {
            return Ok(self.epochs);
        }
        let (mut lock, mut before) = (None::<(LockEnd, Denial)>, None::<(i64, Denial)>);
        for target in marks.targets() {
            let Some(group) = self.group(&target) else {
                continue;
            };
            let place = |revocation| Place(revocation, within(revocation, &target)).to_string();
            if let Some((end, revocation)) = group.lock(now)
                && lock.as_ref().is_none_or(|(known, _)| *known < end)
            {
                let detail = locked(&target, &place(revocation), end, revocation);
                lock = Some((end, denial(Code::Locked, detail)));
            }
            if let Some(end) = group.severity(false).refuses_until(now.as_second())
                && before.as_ref().is_none_or(|(known, _)| *known < end)
            {
                let detail = format!(
                    "what is issued for {target} before {} is revoked",
                    time(end)
                );
                before = Some((end, denial(Code::Revoked, detail)));
            }
        }
        let denied = lock.map(|(_, denial)| denial);
        let denied = denied.or_else(|| before.map(|(_, denial)| denial));
        denied.map_or(Ok(self.epochs), Err)
    }

    /// The `kid`s of the keys that are revoked.
    #[must_use]
    pub const fn keys(&self) -> &BTreeSet<Box<str>> {
        &self.keys
    }

    /// The newest resourceVersion of each kind that was put into it.
    #[must_use]
    pub const fn epochs(&self) -> Epochs {
        self.epochs
    }

    /// How many are in force.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.counts[0] + self.counts[1]
    }

    /// How many of that kind are in force.
    #[must_use]
    pub const fn of_kind(&self, kind: Kind) -> usize {
        self.counts[kind as usize]
    }

    /// Whether none is in force.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that are stored, as far as is known, with what they name and the namespace they are in.
    pub fn iter(&self) -> impl Iterator<Item = (&Target<'static>, &Revocation, Option<&str>)> {
        self.groups.iter().flat_map(|(target, group)| {
            let stored = group.members().iter().filter(|member| !member.missing);
            stored.map(move |member| {
                let revocation = &member.revocation;
                (target, revocation, within(revocation, target))
            })
        })
    }

    /// Whether one more of that namespace would be in force.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn has_room(&self, namespace: &str) -> Result<(), Full> {
        if self.len() >= MOST {
            return Err(Full::Cluster);
        }
        match self.by_namespace.get(namespace) {
            Some(count) if *count >= MOST_OF_NAMESPACE => Err(Full::Namespace),
            _ => Ok(()),
        }
    }

    /// Takes in a revocation, or what has become of it. What it refuses is refused from now on.
    ///
    /// # Errors
    /// There is no room for it, and it is not in force.
    pub fn put(
        &mut self,
        target: &Target<'static>,
        revocation: Revocation,
        now: Timestamp,
    ) -> Result<(), Full> {
        let round = self.round(revocation.kind);
        let group = self.groups.get_mut(target);
        if let Some(known) = group.and_then(|g| g.find(revocation.kind, &revocation.name))
            && known.revocation.uid == revocation.uid
            && !known.missing
        {
            // Its spec cannot change, and the version under which it was first seen is the lowest.
            known.revocation.epoch = known.revocation.epoch.min(revocation.epoch);
            known.revocation.reported = revocation.reported;
            known.round = round;
            return Ok(());
        }
        self.remove(target, revocation.kind, &revocation.name);
        let spent = revocation.has_expired(now);
        if spent {
            if self.spent >= MOST_SPENT {
                return Ok(());
            }
            self.spent += 1;
        } else {
            self.take_place(revocation.kind, within(&revocation, target))?;
        }
        let member = Member {
            revocation,
            round,
            missing: false,
            spent,
        };
        if let Target::Key(kid) = target {
            self.keys.insert((**kid).into());
        }
        let group = self.groups.entry(target.clone()).or_default();
        group.put(member, target.is_closed());
        Ok(())
    }

    /// Takes out what was deleted. Returns whether it was in it.
    pub fn remove(&mut self, target: &Target<'static>, kind: Kind, name: &ObjectName) -> bool {
        self.retain_in(target, |member| {
            member.revocation.kind != kind || member.revocation.name != *name
        })
    }

    /// Takes note that the watch of that kind has delivered everything up to that resourceVersion.
    pub fn read_up_to(&mut self, kind: Kind, epoch: u64) {
        self.epochs = self.epochs.max(Epochs::only(kind, epoch));
    }

    /// A new list of that kind begins.
    pub fn begin(&mut self, kind: Kind) {
        let round = &mut self.rounds[kind as usize];
        *round = round.wrapping_add(1);
    }

    /// The list is complete; `newest` is the newest resourceVersion in it, 0 where it is empty. It
    /// replaces what was read before: after a restore of the cluster's state, numbers begin anew.
    pub fn finish(&mut self, kind: Kind, newest: u64, now: Timestamp) -> Missing {
        match kind {
            Kind::Namespaced => self.epochs.namespaced = newest,
            Kind::Cluster => self.epochs.cluster = newest,
        }
        let round = self.round(kind);
        let mut missing = 0;
        for (target, group) in &mut self.groups {
            let lacks = |m: &Member| m.revocation.kind == kind && m.round != round && !m.missing;
            if group.members().iter().any(lacks) {
                group.retain(target.is_closed(), |member| {
                    if lacks(member) {
                        missing += 1;
                        member.miss(now);
                    }
                    true
                });
            }
        }
        Missing(missing)
    }

    /// Makes room: what has nothing left to refuse counts no more. It is forgotten where nobody has
    /// anything left to say about it.
    pub fn tidy(&mut self, now: Timestamp) {
        let due: Vec<Target<'static>> = self
            .groups
            .iter()
            .filter(|(_, group)| {
                group
                    .members()
                    .iter()
                    .any(|m| m.revocation.has_expired(now))
            })
            .map(|(target, _)| target.clone())
            .collect();
        for target in due {
            self.retain_in(&target, |member| {
                let told = matches!(member.revocation.reported, super::Reported::Expired);
                let done = member.missing || (told && member.revocation.ttl.is_none());
                !(done && member.revocation.has_expired(now))
            });
            self.spend(&target, now);
        }
    }

    /// Frees the places of those of a target that have nothing left to refuse. Which of them are held no
    /// longer, where there are too many, is not important.
    fn spend(&mut self, target: &Target<'static>, now: Timestamp) {
        let Some(group) = self.groups.get_mut(target) else {
            return;
        };
        let (room, mut held) = (MOST_SPENT.saturating_sub(self.spent), 0);
        let mut freed = Vec::new();
        group.retain(target.is_closed(), |member| {
            if member.spent || !member.revocation.has_expired(now) {
                return true;
            }
            member.spent = true;
            let namespace = within(&member.revocation, target).map(Box::<str>::from);
            freed.push((member.revocation.kind, namespace));
            held += 1;
            held <= room
        });
        self.spent += held.min(room);
        self.forget_empty(target);
        for (kind, namespace) in freed {
            self.free_place(kind, namespace.as_deref());
        }
    }

    fn forget_empty(&mut self, target: &Target<'static>) {
        if self.groups.get(target).is_some_and(Group::is_empty) {
            self.groups.remove(target);
            if let Target::Key(kid) = target {
                self.keys.remove(&**kid);
            }
        }
    }

    fn round(&self, kind: Kind) -> u32 {
        self.rounds[kind as usize]
    }

    fn group<'a>(&'a self, target: &Target<'a>) -> Option<&'a Group> {
        // The map of owned targets is one of shorter-lived ones too.
        let groups: &'a HashMap<Target<'a>, Group> = &self.groups;
        groups.get(target)
    }

    /// Keeps those of a target for which `keep` is true. Returns whether one went.
    fn retain_in(&mut self, target: &Target<'static>, keep: impl Fn(&Member) -> bool) -> bool {
        let Some(group) = self.groups.get_mut(target) else {
            return false;
        };
        let mut gone = Vec::new();
        group.retain(target.is_closed(), |member| {
            let kept = keep(member);
            if !kept {
                let namespace = within(&member.revocation, target).map(Box::<str>::from);
                gone.push((member.revocation.kind, namespace, member.spent));
            }
            kept
        });
        self.forget_empty(target);
        for (kind, namespace, spent) in &gone {
            if *spent {
                self.spent = self.spent.saturating_sub(1);
            } else {
                self.free_place(*kind, namespace.as_deref());
            }
        }
        !gone.is_empty()
    }

    fn take_place(&mut self, kind: Kind, namespace: Option<&str>) -> Result<(), Full> {
        self.has_room(namespace.unwrap_or_default())?;
        if let Some(namespace) = namespace {
            *self.by_namespace.entry(namespace.into()).or_default() += 1;
        }
        self.counts[kind as usize] += 1;
        Ok(())
    }

    fn free_place(&mut self, kind: Kind, namespace: Option<&str>) {
        let count = &mut self.counts[kind as usize];
        *count = count.saturating_sub(1);
        let Some(namespace) = namespace else {
            return;
        };
        if let Some(count) = self.by_namespace.get_mut(namespace) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_namespace.remove(namespace);
            }
        }
    }
}

/// How many that have nothing left to refuse are held until their status says so and, where they want that,
/// they are deleted.
const MOST_SPENT: usize = 10_000;
