//! Asking the API server for a pod or a service account that the index does not have.
//!
//! The watches may be behind by a moment, for instance when a pod's first request comes before its
//! event. The answer must match what the watches select.

use std::{collections::BTreeMap, time::Duration};

use hallpass_core::{denial::Code, labels::PodLabels, token::service_account::Claims};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Pod, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Client, Resource as _, core::Request};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::Semaphore,
    time::{error::Elapsed, timeout},
};
use tracing::warn;

use super::Rejection;
use crate::{
    index::{Described, annotations, metadata},
    telemetry::log::Chain,
};

/// An object that a token names is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Absent {
    #[error("pod \"{name}\" in namespace \"{namespace}\" {why}")]
    Pod {
        namespace: String,
        name: String,
        why: Why,
    },
    #[error("service account \"{name}\" in namespace \"{namespace}\" {why}")]
    ServiceAccount {
        namespace: String,
        name: String,
        why: Why,
    },
    #[error("the API server does not say whether the pod and its service account exist")]
    Unanswered,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Why {
    #[error("does not exist")]
    Missing,
    #[error("is another one of the same name than the one that the token was made for")]
    Recreated,
    #[error("was deleted more than a minute ago")]
    Deleted,
    #[error("has finished")]
    Finished,
    #[error("does not have the label {INJECTED}=true")]
    NotOurs,
}

impl Absent {
    pub(super) fn pod(claims: &Claims, why: Why) -> Self {
        Self::Pod {
            namespace: claims.namespace.to_string(),
            name: claims.pod.to_string(),
            why,
        }
    }

    fn service_account(claims: &Claims, why: Why) -> Self {
        Self::ServiceAccount {
            namespace: claims.namespace.to_string(),
            name: claims.service_account.to_string(),
            why,
        }
    }

    pub(super) const fn code(&self) -> Code {
        match self {
            Self::Pod { .. } => Code::PodGone,
            Self::ServiceAccount { .. } => Code::ServiceAccountGone,
            Self::Unanswered => Code::Unavailable,
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Ask {
    #[error("build the request for an object")]
    Build(#[source] kube::core::request::Error),
    #[error("get an object")]
    Get(#[source] Box<kube::Error>),
    #[error("get an object within {PATIENCE:?}")]
    Wait(#[source] Elapsed),
    #[error("read an object")]
    Read(#[source] serde_json::Error),
}

/// Asks, few at a time.
pub(super) struct Live {
    client: Client,
    gate: Semaphore,
}

impl Live {
    pub(super) const fn new(client: Client) -> Self {
        Self {
            client,
            gate: Semaphore::const_new(FEW),
        }
    }

    /// Lets a question through when it is one of the few that are open.
    pub(super) async fn one_of_few<T>(
        &self,
        question: impl Future<Output = Result<T, Rejection>>,
    ) -> Result<T, Rejection> {
        // The gate is never closed; if it were, nobody would get through.
        match timeout(PATIENCE, self.gate.acquire()).await {
            Ok(Ok(_place)) => question.await,
            Ok(Err(_)) | Err(_) => Err(Absent::Unanswered.into()),
        }
    }

    /// The labels of the pod, if it is the one that the token was made for, alive and ours.
    pub(super) async fn pod(&self, claims: &Claims, now: Timestamp) -> Result<PodLabels, Absent> {
        let pod = self.get_pod(claims).await.map_err(unanswered)?;
        let pod = pod.ok_or_else(|| Absent::pod(claims, Why::Missing))?;
        let labels: PodLabels = pod.metadata.labels.iter().flatten().collect();
        let phase = pod.status.phase.as_deref();
        if let Some(why) = changed(&pod.metadata, claims.pod_uid.as_str(), now) {
            return Err(Absent::pod(claims, why));
        }
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return Err(Absent::pod(claims, Why::Finished));
        }
        if labels.get(INJECTED) != Some("true") {
            return Err(Absent::pod(claims, Why::NotOurs));
        }
        Ok(labels)
    }

    /// The annotations of the service account, if it is the one that the token was made for.
    pub(super) async fn service_account(
        &self,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<BTreeMap<String, String>, Absent> {
        let account = self.get_service_account(claims).await.map_err(unanswered)?;
        let missing = || Absent::service_account(claims, Why::Missing);
        let metadata = account.ok_or_else(missing)?;
        match changed(&metadata, claims.service_account_uid.as_str(), now) {
            Some(why) => Err(Absent::service_account(claims, why)),
            None => Ok(annotations(metadata)),
        }
    }

    /// Nothing but metadata and phase is kept.
    async fn get_pod(&self, claims: &Claims) -> Result<Option<PodView>, Ask> {
        let pods = Request::new(Pod::url_path(&(), Some(claims.namespace.as_str())));
        let pod = pods.get(claims.pod.as_str(), &Default::default());
        self.get(pod).await
    }

    async fn get_service_account(&self, claims: &Claims) -> Result<Option<ObjectMeta>, Ask> {
        let path = ServiceAccount::url_path(&(), Some(claims.namespace.as_str()));
        let name = claims.service_account.as_str();
        let account = Request::new(path).get_metadata(name, &Default::default());
        let account: Option<Described<ServiceAccount>> = self.get(account).await?;
        Ok(account.map(|account| account.0.metadata))
    }

    /// Read here and not by kube, which logs what it cannot read: pods carry passwords.
    async fn get<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Option<T>, Ask> {
        let request = request.map_err(Ask::Build)?;
        let answer = timeout(PATIENCE, self.client.request_text(request)).await;
        let text = found(answer.map_err(Ask::Wait)?)?;
        text.map(|text| serde_json::from_str(&text).map_err(Ask::Read))
            .transpose()
    }
}

/// What is kept of a pod.
#[derive(Debug, Deserialize)]
struct PodView {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: PodPhase,
}

#[derive(Debug, Default, Deserialize)]
struct PodPhase {
    phase: Option<String>,
}

/// Only the API server's own word that there is no such object counts: what stands between may answer
/// 404 as well.
fn found<T>(answer: kube::Result<T>) -> Result<Option<T>, Ask> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.reason == "NotFound" => Ok(None),
        Err(error) => Err(Ask::Get(Box::new(error))),
    }
}

fn changed(metadata: &ObjectMeta, uid: &str, now: Timestamp) -> Option<Why> {
    let due = metadata.deletion_timestamp.as_ref().map(|time| time.0);
    if metadata.uid.as_deref() != Some(uid) {
        Some(Why::Recreated)
    } else if due.is_some_and(|due| now.duration_since(due) > GRACE) {
        Some(Why::Deleted)
    } else {
        None
    }
}

fn unanswered(error: Ask) -> Absent {
    warn!(error = %Chain(&error), "an object could not be looked up");
    Absent::Unanswered
}

/// How long a question waits for its turn, and then the API server has for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many questions are open at once.
const FEW: usize = 8;
const INJECTED: &str = "hallpass.dev/injected";

/// How long after its deletion is due an object still counts: what the API server gives, too.
const GRACE: SignedDuration = SignedDuration::from_secs(60);
