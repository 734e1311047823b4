//! Outliving a panic: a killed sidecar comes back after the kubelet's back-off, and with no token.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tracing::error;

use crate::telemetry::Counters;

/// The future panicked. What it said stays unsaid: it might quote what it worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs `future` to its end, or to its panic.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // Unwind safe, since the future is not polled again, and what is shared sits behind locks
        // whose holders leave whole values behind.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_payload) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// Runs what `start` makes until it ends by itself; after a panic it is made and run again.
pub(crate) async fn supervised<F: Future>(
    task: &'static str,
    counters: &Counters,
    mut start: impl FnMut() -> F,
) -> F::Output {
    loop {
        // Boxed: moved into place it would be on the stack more than once, and what a stack has grown to is
        // kept in every pod.
        if let Ok(output) = caught(Box::pin(start())).await {
            return output;
        }
        counters.panics.add();
        error!(task, "a task panicked and is started again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Between a panic and the next start: a task that panics at once must not take the whole processor.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panicked_is_started_again_and_counted() {
        let counters = Counters::default();
        let starts = Cell::new(0);
        let output = supervised("test", &counters, || async {
            starts.set(starts.get() + 1);
            tokio::task::yield_now().await;
            assert!(starts.get() > 2, "a planted panic");
            "done"
        })
        .await;
        assert_eq!(
            (output, starts.get(), counters.panics.read()),
            ("done", 3, 2)
        );
    }
}
