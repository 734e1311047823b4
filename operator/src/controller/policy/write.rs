//! How a status and its event reach the API server.

use std::time::Duration;

use hallpass_crds::token_policy::{TokenPolicy, TokenPolicyStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;
use tokio::time::timeout;
use tracing::{info, warn};

use super::desired::{ready, shortened};
use crate::{index::PolicyRecord, telemetry::log::Chain};

/// Writes for one leader.
pub(super) struct Writer {
    client: Client,
    recorder: Recorder,
}

/// Why a status was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The policy is gone, or it is another one of that name now.
    #[error("the policy is gone")]
    Gone,
    /// The API server refused.
    #[error("write the status")]
    Write(#[source] Box<kube::Error>),
    /// The API server said nothing.
    #[error("the status was not stored within {0:?}")]
    NoAnswer(Duration),
}

impl Writer {
    /// A writer in the name of the replica `pod`.
    pub(super) fn new(client: Client, pod: &str) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(pod.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
        }
    }

    /// Stores the status of exactly that policy: the uid is a precondition, not a name of it.
    pub(super) async fn status(
        &self,
        namespace: &str,
        record: &PolicyRecord,
        status: &TokenPolicyStatus,
    ) -> Result<(), WriteError> {
        // The answer is the whole object, which may be one that cannot be read.
        let api: Api<DeserializeGuard<TokenPolicy>> =
            Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Apply(json!({
            "apiVersion": TokenPolicy::api_version(&()),
            "kind": TokenPolicy::kind(&()),
            "metadata": {"name": record.name, "uid": record.uid},
            "status": status,
        }));
        let params = PatchParams::apply(MANAGER).force();
        let written = timeout(LIMIT, api.patch_status(&record.name, &params, &patch)).await;
        match written.map_err(|_elapsed| WriteError::NoAnswer(LIMIT))? {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => {
                Err(WriteError::Gone)
            }
            Err(error) => Err(WriteError::Write(Box::new(error))),
        }
    }

    /// Tells of a transition. A lost event is not sent again: the status says the same.
    pub(super) async fn event(
        &self,
        namespace: &str,
        record: &PolicyRecord,
        status: &TokenPolicyStatus,
    ) {
        let Some(condition) = ready(status) else {
            return;
        };
        info!(
            policy.namespace = namespace,
            policy.name = &*record.name,
            ready = condition.status,
            reason = condition.reason,
            "the state of a policy changed"
        );
        let event = Event {
            type_: if condition.status == "True" {
                EventType::Normal
            } else {
                EventType::Warning
            },
            reason: condition.reason.clone(),
            note: Some(shortened(condition.message.clone(), LONGEST_NOTE)),
            action: "Report".to_owned(),
            secondary: None,
        };
        let policy = ObjectReference {
            api_version: Some(TokenPolicy::api_version(&()).into_owned()),
            kind: Some(TokenPolicy::kind(&()).into_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(record.name.to_string()),
            uid: Some(record.uid.to_string()),
            ..ObjectReference::default()
        };
        match timeout(LIMIT, self.recorder.publish(&event, &policy)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = %Chain(&error), "an event was not stored"),
            Err(_) => warn!(error = "no answer", "an event was not stored"),
        }
    }
}

/// Whose the fields of the status are, and who reports the events.
const MANAGER: &str = "hallpass-operator";

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The API server takes 1,024 bytes.
const LONGEST_NOTE: usize = 1024;
