//! What all live replicas have in common, for who reports on revocations.

use std::time::Duration;

use hallpass_core::revocation::Epochs;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::task::Outcome;
use crate::{
    controller::revocation::Agreement,
    replica::{Minimum, Replicas},
};

/// Tells it whenever it is another one, for ever. That a replica lives no more is told by time alone.
pub(super) async fn agree(replicas: Replicas, told: watch::Sender<Agreement>) -> Outcome {
    let mut changes = replicas.changes();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            changed = changes.changed() => changed?,
        }
        let agreement = common(&replicas.minimum(Instant::now()));
        told.send_if_modified(|before| {
            let changed = *before != agreement;
            *before = agreement;
            changed
        });
    }
}

const fn common(minimum: &Minimum) -> Agreement {
    let [namespaced, cluster] = minimum.epochs;
    Agreement {
        epochs: Epochs {
            namespaced,
            cluster,
        },
        replicas: minimum.replicas,
        refused: minimum.refused,
        unread: minimum.unread,
    }
}

const TICK: Duration = Duration::from_secs(1);
