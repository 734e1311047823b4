//! The one replica that writes: elected through a Lease that the chart made.
//!
//! Every write of the Lease names the resourceVersion that it was read at, so that of two replicas
//! that try at once one is refused. When the leader has not renewed in time it stops on its own, before
//! another may begin; [`candidate`] holds that reasoning, and [`tenure`] what whoever writes looks at. A write that
//! was on its way when its leader stopped changes nothing of what another wrote since: it names the
//! resourceVersion that it was decided from. Where it does not, as the status of a revocation, the next leader
//! writes over what it finds to be otherwise.

use std::{pin::pin, time::Duration};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use self::{
    candidate::{Candidate, DURATION, Record, Step},
    tenure::Tenure,
};
use crate::{
    clock::{self, suspended},
    restore::Restores,
    telemetry::{Metrics, log::Chain},
};

mod candidate;
#[cfg(test)]
mod model;
pub mod tenure;
#[cfg(test)]
mod tests;

/// Takes part in the election.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    leads: watch::Sender<Tenure>,
    restores: Restores,
    metrics: Metrics,
}

/// Why a round of the election brought nothing.
#[derive(Debug, thiserror::Error)]
enum ElectionError {
    #[error("read the Lease")]
    Read(#[source] Box<kube::Error>),
    #[error("write the Lease")]
    Write(#[source] Box<kube::Error>),
    #[error("the Lease was changed since it was read")]
    Conflict,
    #[error("the API server did not answer within {0:?}")]
    NoAnswer(Duration),
}

impl Elector {
    /// A replica called `identity`, which no other one is called, for the Lease `name`. The Lease must
    /// exist: until it does, nobody leads. It is written every few seconds, so whoever reads it notices
    /// when the state of the cluster went back, and says so in `restores`.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        restores: Restores,
        metrics: Metrics,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            leads: watch::Sender::new(Tenure::default()),
            restores,
            metrics,
        }
    }

    /// Whether this replica leads, now and whenever that changes. That it renewed is no change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Tenure> {
        self.leads.subscribe()
    }

    /// Takes part until `stop`, then gives the Lease back, so that another replica leads within
    /// seconds.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut candidate = Candidate::new(self.identity.clone());
        let mut due = Instant::now();
        let mut failing = false;
        loop {
            let end = candidate.leads_until();
            tokio::select! {
                // A leader whose time is over ends before it looks at anything else.
                biased;
                () = until(end) => {
                    candidate.resign();
                    warn!(error = "not renewed in time", "this replica leads no more");
                }
                () = &mut stop => break,
                outcome = self.round(&mut candidate, due) => {
                    report(outcome.as_ref().err(), &mut failing);
                    due = Instant::now() + pause(&candidate, outcome.is_ok(), rand::random());
                }
            }
            self.publish(candidate.tenure(Instant::now()));
        }
        self.publish(Tenure::default());
        self.release(&candidate).await;
    }

    /// Reads the Lease when it is due, and writes it if that is the step.
    async fn round(&self, candidate: &mut Candidate, due: Instant) -> Result<(), ElectionError> {
        sleep_until(due).await;
        let led = *self.leads.borrow();
        if led.leads() && !led.may_write() {
            // The machine was suspended: whoever worked begins anew, by what is read from now on.
            candidate.resign();
            self.publish(Tenure::default());
        }
        let lease = self.read().await?;
        self.restores.see(&lease, clock::now());
        candidate.see(Record::from(&lease), Instant::now());
        let Step::Hold { transitions } = candidate.step(Instant::now()) else {
            return Ok(());
        };
        let now = MicroTime(clock::now());
        let mut spec = json!({
            "holderIdentity": candidate.identity(),
            "leaseDurationSeconds": DURATION.as_secs(),
            "leaseTransitions": transitions,
            "renewTime": now,
        });
        if !candidate.leads(Instant::now()) {
            spec["acquireTime"] = json!(now);
        }
        let (sent, slept) = (Instant::now(), suspended());
        let written = self.write(&lease, &spec).await?;
        self.restores.see(&written, clock::now());
        candidate.see(Record::from(&written), Instant::now());
        candidate.hold(sent, slept);
        Ok(())
    }

    /// The Lease as etcd has it: no cache answers.
    async fn read(&self) -> Result<Lease, ElectionError> {
        let read = timeout(LIMIT, self.api.get(&self.name));
        let read = read
            .await
            .map_err(|_elapsed| ElectionError::NoAnswer(LIMIT))?;
        read.map_err(|error| ElectionError::Read(Box::new(error)))
    }

    /// Writes the spec if the Lease is still the one that was read.
    async fn write(&self, read: &Lease, spec: &Value) -> Result<Lease, ElectionError> {
        let patch = json!({
            "metadata": {"resourceVersion": read.resource_version().unwrap_or_default()},
            "spec": spec,
        });
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let written = timeout(LIMIT, self.api.patch(&self.name, &params, &patch));
        let written = written
            .await
            .map_err(|_elapsed| ElectionError::NoAnswer(LIMIT))?;
        written.map_err(|error| match error {
            kube::Error::Api(status) if status.is_conflict() => ElectionError::Conflict,
            error => ElectionError::Write(Box::new(error)),
        })
    }

    async fn release(&self, candidate: &Candidate) {
        let released = async {
            let lease = self.read().await?;
            let record = Record::from(&lease);
            if record.holder.as_deref() != Some(candidate.identity()) {
                return Ok(false);
            }
            let spec = json!({
                "holderIdentity": "",
                "leaseDurationSeconds": 1,
                "renewTime": MicroTime(clock::now()),
            });
            self.write(&lease, &spec).await.map(|_| true)
        };
        match released.await {
            Ok(true) => info!("gave the Lease back"),
            Ok(false) => {}
            Err(error) => warn!(error = %Chain(&error), "the Lease could not be given back"),
        }
    }

    fn publish(&self, tenure: Tenure) {
        let leads = tenure.leads();
        let changed = self.leads.send_if_modified(|led| {
            let changed = led.leads() != leads;
            *led = tenure;
            changed
        });
        if changed {
            self.metrics.leader(leads);
            info!(leads, "the leadership of this replica changed");
        }
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn report(error: Option<&ElectionError>, failing: &mut bool) {
    match error {
        None | Some(ElectionError::Conflict) => *failing = false,
        Some(error) if *failing => debug!(error = %Chain(error), "the Lease still fails"),
        Some(error) => {
            *failing = true;
            warn!(error = %Chain(error), "the Lease can be neither read nor held");
        }
    }
}

/// How long after a round the next one begins. `jitter` is uniform in `0.0..1.0`.
fn pause(candidate: &Candidate, succeeded: bool, jitter: f64) -> Duration {
    match (candidate.leads(Instant::now()), succeeded) {
        (true, true) => RENEW,
        // Some tries fit in what is left of the tenure.
        (true, false) => RETRY.mul_f64(0.5 + 0.5 * jitter),
        (false, _) => LOOK.mul_f64(0.5 + 0.5 * jitter),
    }
}

/// Whose the fields are that this program writes.
const MANAGER: &str = "hallpass-operator";

/// How long after a renewal the leader renews again: two fit in its tenure.
const RENEW: Duration = Duration::from_secs(5);

/// How long after a failed renewal the leader tries again, at most.
const RETRY: Duration = Duration::from_secs(1);

/// How long until a replica that does not lead looks again, at most.
///
/// A lease that was given up is taken within that and one call: 3 s together.
const LOOK: Duration = Duration::from_secs(2);

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(2);
