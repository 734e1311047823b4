//! One token's life: `Pending → Fresh → Stale → Expired`, and when to ask for the next one. Pure.

use std::{sync::Arc, time::Duration};

use hallpass_core::{
    denial::Code,
    lifetime::{refresh_after, retry_after},
    wire::{Assignment, TokenState},
};

use super::{HeldToken, failure::Failure};
use crate::surroundings::{Boottime, Moment};

/// A token's place: what is wanted, what is there, and when the next one is due.
#[derive(Debug)]
pub(crate) struct Slot {
    pub assignment: Assignment,
    standing: Standing,
    /// When the operator is asked next.
    due: Boottime,
    /// Before this it may be asked along with others.
    early: Boottime,
    /// Before this it is not asked, whoever waits.
    not_before: Boottime,
    failures: u32,
    first: bool,
}

/// How a token stands.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    Pending {
        last: Option<Arc<Failure>>,
    },
    Fresh {
        token: Arc<HeldToken>,
    },
    Stale {
        token: Arc<HeldToken>,
        last: Arc<Failure>,
    },
    Expired {
        last: Option<Arc<Failure>>,
    },
}

impl Standing {
    pub(crate) const fn state(&self) -> TokenState {
        match self {
            Self::Pending { .. } => TokenState::Pending,
            Self::Fresh { .. } => TokenState::Fresh,
            Self::Stale { .. } => TokenState::Stale,
            Self::Expired { .. } => TokenState::Expired,
        }
    }

    pub(crate) const fn token(&self) -> Option<&Arc<HeldToken>> {
        match self {
            Self::Fresh { token } | Self::Stale { token, .. } => Some(token),
            Self::Pending { .. } | Self::Expired { .. } => None,
        }
    }

    pub(crate) const fn last(&self) -> Option<&Arc<Failure>> {
        match self {
            Self::Stale { last, .. } => Some(last),
            Self::Pending { last } | Self::Expired { last } => last.as_ref(),
            Self::Fresh { .. } => None,
        }
    }
}

impl Slot {
    /// An empty slot, due at once.
    pub(crate) const fn new(assignment: Assignment, now: Moment) -> Self {
        Self {
            assignment,
            standing: Standing::Pending { last: None },
            due: now.boot,
            early: now.boot,
            not_before: now.boot,
            failures: 0,
            first: true,
        }
    }

    /// How the token stands at `now`.
    ///
    /// # Guarantees
    /// A token past its time is never among the answers, whether or not a timer has seen it yet.
    pub(crate) fn at(&self, now: Moment) -> Standing {
        match self.standing.token() {
            Some(token) if token.remaining(now).is_zero() => Standing::Expired {
                last: self.standing.last().cloned(),
            },
            Some(_) | None => self.standing.clone(),
        }
    }

    /// The token in hand, whether or not it is past its time.
    pub(crate) const fn token(&self) -> Option<&Arc<HeldToken>> {
        self.standing.token()
    }

    /// Wipes a token past its time; tells whether there was one.
    pub(crate) fn expire(&mut self, now: Moment) -> bool {
        let standing = self.at(now);
        let expired = self.standing.token().is_some() && standing.token().is_none();
        if expired {
            self.due = self.due.min(now.boot.max(self.not_before));
        }
        self.standing = standing;
        expired
    }

    pub(crate) const fn due(&self) -> Boottime {
        self.due
    }

    /// Whether it may go along with a request that others have made necessary.
    pub(crate) fn joins(&self, now: Moment) -> bool {
        let soon = now.boot.until(self.due) <= TOGETHER;
        soon && self.early <= now.boot
    }

    /// Somebody waits for it: it is due, unless it was asked for just now.
    pub(crate) fn hurry(&mut self, now: Moment) {
        if self.at(now).token().is_none() {
            self.due = self.due.min(now.boot.max(self.not_before));
        }
    }

    /// Wants another token from now on; the one in hand is kept where it still fits.
    pub(crate) fn reassign(&mut self, assignment: Assignment, keep: bool, now: Moment) {
        self.assignment = assignment;
        self.renew(now);
        if !keep {
            self.standing = Standing::Pending { last: None };
        }
    }

