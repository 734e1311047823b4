//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Asks again and again until there is an answer, for at most `within`.
///
/// # Errors
/// There was none in time; with the reason of the last try.
pub async fn until<T, F: Future<Output = Result<T>>>(
    within: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(why) if start.elapsed() > within => {
                return Err(why.context(format!("waited {within:?} for: {what}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// A condition that does not hold yet, as an error that says what was seen.
#[must_use]
pub fn not_yet(seen: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("not yet: {seen:?}")
}

/// The time of this machine, which is that of the cluster's node too.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the tests read the clock"
)]
#[must_use]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
