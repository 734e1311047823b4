//! What is refused from now on: revocations of tokens, and locks of those who ask for them.
//!
//! A token is refused because of when it was issued, or because of what its issuer knew: every token
//! says in its [`Epochs`] how far its issuer had read, so that one from a replica that had not heard of a
//! revocation is dead, whatever the clocks say. [`RevocationSet`] combines all that is in force.

use std::{borrow::Cow, fmt, num::NonZeroU32};

use jiff::Timestamp;

use crate::{
    name::{Namespace, ObjectName},
    uuid,
};

mod group;
mod marks;
mod packed;
mod parse;
mod set;
mod severity;
mod words;

pub use self::{
    marks::Marks,
    parse::{RawRevocation, RawTarget},
    set::{Cursor, Full, Handle, Missing, RevocationSet, Stored},
};

/// The two kinds that revoke. Each has resourceVersions of its own: those of two resources are not to be
/// compared (KEP-5504).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `TokenRevocation`
    Namespaced,
    /// `ClusterTokenRevocation`
    Cluster,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Namespaced, Self::Cluster];

    /// The kind as the API server has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaced => "TokenRevocation",
            Self::Cluster => "ClusterTokenRevocation",
        }
    }
}

/// How far somebody has read: for each kind the newest resourceVersion that its watch has delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epochs {
    /// Of `TokenRevocation`.
    pub namespaced: u64,
    /// Of `ClusterTokenRevocation`.
    pub cluster: u64,
}

impl Epochs {
    /// The one of that kind.
    #[must_use]
    pub const fn of(self, kind: Kind) -> u64 {
        match kind {
            Kind::Namespaced => self.namespaced,
            Kind::Cluster => self.cluster,
        }
    }

    /// The later of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            namespaced: self.namespaced.max(other.namespaced),
            cluster: self.cluster.max(other.cluster),
        }
    }

    /// This epoch of that kind, and none of the other.
    #[must_use]
    pub const fn only(kind: Kind, epoch: u64) -> Self {
        let (namespaced, cluster) = match kind {
            Kind::Namespaced => (epoch, 0),
            Kind::Cluster => (0, epoch),
        };
        Self {
            namespaced,
            cluster,
        }
    }

    /// Whether something of `needed` is not in this.
    const fn lacks(self, needed: Self) -> bool {
        self.namespaced < needed.namespaced || self.cluster < needed.cluster
    }
}

/// What a revocation names. Owned in a set, borrowed in a question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target<'a> {
    /// Whatever belongs to a namespace.
    Namespace(Cow<'a, str>),
    /// The pods of that name, whichever of them.
    Pod(Cow<'a, str>, Cow<'a, str>),
    /// The service accounts of that name.
    ServiceAccount(Cow<'a, str>, Cow<'a, str>),
    /// The tokens that a policy of that name gave.
    Policy(Cow<'a, str>, Cow<'a, str>),
    /// One token, by its `jti`; of that namespace, where one is named.
    Token(Option<Cow<'a, str>>, Cow<'a, str>),
    /// The tokens with that `aud`.
    Audience(Cow<'a, str>),
    /// What was signed or sealed with the key of that `kid`.
    Key(Cow<'a, str>),
    /// The tokens of the `TokenIssuer` of that name.
    Issuer(Cow<'a, str>),
}

impl Target<'_> {
    /// The same for as long as it is wanted.
    #[must_use]
    pub fn into_owned(self) -> Target<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Namespace(name) => Target::Namespace(own(name)),
            Self::Pod(within, name) => Target::Pod(own(within), own(name)),
            Self::ServiceAccount(within, name) => Target::ServiceAccount(own(within), own(name)),
            Self::Policy(within, name) => Target::Policy(own(within), own(name)),
            Self::Token(within, id) => Target::Token(within.map(own), own(id)),
            Self::Audience(value) => Target::Audience(own(value)),
            Self::Key(kid) => Target::Key(own(kid)),
            Self::Issuer(name) => Target::Issuer(own(name)),
        }
    }

    /// Whether it names tokens that exist and no others: nothing new can become one of them.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Token(..) | Self::Key(_))
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "namespace \"{name}\""),
            Self::Pod(_, name) => write!(f, "pod \"{name}\""),
            Self::ServiceAccount(_, name) => write!(f, "service account \"{name}\""),
            Self::Policy(_, name) => write!(f, "TokenPolicy \"{name}\""),
            Self::Token(_, id) => write!(f, "token \"{id}\""),
            Self::Audience(value) => write!(f, "audience \"{value}\""),
            Self::Key(kid) => write!(f, "key \"{kid}\""),
            Self::Issuer(name) => write!(f, "TokenIssuer \"{name}\""),
        }
    }
}

/// What it does. Times are whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What was issued is refused.
    Revoke,
    /// Besides, nothing new is issued.
    Lock {
        /// Until then; without it until the lock is deleted.
        until: Option<i64>,
    },
}

