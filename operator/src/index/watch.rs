//! One watch that never gives up: what it delivers, how it waits after an error.

use std::{fmt::Debug, time::Duration};

use futures::StreamExt;
use hallpass_core::lifetime;
use jiff::Timestamp;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch as channel;
use tracing::{debug, info, warn};

use super::gate::Gate;
use crate::telemetry::{label::Kind, log::Chain};

/// What can be watched.
pub(crate) trait Watched:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static
{
}

/// Delivers the events of a watch in batches to `take`, and returns only when the watch ends, which
/// none does. Of each object it keeps what `file` makes of it, and passes over those of which it makes
/// nothing.
///
/// # Guarantees
/// No two whole objects wait in a batch: each may have a megabyte. An error is counted, logged once per
/// outage, and waited out; nothing that was delivered is taken back. When `restores` changes the watch is given up and all is listed anew: it may hang on a version
/// that the cluster, whose state went back, has not reached yet, and the API server does not say so. While `gate` finds no definition of the kind nothing is watched.
pub(crate) async fn follow<K: Watched, F>(
    api: Api<K>,
    config: watcher::Config,
    mut gate: Gate,
    mut restores: channel::Receiver<Option<Timestamp>>,
    file: impl Fn(K) -> Option<F>,
    mut take: impl FnMut(Vec<Event<F>>),
) {
    let kind = gate.kind.as_str();
    loop {
        gate.ready().await;
        tokio::select! {
            end = once(api.clone(), config.clone(), &mut gate, &file, &mut take) => match end {
                End::Ended => return,
                End::Undefined => {}
            },
            // Its error says that nobody is left who would notice, and then the process ends too.
            Ok(()) = restores.changed() => {
                warn!(watch.kind = kind, "the state of the cluster went back: listing anew");
            }
        }
    }
}

/// Why a watch is over.
enum End {
    /// It ended.
    Ended,
    /// The definition of its kind went.
    Undefined,
}

/// One watch, from its first list on.
async fn once<K: Watched, F>(
    api: Api<K>,
    config: watcher::Config,
    gate: &mut Gate,
    file: impl Fn(K) -> Option<F>,
    take: &mut impl FnMut(Vec<Event<F>>),
) -> End {
    let kind = gate.kind;
    let config = config.timeout(TIMEOUT_SECONDS).page_size(PAGE);
    let events = watcher(api, config).backoff(Pause::default());
    let filed = events.map(|event| event.map(|event| filed(event, &file)));
    let mut batches = std::pin::pin!(filed.ready_chunks(BATCH));
    let mut failing = false;
    loop {
        let batch = tokio::select! {
            batch = batches.next() => batch,
            () = gate.lapsed() => {
                take(vec![Event::InitDone]);
                continue;
            }
        };
        let Some(batch) = batch else {
            return End::Ended;
        };
        let mut events = Vec::with_capacity(batch.len());
        let mut unknown = false;
        for item in batch {
            match item {
                Ok(event) => events.extend(event),
                Err(error) => {
                    gate.metrics.watch_error(kind);
                    report(kind, &error, failing);
                    failing = true;
                    unknown |= is_not_found(&error);
                }
            }
        }
        // The start of a new list says nothing yet about whether the API server answers.
        if events.iter().any(|e| !matches!(e, Event::Init)) && failing {
            failing = false;
            info!(watch.kind = kind.as_str(), "the watch is back");
        }
        let mut there = gate.pass(events, &mut *take).await;
        if unknown && there {
            there = gate.is_there().await;
        }
        if !there {
            return End::Undefined;
        }
    }
}

/// Whether the API server says that there is no such kind.
fn is_not_found(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => {
            matches!(error, kube::Error::Api(status) if status.is_not_found())
        }
        watcher::Error::WatchError(status) => status.is_not_found(),
        watcher::Error::NoResourceVersion => false,
    }
}

/// The event with what `file` makes of its object, if that is anything.
pub(super) fn filed<K, F>(event: Event<K>, file: impl Fn(K) -> Option<F>) -> Option<Event<F>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(file(object)?),
        Event::Apply(object) => Event::Apply(file(object)?),
        Event::Delete(object) => Event::Delete(file(object)?),
    })
}

fn report(kind: Kind, error: &watcher::Error, again: bool) {
    let (kind, error) = (kind.as_str(), Chain(error));
    if again {
        debug!(watch.kind = kind, %error, "the watch still fails");
    } else {
        warn!(watch.kind = kind, %error, "a watch failed: serving what it delivered before");
    }
}

/// The pauses after errors in a row.
///
/// # Guarantees
/// They double up to [`LONGEST_PAUSE`], each with a random half, so that replicas do not come back in
/// step.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
}

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        Some(pause(self.failures, rand::random()))
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

fn pause(failures: u32, jitter: f64) -> Duration {
    lifetime::retry_after(failures, None, jitter).min(LONGEST_PAUSE)
}

/// The most objects in one answer to a list: fewer where they are [large](super::page).
pub(super) const PAGE: u32 = 500;

/// How long the API server lets one watch request run: the next one is a proof that the watch lives. A
/// connection that died in silence is noticed 3 s later, so that its watch is back before anybody takes
/// it for dead.
const TIMEOUT_SECONDS: u32 = 5;

/// The longest time without a byte that is not a fault, and that a watch goes on: it ends after
/// [`TIMEOUT_SECONDS`].
pub(super) const SILENCE: Duration = Duration::from_secs(TIMEOUT_SECONDS as u64 + 3);

/// A cluster that comes back is seen again after this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many events are taken at once, if so many are there.
const BATCH: usize = 512;

#[cfg(test)]
mod tests;
