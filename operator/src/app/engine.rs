//! Whether the cluster has what the engine of injection needs. A cluster is upgraded while it runs, and a
//! chart may be installed with the values of another one: then nothing would be injected, or no pod would
//! know whom to trust, and nobody would be told.

use std::time::Duration;

use kube::Client;
use tokio::{sync::watch, time::sleep};
use tracing::error;

use super::task::Outcome;
use crate::{
    call::{CallError, within},
    config::{Engine, Names},
    controller::webhook::{Registration, RegistrationError},
    telemetry::log::Chain,
};

/// What the last look found wrong, for a person.
pub(super) type Told = watch::Sender<Result<(), String>>;

/// Why the engine cannot work here.
#[derive(Debug, thiserror::Error)]
enum EngineError {
    #[error("ask the API server for what it serves of {0}")]
    Ask(&'static str, #[source] CallError),
    #[error(
        "the API server serves no {resource} of {group}, which injection.engine=AdmissionPolicy needs \
         (Kubernetes 1.37); install the chart with injection.engine=Webhook"
    )]
    NotServed {
        resource: &'static str,
        group: &'static str,
    },
    #[error("the webhook is not registered")]
    Registration(#[source] RegistrationError),
}

/// Before the first look.
pub(super) fn unknown() -> Result<(), String> {
    Err("the API server has not been asked yet for what it serves".into())
}

/// Looks until all is there, and tells. What was there once is not taken away from a running cluster; where
/// it is, the leader says so.
pub(super) async fn run(client: Client, names: Names, engine: Engine, told: Told) -> Outcome {
    let mut logged = None;
    loop {
        let checked = check(&client, &names, engine).await;
        let fault = checked.as_ref().err().map(|error| Chain(error).to_string());
        if let Some(error) = fault.as_ref().filter(|_| fault != logged) {
            error!(error, "the cluster lacks what injection needs");
        }
        drop(told.send_replace(readiness(&checked)));
        if checked.is_ok() {
            return std::future::pending().await;
        }
        logged = fault;
        sleep(AGAIN).await;
    }
}

/// Whether this replica may be asked. Without the webhook's registration it may: somebody may have taken that
/// away so that pods start, and the pods that run are to keep their tokens.
fn readiness(checked: &Result<(), EngineError>) -> Result<(), String> {
    match checked {
        Ok(()) | Err(EngineError::Registration(_)) => Ok(()),
        Err(error) => Err(Chain(error).to_string()),
    }
}

async fn check(client: &Client, names: &Names, engine: Engine) -> Result<(), EngineError> {
    match engine {
        Engine::AdmissionPolicy => {
            for (group, resource) in NEEDED {
                served(client, group, resource).await?;
            }
            Ok(())
        }
        Engine::Webhook => {
            let registration = Registration::new(client.clone(), names.clone());
            let found = registration.find().await;
            found.map(drop).map_err(EngineError::Registration)
        }
    }
}

async fn served(
    client: &Client,
    group: &'static str,
    resource: &'static str,
) -> Result<(), EngineError> {
    let missing = EngineError::NotServed { resource, group };
    match within(client.list_api_group_resources(group)).await {
        Ok(list) if list.resources.iter().any(|r| r.name == resource) => Ok(()),
        Ok(_) => Err(missing),
        Err(error) if error.is_not_found() => Err(missing),
        Err(error) => Err(EngineError::Ask(group, error)),
    }
}

/// What the pods' sidecars come from, and their trust.
const NEEDED: [(&str, &str); 2] = [
    (
        "admissionregistration.k8s.io/v1",
        "mutatingadmissionpolicies",
    ),
    ("certificates.k8s.io/v1", "clustertrustbundles"),
];

/// Between two looks while something is missing.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