/// What the status of a revocation says already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reported {
    /// Nothing yet.
    #[default]
    Nothing,
    /// It is not in force everywhere yet.
    Pending,
    /// It is in force.
    Enforced,
    /// It is in force, but what it names are tokens that Hallpass is not asked about.
    OutsideGuard,
    /// There was no room for it.
    TooMany,
    /// It cannot be read.
    Invalid,
    /// It has nothing left to refuse.
    Expired,
}

/// A revocation that holds together, without what it names: that is where it is kept. There may be a hundred
/// thousand of them: what few have is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ObjectName,
    /// Its uid: a name comes back, a uid does not.
    pub uid: RevocationUid,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: i64,
    /// The resourceVersion under which it was first seen.
    pub epoch: u64,
    /// What its status says.
    pub reported: Reported,
    /// One more than [`ttl`](Self::ttl), so that it takes four bytes.
    ttl: Option<NonZeroU32>,
    /// [`None`] stands for [`Terms::PLAIN`].
    terms: Option<Box<Terms>>,
}

/// What is written in a revocation beside what it names. Few have any of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// `spec.issuedBefore`, where it is written, in seconds since 1970.
    pub issued_before: Option<i64>,
    /// What it does.
    pub effect: Effect,
    /// What a locked subject is told.
    pub message: Option<Box<str>>,
}

impl Terms {
    /// Nothing is written.
    pub const PLAIN: Self = Self {
        issued_before: None,
        effect: Effect::Revoke,
        message: None,
    };

    fn kept(self) -> Option<Box<Self>> {
        (self != Self::PLAIN).then(|| Box::new(self))
    }
}

/// The uid of a revocation, in few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationUid([u8; 16]);

impl fmt::Display for RevocationUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&uuid::text(self.0))
    }
}

impl Revocation {
    /// What is written in it.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        self.terms.as_deref().unwrap_or(&Terms::PLAIN)
    }

    fn set_terms(&mut self, terms: Terms) {
        self.terms = terms.kept();
    }

    /// How many seconds after it expired it is deleted.
    #[must_use]
    pub fn ttl(&self) -> Option<u32> {
        self.ttl.map(|more| more.get().saturating_sub(1))
    }

    /// When it has nothing left to refuse, in seconds since 1970: every token that it names is past its
    /// time then, with [`MARGIN`] to spare. [`None`] for a lock without an end.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        let last = self.before().max(self.created);
        let last = match self.terms().effect {
            Effect::Revoke => last,
            Effect::Lock { until } => last.max(until?),
        };
        Some(last.saturating_add(RETENTION))
    }

    /// Whether it is past [`Revocation::expires`].
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires().is_some_and(|end| now.as_second() >= end)
    }

    /// Until when nothing is issued: [`None`] where that is over or was never so.
    fn locks(&self, now: Timestamp) -> Option<LockEnd> {
        match self.terms().effect {
            Effect::Lock { until: None } => Some(LockEnd::Never),
            Effect::Lock { until: Some(end) } if now.as_second() < end => Some(LockEnd::At(end)),
            Effect::Lock { .. } | Effect::Revoke => None,
        }
    }

    /// What was issued before this time is refused.
    fn before(&self) -> i64 {
        self.terms().issued_before.unwrap_or(self.created)
    }

    /// Whether what was issued before the revocation itself can be spared, and so what an issuer made that
    /// did not know of it.
    fn spares_later(&self) -> bool {
        self.before() < self.created
    }
}

/// The end of a lock; the later is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LockEnd {
    At(i64),
    Never,
}

/// How many seconds after the last token that it can name was issued a revocation is kept: the longest
/// life of a token, and [`MARGIN`].
const RETENTION: i64 = 3600 + MARGIN;

/// What two clocks may be apart, and the leeway of a verifier.
const MARGIN: i64 = 2 * SKEW;

/// What two clocks may be apart.
const SKEW: i64 = 5;

/// The most revocations that are in force in a cluster: beyond them a new one is refused, and none is
/// forgotten for it.
pub const MOST: usize = 100_000;

/// The most of them that are `TokenRevocation`s: the rest is kept for those who answer for the cluster.
pub const MOST_OWN: usize = 90_000;

/// The most of those that name a single token. Pods make them themselves, by giving back what they have, and are
/// not to take the places of those who lock something, however many namespaces they are in.
pub const MOST_TOKENS: usize = MOST_OWN / 2;

/// The most of them that one namespace has, beside those that name a single token.
pub const MOST_OF_NAMESPACE: usize = 10_000;

/// The most of a namespace that name a single token.
pub const MOST_TOKENS_OF_NAMESPACE: usize = 5_000;

/// The namespace of a target of a namespaced revocation.
type Within<'a> = Option<&'a Namespace>;

#[cfg(test)]
mod tests;
