//! Keeps this replica's own Lease.
//!
//! Nobody else writes it, and it is written after everything that a restore of etcd must not undo
//! unnoticed: by its version this replica sees that the state of the cluster went back.

use std::{pin::pin, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{Identity, Observed, report};
use crate::{restore::Restores, telemetry::log::Chain};

/// Tells the others what this replica has observed.
#[derive(Debug)]
pub struct Publisher {
    api: Api<Lease>,
    identity: Identity,
    observed: watch::Receiver<Observed>,
    keys: watch::Receiver<u64>,
    restores: Restores,
    went_back: watch::Receiver<Option<Timestamp>>,
    clock: fn() -> Timestamp,
}

/// Why the Lease could not be written.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("read the Lease of this replica")]
    Read(#[source] Box<kube::Error>),
    #[error("write the Lease of this replica")]
    Write(#[source] Box<kube::Error>),
    #[error("delete the Lease of this replica")]
    Delete(#[source] Box<kube::Error>),
    #[error("the API server did not answer within {0:?}")]
    NoAnswer(Duration),
}

/// What was told, of that which is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    revocations: u64,
    refused: usize,
    keys: u64,
    unread: u64,
    went_back: Option<Timestamp>,
}

impl Publisher {
    /// For the replica `identity`, which has `observed` so much and whose `keys` count up with each change.
    /// Nothing is written before [`run`](Self::run). `restores` hears of every version of the Lease.
    #[must_use]
    pub fn new(
        client: Client,
        identity: Identity,
        observed: watch::Receiver<Observed>,
        keys: watch::Receiver<u64>,
        restores: Restores,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            api: Api::namespaced(client, &identity.namespace),
            identity,
            observed,
            keys,
            went_back: restores.watch(),
            restores,
            clock,
        }
    }

    /// Renews the Lease every [`RENEW`], and at once when a revocation or a key came or went, then at most
    /// every [`AT_MOST`]. At `stop` it deletes the Lease: from then on nobody waits for this replica.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let (mut sent, mut told, mut failures) = (None, None, 0u32);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.due(sent, told, failures) => {}
            }
            sent = Some(Instant::now());
            let read = self.read().await;
            // What the Lease said of a restore is told with this.
            let (observed, now) = self.now();
            let outcome = match read {
                Ok(read) => self.write(read, &observed, now.went_back).await,
                Err(error) => Err(error),
            };
            // What failed is told again with the next try, which is soon.
            told = Some(now);
            failures = settle(outcome, failures);
        }
        match self.delete().await {
            Ok(()) => info!("this replica's Lease is deleted"),
            Err(error) => {
                warn!(error = %Chain(&error), "this replica's Lease could not be deleted")
            }
        }
    }

    /// What is to be told now.
    fn now(&self) -> (Observed, Told) {
        let observed = *self.observed.borrow();
        let told = Told {
            revocations: observed.revocations,
            refused: observed.refused,
            keys: *self.keys.borrow(),
            unread: observed.unread,
            went_back: *self.went_back.borrow(),
        };
        (observed, told)
    }

    /// Waits until the Lease is to be written, after it was `sent` the last time and `told` that.
    async fn due(&mut self, sent: Option<Instant>, told: Option<Told>, failures: u32) {
        let Some(sent) = sent else {
            return;
        };
        let regular = sent + if failures == 0 { RENEW } else { RETRY };
        let news = async {
            while Some(self.now().1) == told {
                tokio::select! {
                    () = changed(&mut self.observed) => {}
                    () = changed(&mut self.keys) => {}
                    () = changed(&mut self.went_back) => {}
                    () = self.restores.wanted() => break,
                }
            }
            sleep_until(sent + if failures == 0 { AT_MOST } else { RETRY }).await;
        };
        tokio::select! {
            () = sleep_until(regular) => {}
            () = news => {}
        }
    }

    /// The Lease, if there is one, as etcd has it: no cache answers. Its version is the one to write over.
    ///
    /// That there is none proves nothing: somebody may have deleted it, or Kubernetes has, because this pod was
    /// deleted by force and goes on. The version of the new one tells, unless the cluster has gone on too far.
    async fn read(&self) -> Result<Option<String>, PublishError> {
        let read = timeout(LIMIT, self.api.get_opt(&self.identity.pod)).await;
        let read = read.map_err(|_elapsed| PublishError::NoAnswer(LIMIT))?;
        let read = read.map_err(|error| PublishError::Read(Box::new(error)))?;
        Ok(read.and_then(|lease| {
            self.restores.see(&lease, (self.clock)());
            lease.metadata.resource_version
        }))
    }

    /// Writes over what was `read`, and over nothing else: a restore in between would not be seen any more.
    async fn write(
        &self,
        read: Option<String>,
        observed: &Observed,
        went_back: Option<Timestamp>,
    ) -> Result<(), PublishError> {
        let mut lease = report::lease(&self.identity, observed, went_back, (self.clock)());
        lease.metadata.resource_version = read;
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&lease);
        let written = timeout(LIMIT, self.api.patch(&self.identity.pod, &params, &patch)).await;
        let written = written.map_err(|_elapsed| PublishError::NoAnswer(LIMIT))?;
        let written = written.map_err(|error| PublishError::Write(Box::new(error)))?;
        self.restores.see(&written, (self.clock)());
        self.restores.looked();
        Ok(())
    }

    async fn delete(&self) -> Result<(), PublishError> {
        let params = DeleteParams::default();
        let deleted = self.api.delete(&self.identity.pod, &params);
        match timeout(LIMIT, deleted).await {
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
            Ok(deleted) => deleted
                .map(drop)
                .map_err(|error| PublishError::Delete(Box::new(error))),
            Err(_elapsed) => Err(PublishError::NoAnswer(LIMIT)),
        }
    }
}

/// How many failures in a row that makes.
fn settle(outcome: Result<(), PublishError>, failures: u32) -> u32 {
    match outcome {
        Ok(()) => {
            if failures > 0 {
                info!("this replica's Lease is renewed again");
            }
            0
        }
        Err(error) if failures == 0 => {
            warn!(error = %Chain(&error), "this replica's Lease cannot be renewed");
            1
        }
        Err(error) => {
            debug!(error = %Chain(&error), "this replica's Lease still cannot be renewed");
            failures.saturating_add(1)
        }
    }
}

/// Waits for a change; for ever once nobody is left to make one.
async fn changed<T>(of: &mut watch::Receiver<T>) {
    if of.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Whose the fields are that this program writes.
const MANAGER: &str = "hallpass-operator";

/// How long after a renewal the next one begins: two of three may fail.
const RENEW: Duration = Duration::from_secs(5);

/// How long after a failed renewal the next try begins.
const RETRY: Duration = Duration::from_secs(1);

/// How long after a renewal the next one begins at the earliest.
const AT_MOST: Duration = Duration::from_millis(250);

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
