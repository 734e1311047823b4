//! Whether this replica may act on what it knows.
//!
//! It may while what it knows is current. When the API server does not answer it, something that it does
//! not know of may be in force: it may go on only if nobody else knows more, that is, if the API server
//! answers no replica. While it is down nothing changes that any of them acts upon; and where it is all of
//! them that are cut off from it, what was issued meanwhile does not outlive a revocation that they missed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use hallpass_core::lifetime::Lifetime;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info};

use super::{
    Replicas,
    known::Peer,
    peer::{Door, PeerError},
};
use crate::{
    index::freshness::{Freshness, LONGEST_LAG},
    telemetry::{Metrics, log::Chain},
};

/// Where this replica stands. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    freshness: Freshness,
    replicas: Replicas,
    /// When each other replica was last asked of those times when it said that it is behind too.
    behind: Mutex<BTreeMap<Box<str>, Instant>>,
}

/// This replica is behind, and may not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Behind {
    /// There is a watch that the API server never answered.
    #[error("the state of the cluster has not been read yet")]
    Unread,
    /// Another replica may know more.
    #[error("what is known of the cluster is {} s old, and another replica may know more", .0.as_secs())]
    Alone(Duration),
    /// Nobody knows more, but that has been so for too long.
    #[error(
        "what is known of the cluster is {} s old: the API server answers no replica, for too long to go on",
        .0.as_secs()
    )]
    TooLong(Duration),
}

impl Standing {
    /// The replicas that there are.
    #[must_use]
    pub fn replicas(&self) -> &Replicas {
        &self.0.replicas
    }

    /// The proofs that the watches of this replica live.
    pub(crate) fn freshness(&self) -> &Freshness {
        &self.0.freshness
    }

    /// Whether what this replica knows may be older than [`LONGEST_LAG`].
    #[must_use]
    pub fn is_behind(&self, now: Instant) -> bool {
        let age = self.0.freshness.age(now);
        age.is_none_or(|age| age > LONGEST_LAG)
    }

    /// How old what this replica decides on is, where that is more than counts as current.
    #[must_use]
    pub fn outdated(&self, now: Instant) -> Option<Duration> {
        let age = self.0.freshness.age(now);
        age.filter(|age| *age > LONGEST_LAG)
    }

    /// Whether this replica may tell what holds by what it knows: whether a token is active, and who may give
    /// one back. It looks at stamps alone.
    ///
    /// # Errors
    /// [`Behind`], unless what is known is current, or no older than [`LONGEST_OUTAGE`] and every other
    /// replica that lived then has said within [`ANSWER_COUNTS`] that it is behind as well.
    pub fn may_tell(&self, now: Instant) -> Result<(), Behind> {
        self.may_go_on(LONGEST_OUTAGE, now)
    }

    /// Whether this replica may issue by what it knows. While the API server is down, nobody renews the pods'
    /// identities either: a kubelet does when a fifth of their two hours is left. So that goes on for 22 minutes at
    /// the least.
    ///
    /// # Errors
    /// As of [`may_tell`](Self::may_tell), but where no watch at all is answered what is known may be as old as
    /// [`LONGEST_ISSUING`]. Where one is, the API server is there, and somebody may revoke.
    pub fn may_issue(&self, now: Instant) -> Result<(), Behind> {
        let last = self.0.freshness.last();
        let silent = |last| now.saturating_duration_since(last) > LONGEST_LAG;
        let longest = if last.is_some_and(silent) {
            LONGEST_ISSUING
        } else {
            LONGEST_OUTAGE
        };
        self.may_go_on(longest, now)
    }

    fn may_go_on(&self, longest: Duration, now: Instant) -> Result<(), Behind> {
        let proven = self.0.freshness.proven().ok_or(Behind::Unread)?;
        let age = now.saturating_duration_since(proven);
        if age <= LONGEST_LAG {
            return Ok(());
        }
        if !self.is_known_down(proven, now) {
            return Err(Behind::Alone(age));
        }
        if age > longest {
            return Err(Behind::TooLong(age));
        }
        Ok(())
    }

