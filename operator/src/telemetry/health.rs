//! Health: whether this replica lives, and whether it should be asked.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What must hold before this replica is asked for tokens.
///
/// A condition is a question, not a report: it is asked anew at every probe, so it cannot be stale.
#[derive(Clone, Default)]
pub struct Readiness {
    conditions: Vec<(&'static str, Arc<Ask>)>,
    draining: Arc<AtomicBool>,
}

type Ask = dyn Fn() -> Result<(), String> + Send + Sync;

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub condition: &'static str,
    /// What it waits for, or what to do about it.
    pub reason: String,
}

impl Readiness {
    /// The same with one condition more, which holds or tells why not.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        ask: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.conditions.push((name, Arc::new(ask)));
        self
    }

    /// From now on not ready: the process is about to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The conditions that do not hold now, in the order they were added. Empty: ready.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let mut missing: Vec<_> = self
            .conditions
            .iter()
            .filter_map(|(condition, ask)| ask().err().map(|reason| Missing { condition, reason }))
            .collect();
        if self.draining.load(Ordering::Relaxed) {
            missing.push(Missing {
                condition: "running",
                reason: "this replica is shutting down".into(),
            });
        }
        missing
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.conditions.iter().map(|(name, _)| name))
            .finish()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.condition, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_exactly_what_is_missing_now() {
        let synced = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&synced);
        let readiness = Readiness::default()
            .with("synced", move || {
                asked
                    .load(Ordering::Relaxed)
                    .then_some(())
                    .ok_or_else(|| "no list yet".into())
            })
            .with("keys", || Ok(()));
        assert_eq!(
            readiness.missing(),
            [Missing {
                condition: "synced",
                reason: "no list yet".into()
            }]
        );
        synced.store(true, Ordering::Relaxed);
        assert_eq!(readiness.missing(), []);
    }

    #[test]
    fn is_not_ready_from_the_moment_it_drains() {
        let readiness = Readiness::default().with("keys", || Ok(()));
        let other = readiness.clone();
        other.drain();
        let missing: Vec<_> = readiness.missing().iter().map(|m| m.condition).collect();
        assert_eq!(missing, ["running"]);
    }
}
