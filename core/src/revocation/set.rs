//! All revocations that are in force, and the two questions that they answer.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
};

use jiff::Timestamp;

use self::{
    crowd::{Crowd, Rank, Waiting},
    groups::Groups,
    look::Changed,
    places::{Places, Share},
};
use super::{
    Epochs, Kind, LockEnd, Marks, Reported, Revocation, Target,
    words::{Place, denial, locked, time, within},
};
use crate::{
    denial::{Code, Denial},
    token::claims::Claims,
};

mod crowd;
mod groups;
mod keep;
mod look;
mod places;
mod room;

#[cfg(test)]
pub(super) use self::places::Bounds;
pub use self::{
    groups::Cursor,
    look::{Handle, Stored},
    places::Full,
};

/// The revocations that are in force.
///
/// # Guarantees
/// It refuses a token if one of them does, whatever else is in it. There are at most
/// [`MOST`](super::MOST), and at most [`MOST_OF_NAMESPACE`](super::MOST_OF_NAMESPACE) of one namespace
/// beside those of single tokens.
/// Where there are more, those that were created first are in force, whatever the order in which they
/// came: every replica that has read the same has the same in force. The time of a question does not
/// grow with their number.
#[derive(Debug, Default)]
pub struct RevocationSet {
    groups: Groups,
    epochs: Epochs,
    rounds: [u32; 2],
    places: Places,
    /// While some have no place.
    crowd: Option<Box<Crowd>>,
    /// Those of which some were taken out, and what is left has not been combined anew.
    stale: HashSet<Target<'static>>,
    /// A place became free, and nobody has looked yet who may have it.
    freed: bool,
    keys: BTreeSet<Box<str>>,
    /// How many have nothing left to refuse and are still here, for their status.
    spent: usize,
    /// Of each kind, what is stored and not kept here may be wanted now.
    wanted: [Wanted; 2],
    /// Those of which the status says already that they are over may be let go for others.
    may_let_go: bool,
    changed: Changed,
}

/// Whether a new list would bring something that was not kept.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    /// A place became free, or one went that was not kept.
    place: bool,
    /// Some that have nothing left to refuse were let go before their status said so or they were deleted.
    spent: bool,
}

/// How many revocations a list lacks that nobody has seen deleted. They stay in force until they would have
/// expired, and a lock for [`RETENTION`](super::RETENTION) at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(pub usize);

impl RevocationSet {
    /// An empty one with other bounds.
    #[cfg(test)]
    pub(super) fn bounded(bounds: Bounds) -> Self {
        let mut set = Self::default();
        set.places.bounds = bounds;
        set
    }

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
            let group = self.groups.get(&target);
            group.is_some_and(|group| group.refuses(issued, claims.known))
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
            let Some(group) = self.groups.get(&target) else {
                continue;
            };
            let place = |revocation| Place(revocation, within(revocation, &target)).to_string();
            if let Some((end, revocation)) = group.lock(now)
                && lock.as_ref().is_none_or(|(known, _)| *known < end)
            {
                let detail = locked(&target, &place(revocation), end, revocation);
                lock = Some((end, denial(Code::Locked, detail)));
            }
            if let Some((end, revocation)) = group.refuses_until(now)
                && before.as_ref().is_none_or(|(known, _)| *known < end)
            {
                let (place, end_of) = (place(revocation), time(end));
                let detail =
                    format!("what is issued for {target} before {end_of} is revoked by {place}");
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
        self.of_kind(Kind::Namespaced) + self.of_kind(Kind::Cluster)
    }

    /// How many of that kind are in force.
    #[must_use]
    pub const fn of_kind(&self, kind: Kind) -> usize {
        self.places.of_kind(kind)
    }

    /// Whether none is in force.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that are stored and have no place, the oldest first, and of what there is too much. They are
    /// not in force.
    pub fn waiting(
        &self,
    ) -> impl Iterator<Item = (&Target<'static>, &Revocation, Option<&str>, Full)> {
        let waiting = self.crowd.iter().flat_map(|crowd| crowd.waiting());
        waiting.map(|w| {
            let within = within(&w.revocation, &w.target);
            (&w.target, &w.revocation, within, w.why)
        })
    }

    /// How many have no place: at least so many, where there are more than are kept.
    #[must_use]
    pub fn without_place(&self) -> usize {
        self.crowd.as_ref().map_or(0, |crowd| crowd.count())
    }

    /// Whether another one of that kind would be in force that names this.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn has_room(&self, kind: Kind, target: &Target<'_>) -> Result<(), Full> {
        self.places.room(&Share::of(kind, target))
    }
}
