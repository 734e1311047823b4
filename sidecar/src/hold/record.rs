//! What the operator's answers change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hallpass_core::{
    lifetime::retry_after,
    name::TokenName,
    wire::{Assignment, Assignments, IssuedToken, RefusedEntry, TokenEntry},
};
use tracing::{info, warn};

use super::{Asked, Failure, HeldToken, Hold, Slot, State, clocks::Learned};
use crate::{
    assignment::{Change, changes, is_seen_by},
    surroundings::Moment,
    upstream::{Polled, Sighting},
};

impl Hold {
    /// Takes in what the operator's clock said; tells the time that this machine's has missed.
    pub(crate) fn saw(&self, sighting: Sighting) -> Duration {
        let Learned { news, missed } = self.lock().clocks.learn(sighting);
        if let Some(skew) = news {
            let (ahead, within) = (skew.ahead.as_secs_f64(), skew.within.as_secs_f64());
            warn!(
                clock.ahead_seconds = ahead,
                clock.within_seconds = within,
                "this machine's wall clock and the operator's differ"
            );
        }
        if !missed.is_zero() {
            let seconds = missed.as_secs();
            warn!(
                clock.missed_seconds = seconds,
                "this machine was stopped: tokens are older than its clock says"
            );
        }
        missed
    }

    /// Takes in what is to be held; [`None`] where that has not changed.
    pub(crate) fn polled(&self, answer: Polled, now: Moment) {
        let Polled {
            assignments,
            etag,
            max_age,
            renewed: _,
        } = answer;
        self.counters.polls.succeeded();
        let spread = 0.9 + 0.2 * self.jitter.draw();
        let mut state = self.lock();
        if let Some(Assignments { tokens, notice }) = assignments {
            state.poll.notice = notice;
            let here: Vec<_> = state.places.iter().map(|p| p.container.clone()).collect();
            let unseen = |a: &&Assignment| !here.iter().any(|c| is_seen_by(a, c));
            for assignment in tokens.iter().filter(unseen) {
                warn!(
                    token.name = assignment.name.as_str(),
                    "token not held: its policy names containers that this pod does not have"
                );
            }
            let slots = state.slots.iter();
            let held = slots.map(|(name, slot)| (name.clone(), &slot.assignment));
            for change in changes(&held.collect(), tokens, &here) {
                state.apply(change, now);
            }
        }
        let due = now.boot + max_age.mul_f64(spread);
        let poll = &mut state.poll;
        (poll.due, poll.not_before) = (due, now.boot);
        (poll.failures, poll.last) = (0, None);
        poll.answered = Some(now);
        poll.etag = etag.or_else(|| poll.etag.take());
        self.settle(&mut state, now);
    }

    /// Notes that the assignments could not be had. What is held stays.
    pub(crate) fn poll_failed(&self, failure: Failure, now: Moment) {
        self.counters.polls.failed(&failure.code);
        let jitter = self.jitter.draw();
        let mut state = self.lock();
        let poll = &mut state.poll;
        poll.failures += 1;
        let wait = if failure.is_local() {
            LOCAL
        } else {
            let window = poll.answered.map(|_| RELAXED);
            retry_after(poll.failures, window, jitter)
        };
        poll.due = now.boot + wait.max(failure.pause());
        poll.not_before = now.boot + failure.pause().max(LOCAL);
        // A refusal stands until the operator says otherwise: that it is away now takes nothing back.
        let refused = poll.last.as_ref().is_some_and(|last| last.is_refusal());
        if failure.is_refusal() || !refused {
            poll.last = Some(Arc::new(failure));
        }
        self.settle(&mut state, now);
    }

