//! When a key is made, when it begins to sign and when it goes: the decision alone.
//!
//! Each step follows from the keys that are stored and from the time, never from what was done before:
//! it does not matter who did the step before this one, or whether he lived to see it done.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hallpass_core::token::signing::Algorithm;
use jiff::Timestamp;

/// A key as it is stored, without what it signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyState {
    /// Counts up; the end of its name.
    pub number: u32,
    /// Since when it can be read.
    pub published: Timestamp,
    /// When it begins, or began, to sign.
    pub activated: Option<Timestamp>,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Somebody revoked it: it is to go, and never to sign.
    pub revoked: bool,
}

/// The keys of an issuer that are there and cannot be read: their places and numbers are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// How many.
    pub count: usize,
    /// The highest of their numbers.
    pub highest: u32,
}

/// What an issuer wants of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What they sign with.
    pub algorithm: Algorithm,
    /// How long one of them signs.
    pub rotate_every: Duration,
    /// From that time on, a key that began to sign before it is replaced in the ordinary way.
    pub rotate: Option<Timestamp>,
    /// From that time on, no key that began to sign before it may be left.
    pub rotate_now: Option<Timestamp>,
    /// When the state of the cluster last went back. Of the keys that were there before, even one that
    /// waits may have signed, and leaked, and been removed since.
    pub restored: Option<Timestamp>,
    /// The `kid`s of all keys that are revoked, those of other issuers too.
    pub revoked: Arc<BTreeSet<Box<str>>>,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All is well.
    Nothing {
        /// Until then, if nothing changes.
        look_again_at: Option<Timestamp>,
    },
    /// Make a key.
    Create {
        /// Its number.
        number: u32,
        /// Whether it signs at once.
        activated: bool,
    },
    /// Let a key sign.
    Activate {
        /// Its number.
        number: u32,
    },
    /// Remove a key.
    Remove {
        /// Its number.
        number: u32,
    },
}

/// What a key is for at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It signs.
    Active,
    /// It is published and will sign.
    Next,
    /// It signed, and what it signed may still be in use.
    Retired,
}

/// Where one key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub number: u32,
    /// What it is for.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// A retired key goes then.
    pub until: Option<Timestamp>,
}

/// The next step of an issuer's keys.
///
/// # Guarantees
/// A key begins to sign when every verifier knows it: [`KNOWN_AFTER`] after it was published. It goes
/// when nothing that it signed is valid: [`RETIRED_FOR`] after another one began. What is said of a time
/// that has not come counts for nothing until then, so a clock that goes back delays and never hurries.
/// There are never more than [`MOST`] keys, and an ordinary rotation waits until there is room for the
/// key after the next one.
///
/// Four exceptions, in which waiting is worse: an issuer without a key that signs, `rotate_now`, a key that is
/// revoked, and a restore of the cluster's state, after which none of the keys before it is left.
///
/// # Assumptions
/// Whoever carries out a step does it soon, under the version of the key that was read.
#[must_use]
pub fn next_step(keys: &[KeyState], unread: Unread, plan: &Plan, now: Timestamp) -> Step {
    let view = View::new(keys, unread, plan, now);
    let urgent = view.emergency(plan, now).or_else(|| view.begin());
    urgent
        .or_else(|| view.clear(plan, now))
        .or_else(|| view.fill())
        .unwrap_or_else(|| view.rotate(plan, now))
}

/// Where each key stands, by number.
#[must_use]
pub fn states(keys: &[KeyState], now: Timestamp) -> Vec<Standing> {
    let signed = signed(keys, now);
    let standing = |key: &KeyState| {
        let place = signed.iter().position(|(_, k)| k.number == key.number);
        let (phase, since, until) = match place {
            None => (Phase::Next, key.published, None),
            Some(i) => match signed.get(i + 1) {
                None => (Phase::Active, signed[i].0, None),
                Some((next, _)) => (Phase::Retired, *next, Some(after(*next, RETIRED_FOR))),
            },
        };
        let number = key.number;
        Standing {
            number,
            phase,
            since,
            until,
        }
    };
    let mut states: Vec<_> = keys.iter().map(standing).collect();
    states.sort_by_key(|s| s.number);
    states
}

