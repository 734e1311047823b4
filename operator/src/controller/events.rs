//! How many events a controller may leave behind: the API server keeps each for an hour, and the status says
//! the same.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// What is left of the events of a while.
#[derive(Debug)]
pub(super) struct Events {
    since: Instant,
    left: usize,
    /// How many a namespace has had.
    of: BTreeMap<Box<str>, usize>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            left: MOST,
            of: BTreeMap::new(),
        }
    }
}

impl Events {
    /// Takes one for an object of that namespace, if there may be one; the namespace is empty for a kind that
    /// has none.
    ///
    /// # Guarantees
    /// Half of them are for kinds without a namespace, and no namespace has many.
    pub(super) fn take(&mut self, namespace: &str) -> bool {
        if self.since.elapsed() >= WHILE {
            *self = Self::default();
        }
        let had = self.of.get(namespace).copied().unwrap_or_default();
        let shared: usize = self.of.values().sum();
        let fair = namespace.is_empty() || (shared < MOST / 2 && had < SHARE);
        let may = fair && self.left > 0;
        self.left -= usize::from(may);
        if may && !namespace.is_empty() {
            self.of.insert(namespace.into(), had + 1);
        }
        may
    }
}

/// How many there are at most in that time.
const MOST: usize = 500;
/// How many of them one namespace has at most.
const SHARE: usize = 50;

const WHILE: Duration = Duration::from_secs(360);

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(events: &mut Events, namespace: &str, times: usize) -> usize {
        (0..times).filter(|_| events.take(namespace)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn no_namespace_has_many_and_half_are_for_what_has_none() {
        let mut events = Events::default();
        assert_eq!(taken(&mut events, "shop", 1000), 50);
        let others = (0..100).map(|n| taken(&mut events, &format!("n-{n}"), 1000));
        assert_eq!(others.sum::<usize>(), 200);
        assert_eq!(taken(&mut events, "", 1000), 250);
        tokio::time::advance(Duration::from_secs(359)).await;
        assert_eq!(taken(&mut events, "", 10), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(taken(&mut events, "shop", 1000), 50);
        assert_eq!(taken(&mut events, "", 1000), 450);
    }
}