    /// Whether all who lived at `proven` are known to be behind.
    fn is_known_down(&self, proven: Instant, now: Instant) -> bool {
        let Some(others) = self.0.replicas.others(proven) else {
            return false;
        };
        let behind = self.answers();
        others.iter().all(|peer| {
            let asked = behind.get(&peer.pod);
            asked.is_some_and(|asked| now.saturating_duration_since(*asked) <= ANSWER_COUNTS)
        })
    }

    /// Asks the others every second while this replica is behind, and tells of it. Never returns. How old the signing
    /// `keys` may be is shown too, though nothing is decided by that.
    pub(crate) async fn run(self, door: Door, keys: Freshness, metrics: Metrics) {
        let mut outage = Outage::default();
        loop {
            sleep(PACE).await;
            // The first answers are there when they are needed.
            if self.is_behind(Instant::now() + PACE) {
                self.ask(&door).await;
            }
            let now = Instant::now();
            let ages = [self.0.freshness.age(now), keys.age(now)];
            metrics.state_age(ages.into_iter().flatten().max());
            outage.tell(self.is_behind(now), self.may_tell(now), self.may_issue(now));
        }
    }

    async fn ask(&self, door: &Door) {
        let proven = self.0.freshness.proven();
        let others = proven.and_then(|proven| self.0.replicas.others(proven));
        let asked = others.into_iter().flatten().map(|peer| async move {
            let at = Instant::now();
            let answer = ask_one(door, &peer).await;
            match &answer {
                Ok(behind) => debug!(replica = &*peer.pod, behind, "another replica answered"),
                Err(error) => {
                    debug!(replica = &*peer.pod, error = %Chain(error), "another replica did not answer");
                }
            }
            self.note(peer.pod, at, answer.unwrap_or(false));
        });
        join_all(asked).await;
    }

    /// A replica that was asked at `asked` said whether it is behind.
    pub(super) fn note(&self, pod: Box<str>, asked: Instant, behind: bool) {
        let mut answers = self.answers();
        if behind {
            answers.insert(pod, asked);
        } else {
            answers.remove(&pod);
        }
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Instant>> {
        // Each change is one insertion or removal: there is no half-made state behind a panic.
        self.0.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask_one(door: &Door, peer: &Peer) -> Result<bool, PeerError> {
    let address = peer.address.ok_or(PeerError::NoAddress)?;
    door.is_behind(address).await
}

/// What was told of an outage: each thing once.
#[derive(Debug, Default)]
struct Outage {
    going_on: bool,
    silent: bool,
    refusing: bool,
}

impl Outage {
    fn tell(&mut self, behind: bool, may_tell: Result<(), Behind>, may_issue: Result<(), Behind>) {
        match (may_tell, may_issue) {
            // Before the first list there is nothing to lose.
            (_, Err(Behind::Unread)) => {}
            (Ok(()), Ok(())) if !behind => {
                if self.going_on || self.silent || self.refusing {
                    info!("the API server answers again: what is known is current");
                }
                *self = Self::default();
            }
            (Ok(()), Ok(())) => {
                if !std::mem::replace(&mut self.going_on, true) {
                    error!(
                        outage.longest_seconds = LONGEST_OUTAGE.as_secs(),
                        "the API server answers no replica: going on with what is known"
                    );
                }
            }
            (Err(behind), Ok(())) => {
                if !std::mem::replace(&mut self.silent, true) {
                    error!(error = %behind, "no token is called active any more: issuing goes on while pods have identities");
                }
            }
            (_, Err(behind)) => {
                if !std::mem::replace(&mut self.refusing, true) {
                    error!(error = %behind, "this replica is behind: it decides nothing");
                }
            }
        }
    }
}

/// How often others are asked.
const PACE: Duration = Duration::from_secs(1);

/// For how long after it was asked for an answer counts.
const ANSWER_COUNTS: Duration = Duration::from_secs(5);

/// How long after the last proof it tells at most what holds, when no replica is answered.
const LONGEST_OUTAGE: Duration = Duration::from_secs(15 * 60);

/// How long after the last proof it issues at most. What is issued then ends as if it had been issued when the last
/// proof was given: after the life of the longest token nothing is left of any.
const LONGEST_ISSUING: Duration = Duration::from_secs(Lifetime::MAX.seconds() as u64);

#[cfg(test)]
mod tests;