/// When the next ordinary rotation happens; it may be over already. [`None`] while no key signs, and
/// while keys that cannot be read take the place of the next one.
#[must_use]
pub fn next_rotation(
    keys: &[KeyState],
    unread: Unread,
    plan: &Plan,
    now: Timestamp,
) -> Option<Timestamp> {
    View::new(keys, unread, plan, now).rotates_at(plan)
}

/// The keys at one time.
struct View<'a> {
    /// Those that sign or signed, in the order in which they began: the last one is active.
    signed: Vec<(Timestamp, &'a KeyState)>,
    /// The first of those that will sign by what is stored: the clock of whoever wrote that is ahead, or
    /// this one went back.
    coming: Option<(Timestamp, &'a KeyState)>,
    /// Those of which nothing is said, the best one first.
    waiting: Vec<&'a KeyState>,
    total: usize,
    free_number: u32,
}

impl<'a> View<'a> {
    fn new(keys: &'a [KeyState], unread: Unread, plan: &Plan, now: Timestamp) -> Self {
        let coming = keys.iter().filter_map(|k| Some((k.activated?, k)));
        let coming = coming.filter(|(at, _)| *at > now);
        let mut waiting: Vec<_> = keys.iter().filter(|k| k.activated.is_none()).collect();
        waiting.sort_by_key(|k| (k.algorithm != plan.algorithm, k.published, k.number));
        let highest = keys.iter().map(|k| k.number).max().unwrap_or_default();
        Self {
            signed: signed(keys, now),
            coming: coming.min_by_key(|(at, k)| (*at, k.number)),
            waiting,
            total: keys.len() + unread.count,
            free_number: highest.max(unread.highest).saturating_add(1),
        }
    }

    /// Replaces every key that is revoked, or began to sign before the time of an emergency, or was there
    /// before the state of the cluster went back: first another one signs.
    fn emergency(&self, plan: &Plan, now: Timestamp) -> Option<Step> {
        let coming = self.coming.map(|(_, key)| key);
        let mut unused = self.waiting.iter().copied().chain(coming);
        let restored = plan.restored.filter(|at| *at <= now);
        let spoilt = |key: &KeyState| key.revoked || Some(key.published) < restored;
        if let Some(KeyState { number, .. }) = unused.find(|key| spoilt(key)) {
            return Some(Step::Remove { number: *number });
        }
        let since = plan.rotate_now.filter(|at| *at <= now);
        let condemned = |(began, key): &(Timestamp, &KeyState)| spoilt(key) || Some(*began) < since;
        let (_, oldest) = self.signed.iter().find(|signed| condemned(signed))?;
        let active = self.signed.last()?;
        let next = coming.or_else(|| self.waiting.first().copied());
        Some(match next {
            _ if !condemned(active) => Step::Remove {
                number: oldest.number,
            },
            Some(key) => Step::Activate { number: key.number },
            None if self.total < MOST => self.create(true),
            None => Step::Remove {
                number: oldest.number,
            },
        })
    }

    /// Gives an issuer that has no key that signs one.
    fn begin(&self) -> Option<Step> {
        if !self.signed.is_empty() {
            return None;
        }
        Some(match (self.coming, self.waiting.first()) {
            (Some((at, _)), _) => Step::Nothing {
                look_again_at: Some(at),
            },
            (None, Some(key)) => Step::Activate { number: key.number },
            (None, None) if self.total < MOST => self.create(true),
            (None, None) => Step::Nothing {
                look_again_at: None,
            },
        })
    }

    /// Removes what nobody needs: a retired key whose tokens are over, a second next key, one for
    /// another algorithm.
    fn clear(&self, plan: &Plan, now: Timestamp) -> Option<Step> {
        let over = self.retired().find(|(_, until)| *until <= now);
        let over = over.map(|(key, _)| key);
        let idle = self.waiting.last().copied();
        let idle = idle.filter(|k| self.waiting.len() > 1 || k.algorithm != plan.algorithm);
        let number = over.or(idle)?.number;
        Some(Step::Remove { number })
    }

    fn fill(&self) -> Option<Step> {
        (self.waiting.is_empty() && self.total < MOST).then(|| self.create(false))
    }

    fn rotate(&self, plan: &Plan, now: Timestamp) -> Step {
        let at = self.rotates_at(plan);
        match (at, self.waiting.first()) {
            (Some(at), Some(next)) if at <= now => Step::Activate {
                number: next.number,
            },
            _ => {
                let coming = self.coming.map(|(at, _)| at);
                let gone = self.retired().map(|(_, until)| until);
                let times = [at, coming, plan.rotate_now, plan.restored]
                    .into_iter()
                    .flatten();
                let look_again_at = times.chain(gone).filter(|at| *at > now).min();
                Step::Nothing { look_again_at }
            }
        }
    }

    /// The latest of what an ordinary rotation waits for.
    fn rotates_at(&self, plan: &Plan) -> Option<Timestamp> {
        let (began, active) = *self.signed.last()?;
        let asked = plan.rotate.filter(|at| began < *at);
        let due = match asked {
            _ if active.algorithm != plan.algorithm => began,
            Some(at) => at.min(after(began, plan.rotate_every)),
            None => after(began, plan.rotate_every),
        };
        let known = self
            .waiting
            .first()
            .map(|k| after(k.published, KNOWN_AFTER));
        let coming = self.coming.map(|(at, _)| at);
        let room = match self.total {
            0..MOST => None,
            _ => Some(self.retired().map(|(_, until)| until).min()?),
        };
        [Some(due), known, coming, room].into_iter().flatten().max()
    }

    /// The keys that sign no more, and until when they are needed.
    fn retired(&self) -> impl Iterator<Item = (&'a KeyState, Timestamp)> + '_ {
        let pairs = self.signed.iter().zip(self.signed.iter().skip(1));
        pairs.map(|((_, key), (next, _))| (*key, after(*next, RETIRED_FOR)))
    }

    const fn create(&self, activated: bool) -> Step {
        Step::Create {
            number: self.free_number,
            activated,
        }
    }
}

/// The keys that began to sign by then, in that order.
fn signed(keys: &[KeyState], now: Timestamp) -> Vec<(Timestamp, &KeyState)> {
    let began = |key| KeyState::activated_by(key, now).map(|at| (at, key));
    let mut signed: Vec<_> = keys.iter().filter_map(began).collect();
    signed.sort_by_key(|(at, key)| (*at, key.number));
    signed
}

impl KeyState {
    fn activated_by(&self, now: Timestamp) -> Option<Timestamp> {
        self.activated.filter(|at| *at <= now)
    }
}

/// A stored time may be anything: the end of time is late enough.
fn after(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// The most keys that an issuer ever has.
pub const MOST: usize = 4;

/// How long a replica may lag: its watch, a write that is on its way, and the clocks.
const LAG: Duration = Duration::from_secs(35);

/// How long after it was published every verifier knows a key: the time that a key set is kept, and the
/// lag.
pub const KNOWN_AFTER: Duration = Duration::from_secs(LONGEST_KEPT.as_secs() + LAG.as_secs());

/// How long after the next one began a key is needed: the longest life of a token, and the lag.
pub const RETIRED_FOR: Duration = Duration::from_secs(3600 + LAG.as_secs());

/// How long a verifier keeps a key set. The set says 300 s, but there are verifiers that do not look at
/// that: Envoy keeps one for 600 s and refuses until then what it does not know.
const LONGEST_KEPT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
