//! What one container may know of what is held.

use std::sync::Arc;

use hallpass_core::{
    denial::Code,
    name::{Audience, ContainerName, TokenName},
    wire::{Assignment, TokenState},
};
use jiff::Timestamp;

use super::{Failure, HeldToken, Hold, Poll, Slot, Standing, State};
use crate::{assignment::is_seen_by, surroundings::Moment, upstream::Skew};

/// The outcome of a read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Here it is, valid at the moment of the read.
    Valid {
        token: Arc<HeldToken>,
        state: TokenState,
    },
    /// It is on its way.
    Pending { last: Option<Arc<Failure>> },
    /// It is past its time.
    Expired { last: Option<Arc<Failure>> },
    /// The operator has not said yet which tokens there are.
    Unreached { last: Option<Arc<Failure>> },
    /// There is none of that name.
    Unknown {
        names: Vec<TokenName>,
        notice: Option<String>,
    },
}

/// A token without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub name: TokenName,
    pub audience: Option<Audience>,
    pub state: TokenState,
    pub expires_at: Option<Timestamp>,
    pub last: Option<Arc<Failure>>,
}

/// What is known of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contact {
    /// When it last said which tokens to hold.
    pub answered: Option<Moment>,
    /// How far this machine's wall clock is from its.
    pub skew: Option<Skew>,
}

/// Whether a container may start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Every required token is valid.
    Ready,
    /// The operator has not said yet which tokens there are.
    Unreached { last: Option<Arc<Failure>> },
    /// These are missing.
    Missing(Vec<Listed>),
}

impl Hold {
    /// Reads a token for a container.
    pub(crate) fn read(&self, container: &ContainerName, name: &str, now: Moment) -> Reading {
        let mut state = self.lock();
        self.look(&mut state, now);
        let seen = |slot: &&Slot| is_seen_by(&slot.assignment, container);
        let Some(slot) = state.slots.get(name).filter(seen) else {
            return state.absent(container);
        };
        let standing = slot.at(now);
        let state = state.poll.word_for(&standing);
        match standing {
            Standing::Fresh { token } | Standing::Stale { token, .. } => {
                Reading::Valid { token, state }
            }
            Standing::Pending { last } => Reading::Pending { last },
            Standing::Expired { last } => Reading::Expired { last },
        }
    }

    /// Everything that a container sees, by name.
    pub(crate) fn list(&self, container: &ContainerName, now: Moment) -> Vec<Listed> {
        self.lock().list(container, now, |_| true)
    }

    /// Whether a container may start.
    pub(crate) fn readiness(&self, container: &ContainerName, now: Moment) -> Readiness {
        let state = self.lock();
        if state.poll.answered.is_none() {
            let last = state.poll.last.clone();
            return Readiness::Unreached { last };
        }
        let mut missing = state.list(container, now, |assignment| assignment.required);
        missing.retain(|token| matches!(token.state, TokenState::Pending | TokenState::Expired));
        if missing.is_empty() {
            Readiness::Ready
        } else {
            Readiness::Missing(missing)
        }
    }

    /// Somebody waits for what is not there: try now, unless that was done just before.
    pub(crate) fn hurry(&self, now: Moment) {
        let mut state = self.lock();
        let poll = &mut state.poll;
        if poll.answered.is_none() {
            poll.due = poll.due.min(now.boot.max(poll.not_before));
        }
        for slot in state.slots.values_mut() {
            slot.hurry(now);
        }
        self.hurried.notify_one();
    }

    /// What is known of the operator.
    pub(crate) fn contact(&self) -> Contact {
        let state = self.lock();
        Contact {
            answered: state.poll.answered,
            skew: state.clocks.skew(),
        }
    }
}

impl State {
    fn absent(&self, container: &ContainerName) -> Reading {
        if self.poll.answered.is_none() {
            let last = self.poll.last.clone();
            return Reading::Unreached { last };
        }
        let seen = self.slots.values().map(|slot| &slot.assignment);
        let names = seen.filter(|assignment| is_seen_by(assignment, container));
        Reading::Unknown {
            names: names.map(|assignment| assignment.name.clone()).collect(),
            notice: self
                .poll
                .notice
                .as_ref()
                .map(|notice| notice.detail.clone()),
        }
    }

    fn list(
        &self,
        container: &ContainerName,
        now: Moment,
        wanted: impl Fn(&Assignment) -> bool,
    ) -> Vec<Listed> {
        let slots = self.slots.iter().filter(|(_, slot)| {
            is_seen_by(&slot.assignment, container) && wanted(&slot.assignment)
        });
        let listed = slots.map(|(name, slot)| {
            let standing = slot.at(now);
            let last = standing.last().or_else(|| self.poll.refused());
            Listed {
                name: name.clone(),
                audience: slot.assignment.audience.clone(),
                state: self.poll.word_for(&standing),
                expires_at: standing.token().map(|token| token.expires_at),
                last: last.cloned(),
            }
        });
        listed.collect()
    }
}

impl Poll {
    /// The operator knows this pod and says no: no newer token is to be had.
    fn refused(&self) -> Option<&Arc<Failure>> {
        self.last.as_ref().filter(|failure| failure.is_refusal())
    }

    /// The public word: a fresh token is stale where no newer one is to be had.
    fn word_for(&self, standing: &Standing) -> TokenState {
        match standing.state() {
            TokenState::Fresh if self.refused().is_some() => TokenState::Stale,
            state => state,
        }
    }
}

impl Listed {
    /// Why it is not there, in a code and a sentence. Its age is not in it: what the startup probe prints
    /// becomes an event, and the kubelet counts up only one that says the same again.
    pub(crate) fn reason(&self) -> (std::borrow::Cow<'static, str>, String) {
        let unexplained = match self.state {
            TokenState::Expired => Code::Expired,
            TokenState::Pending | TokenState::Fresh | TokenState::Stale => Code::Pending,
        };
        match &self.last {
            Some(last) => (last.code.clone(), last.detail.clone()),
            None => (unexplained.as_str().into(), unexplained.title().to_owned()),
        }
    }
}
