//! How many tokens the API server mints at once for this replica, and who is next.
//!
//! When a thousand pods start together, or an operator comes back, all of them want tokens now. What is asked
//! of the API server beyond what it can do makes everybody wait, and it refuses others than the pods that
//! asked. So a few are minted at a time, the rest stands in a [`Line`]. Tokens of Hallpass's own cost it
//! nothing, and never stand in it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hallpass_core::{denial::Code, name::Namespace};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use self::line::{Line, Place};
use super::refusal::Refusal;
use crate::telemetry::{Metrics, label::TurnedAway};

mod line;

/// The admission of one replica. Cheap to clone.
///
/// # Guarantees
/// At most [`AT_ONCE`] have their turn at the same time, and whoever waits has it in the order of [`Line`].
#[derive(Clone)]
pub(super) struct Admission(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    metrics: Metrics,
    /// Uniform in `0.0..1.0`.
    jitter: fn() -> f64,
}

#[derive(Default)]
struct State {
    working: usize,
    line: Line<oneshot::Sender<Turn>>,
}

/// The right to have one token minted; the next one has it when this is dropped.
pub(super) struct Turn {
    admission: Admission,
    waited: bool,
}

/// A place in the line, which is given up when this is dropped.
struct Waiting<'a> {
    admission: &'a Admission,
    namespace: &'a Namespace,
    place: Place,
}

impl Admission {
    /// Nobody works and nobody waits.
    pub(super) fn new(metrics: Metrics, jitter: fn() -> f64) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            metrics,
            jitter,
        }))
    }

    /// Waits for a turn until then. `expires_in` is for how many seconds who asks still has what it asks for, as it says
    /// itself.
    ///
    /// # Errors
    /// [`Code::Unavailable`] where too many wait already, or the turn does not come in time; with a wait that
    /// spreads those who are turned away together.
    pub(super) async fn turn(
        &self,
        namespace: &Namespace,
        expires_in: u32,
        until: Instant,
    ) -> Result<Turn, Refusal> {
        let (sender, turn) = oneshot::channel();
        let place = {
            let mut state = self.state();
            if state.working < AT_ONCE {
                state.working += 1;
                self.show(&state);
                return Ok(self.a_turn(false));
            }
            let place = state.line.join(namespace, expires_in, sender);
            self.show(&state);
            place
        };
        let Some(place) = place else {
            return Err(self.turned_away(
                TurnedAway::NoRoom,
                "too many tokens are asked for at once, and too many wait already",
            ));
        };
        // Whoever waits no longer has no place either. A turn that comes all the same is the next one's.
        let _waiting = Waiting {
            admission: self,
            namespace,
            place,
        };
        match timeout_at(until, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(self.turned_away(
                TurnedAway::Waited,
                "too many tokens are asked for at once, and its turn did not come in time",
            )),
        }
    }

    fn turned_away(&self, why: TurnedAway, detail: &str) -> Refusal {
        self.0.metrics.turned_away(why);
        let spread = SHORTEST_RETRY + (LONGEST_RETRY - SHORTEST_RETRY).mul_f64((self.0.jitter)());
        Refusal::new(Code::Unavailable, detail).after(spread)
    }

    fn a_turn(&self, waited: bool) -> Turn {
        Turn {
            admission: self.clone(),
            waited,
        }
    }

    fn show(&self, state: &State) {
        self.0.metrics.mints(state.working, state.line.len());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever a panic leaves behind is whole: each change is one insertion or one count.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Whether it had to be waited for: what was decided before may be otherwise now.
    pub(super) const fn waited(&self) -> bool {
        self.waited
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.admission.state();
            let next = state.line.next();
            if next.is_none() {
                state.working -= 1;
            }
            self.admission.show(&state);
            next
        };
        if let Some(next) = next {
            // Who does not take it any more gives it to the next one, by this same way.
            drop(next.send(self.admission.a_turn(true)));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.line.leave(self.namespace, self.place);
        self.admission.show(&state);
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Admission")
            .field("working", &state.working)
            .field("waiting", &state.line.len())
            .finish()
    }
}

/// How many are minted at once. An API server takes 10 to 20 ms for one where it is not busy, so that this is
/// 1,600 to 3,200 a second for one replica; more at once make each take longer and none come sooner, and two
/// replicas together are a quarter of what API Priority and Fairness gives to all service accounts by default
/// (245 at once).
pub(super) const AT_ONCE: usize = 32;

/// Between these, who is turned away asks again.
const SHORTEST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