    /// Takes in the answer to a request for `names` that was sent at `asked`.
    pub(crate) fn fetched(
        &self,
        names: &[TokenName],
        entries: Vec<TokenEntry>,
        asked: Asked,
        now: Moment,
    ) {
        let mut entries: BTreeMap<_, _> = entries
            .into_iter()
            .map(|entry| match entry {
                TokenEntry::Issued(issued) => (issued.name.clone(), Ok(issued)),
                TokenEntry::Refused(refused) => (refused.name, Err(refused.problem)),
            })
            .collect();
        let mut state = self.lock();
        for name in names {
            let Some(slot) = state.slots.get_mut(name) else {
                continue;
            };
            let token = match entries.remove(name) {
                Some(Ok(issued)) => usable(issued, slot, asked, now),
                Some(Err(problem)) => Err(Failure::of_problem(&problem, now)),
                None => Err(Failure::of_answer(
                    "the operator's answer leaves this token out",
                    now,
                )),
            };
            if let Err(failure) = &token {
                log(name, failure);
            }
            self.keep(slot, token, now);
        }
        self.settle(&mut state, now);
    }

    /// Notes that a request for `names` failed as a whole; `each` says more about some of them.
    pub(crate) fn fetch_failed(
        &self,
        names: &[TokenName],
        failure: &Failure,
        each: &[RefusedEntry],
        now: Moment,
    ) {
        if each.is_empty() {
            let count = names.len();
            warn!(tokens = count, denial.code = %failure.code, error = failure.detail, "tokens not received");
        }
        let mut state = self.lock();
        for name in names {
            if let Some(slot) = state.slots.get_mut(name) {
                let own = each.iter().find(|refused| refused.name == *name);
                let failure = match own {
                    Some(refused) => {
                        let own = Failure::of_problem(&refused.problem, now).paused_by(failure);
                        log(name, &own);
                        own
                    }
                    None => failure.clone(),
                };
                self.keep(slot, Err(failure), now);
            }
        }
        self.settle(&mut state, now);
    }

    fn keep(&self, slot: &mut Slot, token: Result<HeldToken, Failure>, now: Moment) {
        let jitter = self.jitter.draw();
        match token {
            Ok(token) => {
                self.counters.refreshes.succeeded();
                let name = slot.assignment.name.as_str();
                info!(token.name = name, token.audience = %token.audience, token.expires_at = %token.expires_at, "token received");
                slot.receive(token, now, jitter);
            }
            Err(failure) => {
                self.counters.refreshes.failed(&failure.code);
                slot.fail(Arc::new(failure), now, jitter);
            }
        }
    }
}

fn log(name: &TokenName, failure: &Failure) {
    warn!(token.name = name.as_str(), denial.code = %failure.code, error = failure.detail, "token refused");
}

impl State {
    fn apply(&mut self, change: Change, now: Moment) {
        match change {
            Change::Add(new) => {
                info!(token.name = new.name.as_str(), "token assigned");
                self.slots.insert(new.name.clone(), Slot::new(new, now));
            }
            Change::Remove(name) => {
                info!(token.name = name.as_str(), "token no longer assigned");
                self.slots.remove(&name);
            }
            Change::Adjust(new) => {
                if let Some(slot) = self.slots.get_mut(&new.name) {
                    slot.assignment = new;
                }
            }
            Change::Renew(new) => self.reassign(new, true, now),
            Change::Replace(new) => self.reassign(new, false, now),
        }
    }

    fn reassign(&mut self, new: Assignment, keep: bool, now: Moment) {
        info!(
            token.name = new.name.as_str(),
            token.kept = keep,
            "assignment changed"
        );
        if let Some(slot) = self.slots.get_mut(&new.name) {
            slot.reassign(new, keep, now);
        }
    }
}

/// The token, if it is the one that the slot is for.
fn usable(
    issued: IssuedToken,
    slot: &Slot,
    asked: Asked,
    now: Moment,
) -> Result<HeldToken, Failure> {
    let wanted = slot.assignment.audience.as_ref();
    if wanted.is_some_and(|wanted| *wanted != issued.audience) {
        return Err(Failure::of_answer(
            "the operator answered with a token for another audience",
            now,
        ));
    }
    HeldToken::new(issued, asked).ok_or_else(|| {
        Failure::of_answer(
            "the operator answered with a token that is past its time",
            now,
        )
    })
}

/// Between two looks at this pod's own files, and between two tries that somebody waits for.
const LOCAL: Duration = Duration::from_secs(1);
/// The operator has answered before: tries go up to 30 s apart.
const RELAXED: Duration = Duration::from_secs(180);
