//! Asking the API server about a token that cannot be judged here: TokenReview.
//!
//! It knows keys that it does not publish, and its own time. It is asked rarely: whoever has no valid
//! token could otherwise make every replica ask at will.

use std::time::Duration;

use hallpass_core::{
    name::{Namespace, PodName, ServiceAccount, Uid},
    secret::Secret,
    token::service_account::Claims,
};
use http::{Request, header::CONTENT_TYPE};
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::time::{error::Elapsed, timeout};
use tracing::warn;

use super::bucket::Bucket;
use crate::telemetry::{Metrics, label::ReviewOutcome, log::Chain};

/// Why the API server does not vouch for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReviewFault {
    #[error("the API server does not accept the token")]
    Refused,
    #[error("the API server does not confirm the audience")]
    WrongAudience,
    #[error("the token is not bound to a pod")]
    NotPodBound,
    #[error("too many reviews")]
    TooMany,
    #[error("the API server does not answer")]
    Unanswered,
}

#[derive(Debug, thiserror::Error)]
enum Ask {
    #[error("build the TokenReview")]
    Build(#[source] http::Error),
    #[error("write the TokenReview")]
    Write(#[source] serde_json::Error),
    #[error("create the TokenReview")]
    Create(#[source] Box<kube::Error>),
    #[error("create the TokenReview within {PATIENCE:?}")]
    Wait(#[source] Elapsed),
    #[error("read the answer to the TokenReview")]
    Read,
}

/// Asks, within the limit.
pub(super) struct Reviewer {
    client: Client,
    audience: String,
    limit: Bucket,
    metrics: Metrics,
}

impl Reviewer {
    pub(super) const fn new(client: Client, audience: String, metrics: Metrics) -> Self {
        Self {
            client,
            audience,
            limit: Bucket::new(BURST, EVERY),
            metrics,
        }
    }

    /// Whom the API server takes the bearer for.
    pub(super) async fn review(&self, token: &Secret<String>) -> Result<Claims, ReviewFault> {
        let reviewed = if self.limit.take() {
            match self.ask(token).await {
                Ok(status) => judge(&status, &self.audience),
                Err(error) => {
                    warn!(error = %Chain(&error), "a token could not be reviewed");
                    Err(ReviewFault::Unanswered)
                }
            }
        } else {
            Err(ReviewFault::TooMany)
        };
        self.metrics.token_review(match reviewed {
            Ok(_) => ReviewOutcome::Accepted,
            Err(ReviewFault::TooMany) => ReviewOutcome::Limited,
            Err(ReviewFault::Unanswered) => ReviewOutcome::Failed,
            Err(_) => ReviewOutcome::Refused,
        });
        reviewed
    }

    /// The answer repeats the token. So it is read here and not by kube, which logs what it cannot
    /// read.
    async fn ask(&self, token: &Secret<String>) -> Result<TokenReviewStatus, Ask> {
        #[derive(Deserialize)]
        struct Answer {
            status: TokenReviewStatus,
        }
        let request = Request::post(PATH)
            .header(CONTENT_TYPE, "application/json")
            .body(self.body(token)?)
            .map_err(Ask::Build)?;
        let answer = timeout(PATIENCE, self.client.request_text(request)).await;
        let answer = answer.map_err(Ask::Wait)?;
        let answer = Secret::new(answer.map_err(|e| Ask::Create(Box::new(e)))?);
        // The cause could quote the token: dropped.
        let answer: Option<Answer> = serde_json::from_str(answer.expose()).ok();
        answer.map(|answer| answer.status).ok_or(Ask::Read)
    }

    /// The one place where the token goes to the API server.
    fn body(&self, token: &Secret<String>) -> Result<Vec<u8>, Ask> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Review<'a> {
            api_version: &'static str,
            kind: &'static str,
            spec: Spec<'a>,
        }
        #[derive(Serialize)]
        struct Spec<'a> {
            token: &'a str,
            audiences: [&'a str; 1],
        }
        let review = Review {
            api_version: "authentication.k8s.io/v1",
            kind: "TokenReview",
            spec: Spec {
                token: token.expose(),
                audiences: [&self.audience],
            },
        };
        serde_json::to_vec(&review).map_err(Ask::Write)
    }
}

/// An API server that knows nothing of audiences leaves `audiences` empty: that is a no.
fn judge(status: &TokenReviewStatus, audience: &str) -> Result<Claims, ReviewFault> {
    let fine = status.error.as_deref().unwrap_or_default().is_empty();
    if !fine || status.authenticated != Some(true) {
        return Err(ReviewFault::Refused);
    }
    let audiences = status.audiences.as_deref().unwrap_or_default();
    if !audiences.iter().any(|confirmed| confirmed == audience) {
        return Err(ReviewFault::WrongAudience);
    }
    let user = status.user.as_ref().ok_or(ReviewFault::Refused)?;
    let (Some(pod), Some(pod_uid)) = (extra(user, POD_NAME), extra(user, POD_UID)) else {
        return Err(ReviewFault::NotPodBound);
    };
    claims(user, pod, pod_uid).ok_or(ReviewFault::Refused)
}

fn claims(user: &UserInfo, pod: &str, pod_uid: &str) -> Option<Claims> {
    let account = user.username.as_deref()?;
    let account = account.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = account.split_once(':')?;
    // Names are names of their kind, or this is no service account: no cause is lost that matters.
    Some(Claims {
        namespace: Namespace::parse(namespace).ok()?,
        service_account: ServiceAccount::parse(name).ok()?,
        service_account_uid: Uid::parse(user.uid.as_deref()?).ok()?,
        pod: PodName::parse(pod).ok()?,
        pod_uid: Uid::parse(pod_uid).ok()?,
    })
}

/// The one value of that name.
fn extra<'a>(user: &'a UserInfo, name: &str) -> Option<&'a str> {
    match user.extra.as_ref()?.get(name)?.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// How long the API server has for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many reviews may be asked for at once, and how often after that.
const BURST: u32 = 10;
const EVERY: Duration = Duration::from_millis(200);
const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

#[cfg(test)]
mod tests;
