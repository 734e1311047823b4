//! What of the hold outlives a restart, and how it comes back.

use std::sync::Arc;

use http::HeaderValue;
use tracing::info;

use super::{
    Hold, Slot,
    cache::{Held, Kept},
};
use crate::{assignment::is_seen_by, surroundings::Moment};

impl Hold {
    /// What is worth keeping.
    pub(crate) fn held(&self) -> Held {
        let state = self.lock();
        let slots = state.slots.iter();
        let tokens = slots.clone().filter_map(|(name, slot)| {
            let token = slot.token()?;
            Some((name.clone(), Arc::clone(token)))
        });
        Held {
            etag: state.poll.etag.clone(),
            notice: state.poll.notice.clone(),
            tokens: tokens.collect(),
            assignments: slots.map(|(_, slot)| slot.assignment.clone()).collect(),
            answered: state.poll.answered,
            skew: state.clocks.skew(),
        }
    }

    /// Takes in what a predecessor kept. The operator is asked at once all the same.
    pub(crate) fn restore(&self, kept: Kept, now: Moment) {
        let mut state = self.lock();
        let here: Vec<_> = state.places.iter().map(|p| p.container.clone()).collect();
        for assignment in kept.assignments {
            if here.iter().any(|c| is_seen_by(&assignment, c)) {
                let name = assignment.name.clone();
                state.slots.insert(name, Slot::new(assignment, now));
            }
        }
        let mut tokens = 0;
        for (name, token) in kept.tokens {
            let Some(slot) = state.slots.get_mut(&name) else {
                continue;
            };
            let wanted = slot.assignment.audience.as_ref();
            if wanted.is_none_or(|wanted| *wanted == token.audience) {
                slot.receive(token, now, self.jitter.draw());
                tokens += 1;
            }
        }
        state.poll.etag = kept.etag;
        state.poll.notice = kept.notice;
        state.poll.answered = Some(kept.answered);
        info!(tokens, "tokens taken over from the cache");
        self.settle(&mut state, now);
    }

    /// The version of the assignments, for the next question.
    pub(crate) fn etag(&self) -> Option<HeaderValue> {
        self.lock().poll.etag.clone()
    }
}
