//! Who gets a place, and who waits for one.

use std::mem;

use jiff::Timestamp;

use super::{
    super::group::Member, Crowd, Full, Rank, Revocation, RevocationSet, Share, Target, Waiting,
};

impl RevocationSet {
    /// Makes room for an older one. The one that goes has no place any more.
    pub(super) fn make_room(
        &mut self,
        full: Full,
        share: &Share,
        revocation: &Revocation,
    ) -> Result<(), Full> {
        let (rank, hash) = self.crowd().youngest(full, share).ok_or(full)?;
        if rank <= Rank::of(revocation) {
            return Err(full);
        }
        let of = |member: &Member| Rank::of(&member.revocation) == rank;
        let group = self.groups.with(hash, of).ok_or(full)?;
        let unlisted = |m: &Member| of(m) && m.round != self.round(m.revocation.kind);
        if group.members().iter().any(unlisted) {
            // Nobody knows yet whether it is still stored: if not, it keeps its place, and else the older one
            // takes it with the list after this one.
            self.wanted[revocation.kind as usize].place = true;
            self.crowd().skip(Rank::of(revocation), share);
            return Err(full);
        }
        let target = group.target().into_owned();
        for member in self.take_out_all(&target, of) {
            let share = Share::of(member.revocation.kind, &target);
            self.wait(Waiting {
                target: target.clone(),
                revocation: member.revocation,
                share,
                round: member.round,
                why: full,
            });
        }
        Ok(())
    }

    /// Gives the places that became free to those without one, the oldest first.
    pub(super) fn fill(&mut self, now: Timestamp) {
        if !mem::take(&mut self.freed) {
            return;
        }
        let Some(mut crowd) = self.crowd.take() else {
            return;
        };
        let mut heads = crowd.heads();
        while let Some((rank, share)) = heads.pop_first() {
            if self.places.room(&share).is_err() {
                continue;
            }
            let Some(one) = crowd.leave(rank) else {
                // The place is for one that is not kept: who is younger comes with the list that brings it.
                let open = heads.values().filter(|s| self.places.room(s).is_ok());
                open.for_each(|share| crowd.drop_all(share));
                break;
            };
            if one.revocation.has_expired(now) {
                self.hold(&one.target, one.revocation, one.round);
            } else {
                crowd.place(rank, one.share.clone(), self.groups.hash(&one.target));
                self.insert(&one.target, &one.share, one.revocation, one.round);
            }
            heads.extend(crowd.head(&share).map(|rank| (rank, share)));
        }
        self.crowd = Some(crowd);
    }

    pub(super) fn wait(&mut self, waiting: Waiting) {
        let most = self.places.bounds.waiting;
        self.crowd().wait(waiting, most);
    }

    pub(super) fn place(
        &mut self,
        target: &Target<'static>,
        share: Share,
        revocation: Revocation,
        round: u32,
    ) {
        let rank = Rank::of(&revocation);
        self.insert(target, &share, revocation, round);
        if let Some(crowd) = &mut self.crowd {
            crowd.place(rank, share, self.groups.hash(target));
        }
    }

    fn insert(
        &mut self,
        target: &Target<'static>,
        share: &Share,
        revocation: Revocation,
        round: u32,
    ) {
        self.places.take(share);
        self.add(target, revocation, round, false);
    }

    /// The crowd, which is made of those with a place where there was none.
    fn crowd(&mut self) -> &mut Crowd {
        let groups = &self.groups;
        self.crowd.get_or_insert_with(|| {
            let mut crowd = Box::<Crowd>::default();
            for group in groups.iter() {
                let target = &group.target();
                let hash = groups.hash(target);
                let placed = group.members().iter().filter(|m| !m.spent && !m.missing);
                for Member { revocation, .. } in placed {
                    let share = Share::of(revocation.kind, target);
                    crowd.place(Rank::of(revocation), share, hash);
                }
            }
            crowd
        })
    }
}
