//! How old what the watches have delivered may be.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::telemetry::label::Kind;

/// When each watch was last proven alive. Cheap to clone.
///
/// # Guarantees
/// A proof is a watch request that the API server answered, and counts from the moment that it was
/// *sent*. That a line arrives proves nothing: it may have waited while this process was stopped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Freshness(Arc<Mutex<Stamps>>);

/// What is known of each watch.
type Stamps = Vec<Watch>;

#[derive(Debug)]
struct Watch {
    kind: Kind,
    /// When it was last proven alive, if it ever was.
    proven: Option<Instant>,
    /// Whether the definition of its kind is away, or its objects are still to be written again.
    bereft: bool,
}

/// Takes the proofs of one watch.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    of: Freshness,
    kind: Kind,
}

impl Freshness {
    /// The stamp of a watch of that kind, which counts from now on.
    pub(crate) fn stamp(&self, kind: Kind) -> Stamp {
        let mut stamps = self.stamps();
        if stamps.iter().all(|watch| watch.kind != kind) {
            stamps.push(Watch {
                kind,
                proven: None,
                bereft: false,
            });
        }
        Stamp {
            of: self.clone(),
            kind,
        }
    }

    /// The oldest of the last proofs. [`None`] while a watch has none, and before there is a watch.
    pub(crate) fn proven(&self) -> Option<Instant> {
        let stamps = self.stamps();
        let oldest = stamps.iter().map(|watch| watch.proven).min();
        oldest.flatten()
    }

    /// The latest of all proofs.
    pub(crate) fn last(&self) -> Option<Instant> {
        let stamps = self.stamps();
        stamps.iter().filter_map(|watch| watch.proven).max()
    }

    /// Whether the cluster has every definition, and of each kind what it had: where it has not, what is known
    /// here goes on, and the cluster itself does nothing by it.
    pub(crate) fn is_whole(&self) -> bool {
        self.stamps().iter().all(|watch| !watch.bereft)
    }

    /// How long ago the oldest of the last proofs was.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        let proven = self.proven()?;
        Some(now.saturating_duration_since(proven))
    }

    fn stamps(&self) -> MutexGuard<'_, Stamps> {
        // Each change is one assignment: there is no half-made state behind a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    /// The API server answered a watch request that was sent then.
    pub(crate) fn proven(&self, sent: Instant) {
        let mut stamps = self.of.stamps();
        for watch in stamps.iter_mut().filter(|watch| watch.kind == self.kind) {
            // A request that was overtaken by a later one proves nothing new.
            watch.proven = watch.proven.max(Some(sent));
        }
    }

    /// Whether the definition of its kind is away, or its objects are still to be written again.
    pub(crate) fn bereft(&self, bereft: bool) {
        let mut stamps = self.of.stamps();
        for watch in stamps.iter_mut().filter(|watch| watch.kind == self.kind) {
            watch.bereft = bereft;
        }
    }
}

/// How old the last proof of a watch may be. A watch that ends in time is asked for anew within 5 s; one
/// whose connection died in silence within 9 s.
pub(crate) const LONGEST_LAG: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_watch_decides_and_one_without_a_proof_above_all() {
        let (freshness, start) = (Freshness::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(freshness.age(at(0)), None, "there is no watch");
        let (pods, policies) = (
            freshness.stamp(Kind::Pod),
            freshness.stamp(Kind::TokenPolicy),
        );
        pods.proven(at(1));
        assert_eq!(freshness.age(at(2)), None, "one of two has no proof");
        policies.proven(at(3));
        assert_eq!(freshness.age(at(4)), Some(Duration::from_secs(3)));
        pods.proven(at(5));
        assert_eq!(freshness.age(at(6)), Some(Duration::from_secs(3)));
        policies.proven(at(2));
        assert_eq!(
            freshness.proven(),
            Some(at(3)),
            "a late answer takes nothing back"
        );
    }
}