    fn renew(&mut self, now: Moment) {
        self.due = now.boot;
        self.early = now.boot;
        self.not_before = now.boot;
        self.failures = 0;
    }

    /// Takes a new token in.
    pub(crate) fn receive(&mut self, token: HeldToken, now: Moment, jitter: f64) {
        let age = token.age(now);
        let point = |jitter| {
            let after = refresh_after(token.life(), self.first, jitter);
            now.boot + after.saturating_sub(age)
        };
        self.due = point(jitter);
        self.early = point(0.0);
        self.not_before = now.boot;
        self.failures = 0;
        self.first = false;
        self.standing = Standing::Fresh {
            token: Arc::new(token),
        };
    }

    /// Notes that no new token could be had, and when to try again.
    pub(crate) fn fail(&mut self, failure: Arc<Failure>, now: Moment, jitter: f64) {
        self.expire(now);
        self.failures += 1;
        let window = self.standing.token().map(|token| {
            let planned = refresh_after(token.life(), self.first, jitter);
            token.life().saturating_sub(planned)
        });
        let pause = failure.pause();
        let wait = retry_after(self.failures, window, jitter).max(pause);
        self.due = now.boot + wait;
        self.early = self.due;
        self.not_before = now.boot + pause.max(AT_MOST_EACH);
        // Too often says nothing about the token: a reason that does is kept.
        let last = match self.standing.last() {
            Some(known) if failure.code == Code::TooOften.as_str() => Arc::clone(known),
            Some(_) | None => failure,
        };
        self.standing = match self.standing.token() {
            Some(token) => Standing::Stale {
                token: Arc::clone(token),
                last,
            },
            None if matches!(self.standing, Standing::Expired { .. }) => {
                Standing::Expired { last: Some(last) }
            }
            None => Standing::Pending { last: Some(last) },
        };
    }
}

/// Tokens that are due within this time are asked for together.
const TOGETHER: Duration = Duration::from_secs(30);

/// However many wait, one slot asks no more often than this.
const AT_MOST_EACH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use hallpass_core::wire::Problem;

    use super::*;
    use crate::hold::{
        Asked,
        fixture::{after, assignment, issued, start},
    };

    fn fresh(now: Moment) -> Slot {
        let mut slot = Slot::new(assignment("vault", 600), now);
        slot.receive(
            HeldToken::new(issued("vault", "planted", 600), Asked::at(now)).unwrap(),
            now,
            0.5,
        );
        slot
    }

    fn failure(code: Code, now: Moment) -> Arc<Failure> {
        Arc::new(Failure::of_problem(&Problem::new(code, "because"), now))
    }

    #[test]
    fn a_token_is_valid_up_to_its_last_second_whatever_happens_to_it() {
        let now = start();
        let mut slot = fresh(now);
        assert!(matches!(slot.at(after(now, 599)), Standing::Fresh { .. }));
        assert!(matches!(
            slot.at(after(now, 600)),
            Standing::Expired { last: None }
        ));
        slot.fail(failure(Code::NotSynced, now), after(now, 400), 0.5);
        assert!(matches!(slot.at(after(now, 599)), Standing::Stale { .. }));
        assert!(matches!(
            slot.at(after(now, 600)),
            Standing::Expired { last: Some(_) }
        ));
        assert!(slot.expire(after(now, 600)) && !slot.expire(after(now, 600)));
    }

    #[test]
    fn at_least_five_tries_fit_between_the_plan_and_the_expiry() {
        let now = start();
        let mut slot = fresh(now);
        let mut at = after(now, 480);
        let mut tries = 0;
        while at.until(after(now, 600)) > Duration::ZERO {
            slot.fail(failure(Code::NotSynced, at), at, 1.0);
            let wait = at.boot.until(slot.due());
            at = Moment {
                wall: at.wall + wait,
                boot: slot.due(),
            };
            tries += 1;
        }
        assert!(tries >= 5, "{tries}");
    }

    #[test]
    fn nothing_that_holds_a_token_prints_it() {
        let now = start();
        let slot = fresh(now);
        let printed = format!("{slot:?} {:?}", slot.at(now));
        assert!(
            printed.contains("[secret]") && !printed.contains("planted"),
            "{printed}"
        );
    }
}
