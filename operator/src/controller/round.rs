//! When a controller looks: while this replica leads, soon after a change, and now and then anyway.

use std::time::Duration;

use futures::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::lease::tenure::Tenure;

/// Does `work` whenever this replica leads. Never returns.
///
/// # Guarantees
/// The work is dropped, wherever it is, once `leader` says that this replica does not lead. That may be late: what
/// the work sends it sends if [`Tenure::may_write`] right then.
pub(super) async fn while_leading<W: Future<Output = ()>>(
    mut leader: watch::Receiver<Tenure>,
    work: impl Fn() -> W,
) {
    while leader.wait_for(Tenure::leads).await.is_ok() {
        let over = tokio::select! {
            biased;
            over = leader.wait_for(|tenure| !tenure.leads()) => over.map(drop),
            () = work() => Ok(()),
        };
        if over.is_err() {
            break;
        }
    }
    // The elector is gone: this replica never leads again.
    std::future::pending().await
}

/// The times at which everything is looked at.
pub(super) struct Rounds {
    changes: SelectAll<BoxStream<'static, ()>>,
    due: Instant,
}

impl Rounds {
    /// The first one is now, the others follow what tells of changes.
    pub(super) fn new(changes: impl IntoIterator<Item = BoxStream<'static, ()>>) -> Self {
        Self {
            changes: stream::select_all(changes),
            due: Instant::now(),
        }
    }

    /// Waits for the next one. What changes until it begins is looked at in it.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::select! {
                () = sleep_until(self.due) => break,
                // Where nobody is left who tells, nothing changes any more.
                Some(()) = self.changes.next() => {}
            }
            self.due = self.due.min(Instant::now() + DEBOUNCE);
        }
        self.due = Instant::now() + FULL;
    }

    /// Looks again at that time, if not earlier.
    pub(super) fn again(&mut self, at: Option<Instant>) {
        self.due = at.map_or(self.due, |at| at.min(self.due));
    }
}

/// One item for each change that is told, until whoever tells is gone.
pub(super) fn told<T: Send + Sync + 'static>(
    changes: watch::Receiver<T>,
) -> BoxStream<'static, ()> {
    let next = async |mut changes: watch::Receiver<T>| {
        changes.changed().await.ok()?;
        Some(((), changes))
    };
    stream::unfold(changes, next).boxed()
}

/// How long changes are gathered before they are looked at.
pub(super) const DEBOUNCE: Duration = Duration::from_millis(150);

/// How often everything is looked at, whether it changed or not.
pub(super) const FULL: Duration = Duration::from_secs(300);

/// How long to wait for an index that has not been filled yet.
pub(super) const UNSYNCED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(rounds: &mut Rounds) -> Duration {
        let start = Instant::now();
        rounds.next().await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_gathered_and_none_waits_for_long() {
        let (first, second) = (watch::Sender::new(()), watch::Sender::new(0));
        let mut rounds = Rounds::new([told(first.subscribe()), told(second.subscribe())]);
        assert_eq!(waited(&mut rounds).await, Duration::ZERO);
        first.send_replace(());
        second.send_replace(1);
        assert_eq!(waited(&mut rounds).await, DEBOUNCE);
        rounds.again(Some(Instant::now() + Duration::from_secs(2)));
        assert_eq!(waited(&mut rounds).await, Duration::from_secs(2));
        // Neither a change that never ends nor a sender that is gone keeps the round away or busy.
        drop((first, second));
        assert_eq!(waited(&mut rounds).await, FULL);
    }
}
