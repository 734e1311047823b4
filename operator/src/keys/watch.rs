//! Keeps the rings of a replica as the Secrets are.

use std::time::Duration;

use hallpass_core::lifetime;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::{
    Keys,
    shelf::Shelf,
    store::{CallError, ChangeKind, Lines, Store},
};
use crate::{
    clock::since_boot,
    restore::Restores,
    telemetry::{label::Kind, log::Chain},
};

/// Lists and watches for ever.
///
/// # Guarantees
/// What was delivered stays until something newer comes: a watch that fails takes nothing back. A list
/// takes the place of what was known at once. With each of the `restores` no key of before is used from
/// then on, and a new list is taken: the watch may hang on a version that the cluster, whose state went
/// back, has not reached yet. After a failure a list counts when it is known whether it is from such a
/// cluster: it may have keys that were removed.
pub(super) async fn follow(keys: &Keys, store: &Store, restores: &Restores) {
    let (mut shelf, mut failures) = (Shelf::telling(), 0u32);
    let mut noticed = restores.watch();
    loop {
        tokio::select! {
            () = until_it_fails(keys, store, restores, (&mut shelf, &mut failures)) => {}
            // Its error says that nobody is left who would notice, and then the process ends too.
            Ok(()) = noticed.changed() => {
                warn!(watch.kind = Kind::SigningKey.as_str(), "the state of the cluster went back: listing anew");
                if keys.synced() {
                    keys.publish(&mut shelf, restores.last());
                }
            }
        }
    }
}

/// Lists and watches, and after a failure waits for as long as it is wise to.
async fn until_it_fails(
    keys: &Keys,
    store: &Store,
    restores: &Restores,
    (shelf, failures): (&mut Shelf, &mut u32),
) {
    let Err(error) = tend(keys, store, restores, (shelf, failures)).await;
    *failures = failures.saturating_add(1);
    keys.0.metrics.watch_error(Kind::SigningKey);
    report(&error, *failures);
    let pause = lifetime::retry_after(*failures, None, rand::random());
    sleep(pause.min(LONGEST_PAUSE)).await;
}

fn report(error: &CallError, failures: u32) {
    let (kind, error) = (Kind::SigningKey.as_str(), Chain(error));
    if failures == 1 {
        warn!(watch.kind = kind, %error, "a watch failed: serving what it delivered before");
    } else {
        debug!(watch.kind = kind, %error, "the watch still fails");
    }
}

enum Never {}

/// One list, and what changes after it.
async fn tend(
    keys: &Keys,
    store: &Store,
    restores: &Restores,
    (shelf, failures): (&mut Shelf, &mut u32),
) -> Result<Never, CallError> {
    let sent = Instant::now();
    let listed = store.list(None).await?;
    keys.compared(listed.date, since_boot());
    if *failures > 0 {
        restores.look().await;
    }
    let mut version = listed.resource_version;
    *shelf = shelf.relist(&listed.objects);
    keys.publish(shelf, restores.last());
    keys.heard(sent);
    if std::mem::take(failures) > 0 {
        info!(watch.kind = Kind::SigningKey.as_str(), "the watch is back");
    }
    loop {
        let began = Instant::now();
        let mut lines = store.watch(&version).await?;
        keys.heard(began);
        keys.compared(lines.date, since_boot());
        while take(keys, &mut lines, shelf, &mut version, restores).await? {}
        // An API server that ends every watch at once is not asked without a pause.
        sleep_until(began + SHORTEST_WATCH).await;
    }
}

/// Whether the watch goes on.
async fn take(
    keys: &Keys,
    lines: &mut Lines,
    shelf: &mut Shelf,
    version: &mut Box<str>,
    restores: &Restores,
) -> Result<bool, CallError> {
    let Some(change) = lines.next().await? else {
        return Ok(false);
    };
    let object = &change.object;
    match change.kind {
        ChangeKind::Added | ChangeKind::Modified => shelf.put(object),
        ChangeKind::Deleted => shelf.remove(object),
        ChangeKind::Bookmark => {}
    }
    version.clone_from(&object.metadata.resource_version);
    if change.kind != ChangeKind::Bookmark {
        keys.publish(shelf, restores.last());
    }
    // That a line is here proves nothing of now: it may have waited while this process was stopped.
    Ok(true)
}

/// A cluster that comes back is seen again after this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// From the start of one watch to the next one.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
