//! The loop that talks to the operator: one question at a time, and a rest whenever nothing is due.

use std::{convert::Infallible, sync::Arc};

use hallpass_core::name::TokenName;
use tracing::{info, warn};

use super::{Asked, Failure, Hold, Next, cache::Cache};
use crate::{
    surroundings::Clock,
    upstream::{Sighting, Upstream, UpstreamError},
};

/// Keeps what is held in step with the operator.
#[derive(Debug)]
pub(crate) struct Refresher {
    hold: Arc<Hold>,
    upstream: Upstream,
    clock: Clock,
    cache: Arc<Cache>,
    kept: bool,
    answered: bool,
}

impl Refresher {
    pub(crate) const fn new(
        hold: Arc<Hold>,
        upstream: Upstream,
        clock: Clock,
        cache: Arc<Cache>,
    ) -> Self {
        Self {
            hold,
            upstream,
            clock,
            cache,
            kept: true,
            answered: false,
        }
    }

    /// Never ends. All that it remembers beyond one question is in [`Hold`], so that it can be made
    /// anew after a panic.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            match self.hold.next(self.clock.now()) {
                Next::Poll => self.poll().await,
                Next::Fetch(names) => self.fetch(names).await,
                Next::Rest(until) => {
                    self.upstream.rest();
                    tokio::select! {
                        () = self.clock.sleep_until(until) => {}
                        () = self.hold.hurried() => {}
                    }
                }
            }
        }
    }

    async fn poll(&mut self) {
        let answer = self.upstream.assignments(self.hold.etag().as_ref()).await;
        self.sighting();
        let now = self.clock.now();
        match answer {
            Ok(polled) => {
                if !std::mem::replace(&mut self.answered, true) {
                    info!("the operator answers");
                }
                let unchanged = polled.assignments.is_none() && !polled.renewed;
                self.hold.polled(polled, now);
                self.keep(unchanged);
            }
            Err(error) => {
                self.answered = false;
                let failure = Failure::of_request(&error, now);
                warn!(denial.code = %failure.code, error = failure.detail, "assignments not received");
                self.hold.poll_failed(failure, now);
            }
        }
    }

    async fn fetch(&mut self, names: Vec<TokenName>) {
        let asked = self.clock.now();
        let left = self.hold.left(&names, asked);
        let answer = self.upstream.tokens(names.clone(), left).await;
        let latest = self.sighting().map(|seen| seen.latest());
        let now = self.clock.now();
        match answer {
            Ok(entries) => {
                let asked = Asked { at: asked, latest };
                self.hold.fetched(&names, entries, asked, now);
                self.keep(false);
            }
            Err(error) => {
                let failure = Failure::of_request(&error, now);
                let each = match error {
                    UpstreamError::Refused { problem, .. } => problem.tokens,
                    _ => Vec::new(),
                };
                self.hold.fetch_failed(&names, &failure, &each, now);
            }
        }
    }

    /// Brings the cache up to date, unless it is.
    fn keep(&mut self, unchanged: bool) {
        if !(unchanged && self.kept) {
            self.kept = self.cache.save(&self.hold, &self.clock);
        }
    }

    /// What the last answer said of the operator's clock. Time that this machine has missed counts from
    /// here on.
    fn sighting(&mut self) -> Option<Sighting> {
        let sighting = self.upstream.take_sighting()?;
        let missed = self.hold.saw(sighting);
        if !missed.is_zero() {
            self.clock.miss(missed);
        }
        Some(sighting)
    }
}

/// Wipes tokens at the end of their life, also while the other loop waits for an answer.
pub(crate) async fn expire(hold: Arc<Hold>, clock: Clock) -> Infallible {
    let mut changed = hold.subscribe();
    loop {
        let next = hold.expire(clock.now());
        let timer = async {
            match next {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            // The sender lives in `hold`, which is held here.
            _ = changed.changed() => {}
        }
    }
}
