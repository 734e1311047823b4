//! What a revocation names is worth nothing on every replica within a second, and nothing else is; what a
//! lock names gets nothing new.

use std::time::Duration;

use anyhow::{Result, ensure};

mod lock;
mod own;
mod revoke;
mod stopped;

/// What both replicas have to say within.
const SECOND: Duration = Duration::from_secs(1);

fn within_a_second(what: &str, took: Duration) -> Result<()> {
    ensure!(took <= SECOND, "{what}: it took {took:?}");
    Ok(())
}
