//! How often something may be done: at once a few times, then at a steady pace.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A bucket of tokens, kept as the moment at which it would be full again.
#[derive(Debug)]
pub(super) struct Bucket {
    full: Mutex<Option<Instant>>,
    burst: u32,
    every: Duration,
}

impl Bucket {
    /// `burst` times at once, then once per `every`.
    pub(super) const fn new(burst: u32, every: Duration) -> Self {
        Self {
            full: Mutex::new(None),
            burst,
            every,
        }
    }

    /// Whether it may be done once more now. If so, it counts as done.
    pub(super) fn take(&self) -> bool {
        let now = Instant::now();
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let then = full.unwrap_or(now).max(now) + self.every;
        let fits = then.duration_since(now) <= self.every * self.burst;
        if fits {
            *full = Some(then);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn taken(bucket: &Bucket) -> usize {
        (0..100).filter(|_| bucket.take()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn gives_a_burst_and_then_keeps_the_pace() {
        let bucket = Bucket::new(10, Duration::from_millis(200));
        assert_eq!(taken(&bucket), 10);
        advance(Duration::from_millis(199)).await;
        assert_eq!(taken(&bucket), 0);
        advance(Duration::from_millis(1)).await;
        assert_eq!(taken(&bucket), 1);
        advance(Duration::from_secs(1)).await;
        assert_eq!(taken(&bucket), 5);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(taken(&bucket), 10, "idleness saves up no more than a burst");
    }
}
