//! What comes into a set, and what goes: the lists and watches of both kinds, and the time.

use std::mem;

use jiff::Timestamp;

use super::{
    super::group::{Group, Member},
    Epochs, Full, Kind, Missing, Rank, Reported, Revocation, RevocationSet, Share, Target, Waiting,
    Wanted,
};

impl RevocationSet {
    /// Takes in a revocation, or what has become of it. What it refuses is refused from now on.
    ///
    /// # Errors
    /// There is no room for it, and it is not in force: it comes into force with
    /// [`settle`](Self::settle) as soon as there is.
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
            known.round = round;
            if mem::replace(&mut known.revocation.reported, revocation.reported)
                != revocation.reported
            {
                self.note(target, revocation.uid);
            }
            return Ok(());
        }
        let crowd = self.crowd.as_mut();
        if let Some(waiting) = crowd.and_then(|crowd| crowd.find(Rank::of(&revocation))) {
            waiting.revocation.reported = revocation.reported;
            waiting.round = round;
            return Err(waiting.why);
        }
        self.take_out(target, |member| is_named(member, &revocation));
        if revocation.has_expired(now) {
            self.hold(target, revocation, round);
            return Ok(());
        }
        // What became free is for the oldest who waits, and an older one takes it from the youngest.
        self.fill(now);
        let share = Share::of(revocation.kind, target);
        let room = self.places.room(&share);
        if let Err(why) = room.or_else(|full| self.make_room(full, &share, &revocation)) {
            self.wait(Waiting {
                target: target.clone(),
                revocation,
                share,
                round,
                why,
            });
            return Err(why);
        }
        self.place(target, share, revocation, round);
        Ok(())
    }

    /// Takes out what was deleted, as of the next [`settle`](Self::settle). Returns whether it was in it.
    pub fn remove(&mut self, target: &Target<'static>, revocation: &Revocation) -> bool {
        let crowd = self.crowd.as_mut();
        let waited = crowd.and_then(|crowd| crowd.leave(Rank::of(revocation)));
        // Another one of that name may have been read already, and is not what was deleted.
        let same = |member: &Member| {
            member.revocation.uid == revocation.uid && is_named(member, revocation)
        };
        let known = self.take_out(target, same) || waited.is_some();
        // It may have been the last one that is not kept.
        self.wanted[revocation.kind as usize].place |= !known;
        known
    }

    /// Takes note that the watch of that kind has delivered everything up to that resourceVersion.
    pub fn read_up_to(&mut self, kind: Kind, epoch: u64) {
        self.epochs = self.epochs.max(Epochs::only(kind, epoch));
    }

    /// A new list of that kind begins.
    pub fn begin(&mut self, kind: Kind) {
        let round = &mut self.rounds[kind as usize];
        *round = round.wrapping_add(1);
        self.look_again(kind);
    }

    /// The list is complete; `newest` is the newest resourceVersion in it, 0 where it is empty. It
    /// replaces what was read before: after a restore of the cluster's state, numbers begin anew.
    pub fn finish(&mut self, kind: Kind, newest: u64, now: Timestamp) -> Missing {
        match kind {
            Kind::Namespaced => self.epochs.namespaced = newest,
            Kind::Cluster => self.epochs.cluster = newest,
        }
        let round = self.round(kind);
        let mut missing = Vec::new();
        for group in self.groups.iter_mut() {
            let lacks = |m: &Member| m.revocation.kind == kind && m.round != round && !m.missing;
            if group.members().iter().any(lacks) {
                let share = Share::of(kind, &group.target());
                group.change(|member| {
                    if lacks(member) {
                        missing.push((Rank::of(&member.revocation), share.clone()));
                        member.miss(now);
                    }
                });
            }
        }
        if let Some(crowd) = &mut self.crowd {
            crowd.sweep(kind, round);
            for (rank, share) in &missing {
                crowd.unplace(*rank, share);
            }
        }
        self.settle(now);
        Missing(missing.len())
    }

    /// Makes room: what has nothing left to refuse counts no more. It is forgotten where nobody has
    /// anything left to say about it.
    pub fn tidy(&mut self, now: Timestamp) {
        self.may_let_go = true;
        // To put those with a place in order takes a while: not whenever one comes and goes.
        self.crowd.take_if(|crowd| crowd.is_over());
        let over = self.crowd.as_mut().map(|crowd| crowd.expire(now));
        for one in over.unwrap_or_default() {
            self.hold(&one.target, one.revocation, one.round);
        }
        let due = |group: &&Group| {
            let (target, mut members) = (group.target(), group.members().iter());
            members.any(|member| is_due(&target, member, now))
        };
        let due = self.targets(due);
        for target in due {
            let mut gone = self.take_out_all(&target, |member| is_due(&target, member, now));
            gone.retain(|member| !member.missing && !is_done(&member.revocation));
            for member in gone {
                self.hold(&target, member.revocation, member.round);
            }
        }
        self.settle(now);
    }

    /// Has what was taken out refuse nothing any more, and gives its places to those without one, the oldest
    /// first. Until then more is refused than is to be: this comes once after whatever came together.
    pub fn settle(&mut self, now: Timestamp) {
        for target in mem::take(&mut self.stale) {
            if let Some(group) = self.groups.get_mut(&target) {
                group.combine();
            }
        }
        self.fill(now);
    }

    /// Whether a new list of that kind would bring some that have no place here although there is one or that
    /// are to be kept while they wait, or that have nothing left to refuse and nobody has said so.
    #[must_use]
    pub fn wants_list(&self, kind: Kind) -> bool {
        let wanted = self.wanted[kind as usize];
        let crowd = self.crowd.as_ref();
        let dropped = crowd.filter(|crowd| crowd.has_dropped(kind));
        let most = self.places.bounds.waiting;
        dropped.is_some_and(|crowd| wanted.place || crowd.waiting().len() < most)
            || (wanted.spent && self.spent < MOST_SPENT / 2)
    }

    /// Such a list begins. Those that are known are known already, so it says nothing of what has gone.
    pub fn look_again(&mut self, kind: Kind) {
        self.wanted[kind as usize] = Wanted::default();
        if let Some(crowd) = &mut self.crowd {
            crowd.begin(kind);
        }
    }

    /// Holds one that has nothing left to refuse, for its status and until it is deleted. That of a key is
    /// always held: the key may live longer than any token.
    pub(super) fn hold(&mut self, target: &Target<'static>, revocation: Revocation, round: u32) {
        if self.spent >= MOST_SPENT && mem::take(&mut self.may_let_go) {
            self.let_go();
        }
        if self.spent >= MOST_SPENT && !matches!(target, Target::Key(_)) {
            self.wanted[revocation.kind as usize].spent = true;
            return;
        }
        self.spent += 1;
        self.add(target, revocation, round, true);
    }

    /// Lets those go of which the status says already that they are over, for those of which it does not.
    fn let_go(&mut self) {
        let told = |m: &Member| m.spent && m.revocation.reported == Reported::Expired;
        for target in self.targets(|group| group.members().iter().any(told)) {
            for member in self.take_out_all(&target, told) {
                self.wanted[member.revocation.kind as usize].spent = true;
            }
        }
    }

    pub(super) fn add(
        &mut self,
        target: &Target<'static>,
        revocation: Revocation,
        round: u32,
        spent: bool,
    ) {
        if let Target::Key(kid) = target {
            self.keys.insert((**kid).into());
        }
        self.note(target, revocation.uid);
        let member = Member {
            revocation,
            round,
            missing: false,
            spent,
        };
        self.groups.put(target, member);
    }

    /// The targets of those groups.
    fn targets(&self, of: impl FnMut(&&Group) -> bool) -> Vec<Target<'static>> {
        let groups = self.groups.iter().filter(of);
        groups.map(|group| group.target().into_owned()).collect()
    }

    pub(super) fn round(&self, kind: Kind) -> u32 {
        self.rounds[kind as usize]
    }

    /// Takes out those of a target that are wanted out. Returns whether there was one.
    fn take_out(&mut self, target: &Target<'static>, out: impl Fn(&Member) -> bool) -> bool {
        let group = self.groups.get(target);
        // Nearly always there is nothing to take out, and nothing to combine anew.
        let any = group.is_some_and(|group| group.members().iter().any(&out));
        any && !self.take_out_all(target, out).is_empty()
    }

    pub(super) fn take_out_all(
        &mut self,
        target: &Target<'static>,
        out: impl Fn(&Member) -> bool,
    ) -> Vec<Member> {
        let Some(group) = self.groups.get_mut(target) else {
            return Vec::new();
        };
        let (gone, combine) = group.take(out);
        if group.is_empty() {
            self.groups.remove(target);
            if let Target::Key(kid) = target {
                self.keys.remove(&**kid);
            }
        } else if combine {
            self.stale.insert(target.clone());
        }
        for member in &gone {
            if member.spent {
                self.spent = self.spent.saturating_sub(1);
                continue;
            }
            let share = Share::of(member.revocation.kind, target);
            self.places.free(&share);
            if let Some(crowd) = &mut self.crowd {
                crowd.unplace(Rank::of(&member.revocation), &share);
            }
            self.freed = true;
            self.wanted
                .iter_mut()
                .for_each(|wanted| wanted.place = true);
        }
        gone
    }
}

fn is_named(member: &Member, revocation: &Revocation) -> bool {
    let known = &member.revocation;
    known.kind == revocation.kind && known.name == revocation.name
}

/// Whether it has nothing left to refuse, and something follows from that now. That of a key is not
/// forgotten for being missing: the key may be back too, and with it whoever has it.
fn is_due(target: &Target<'_>, member: &Member, now: Timestamp) -> bool {
    if member.missing && matches!(target, Target::Key(_)) {
        return false;
    }
    let open = !member.spent || member.missing || is_done(&member.revocation);
    open && member.revocation.has_expired(now)
}

/// Whether nobody has anything left to say about it once it has nothing left to refuse.
fn is_done(revocation: &Revocation) -> bool {
    matches!(revocation.reported, Reported::Expired) && revocation.ttl().is_none()
}

/// How many that have nothing left to refuse are held until their status says so and, where they want that,
/// they are deleted.
const MOST_SPENT: usize = 10_000;
