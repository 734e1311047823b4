//! What a revocation names is soon worth nothing on every replica, and nothing else is; what a
//! lock names gets nothing new.

use std::time::Duration;

use anyhow::{Result, ensure};

mod enforced;
mod lock;
mod own;
mod revoke;
mod stopped;

/// What both replicas have to say within, beside other tests that take the machine's time too; alone it
/// is a second.
const LIMIT: Duration = Duration::from_secs(5);

fn within_the_limit(what: &str, took: Duration) -> Result<()> {
    ensure!(took <= LIMIT, "{what}: it took {took:?}");
    Ok(())
}
