//! Service-account tokens by TokenRequest: the same tokens that a projected volume holds.
//!
//! Called by [`crate::issue`] alone. It goes around the typed client on purpose: that one logs an
//! answer that it cannot read, and the answer is a token; and it hides the `Retry-After` header.

use std::time::Duration;

use hallpass_core::{decide::Grant, secret::Secret};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::PostParams, client::Body, core::Status};
use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, timeout_at};

use super::{IssuedToken, MintError, minted};
use crate::telemetry::Metrics;

/// Mints service-account tokens.
#[derive(Clone)]
pub struct Minter {
    client: Client,
    operator: OperatorId,
    metrics: Metrics,
}

/// Where this operator runs and what its objects are called: the words of a hint.
#[derive(Debug, Clone)]
pub struct OperatorId {
    /// Its namespace.
    pub namespace: String,
    /// Its service account, and the beginning of its ClusterRoles' names.
    pub name: String,
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minter")
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

impl Minter {
    /// A minter that calls the API server as the client's user.
    #[must_use]
    pub const fn new(client: Client, operator: OperatorId, metrics: Metrics) -> Self {
        Self {
            client,
            operator,
            metrics,
        }
    }

    /// Has the token of the grant minted, by then at the latest.
    ///
    /// # Guarantees
    /// One call, or two where the right is in question; an answer within 8 s. The token that comes
    /// back fits the grant: service account, pod and audience were compared, and its time.
    ///
    /// # Errors
    /// What the API server said, or what was wrong with the token that it made.
    pub async fn mint(
        &self,
        grant: &Grant,
        now: Timestamp,
        until: Instant,
    ) -> Result<IssuedToken, MintError> {
        let started = Instant::now();
        let answer = timeout_at(until.min(started + TIMEOUT), self.ask(grant)).await;
        let took = started.elapsed();
        self.metrics.minted(took);
        let TokenAnswer {
            token,
            expiration_timestamp,
        } = answer.unwrap_or(Err(MintError::TimedOut))?;
        // The lifetime began when the API server answered, not when it was asked.
        let now = SignedDuration::try_from(took)
            .map_or(now, |took| now.saturating_add(took).unwrap_or(now));
        minted::accept(grant, token, expiration_timestamp, now).map_err(MintError::Mismatch)
    }

    async fn ask(&self, grant: &Grant) -> Result<TokenAnswer, MintError> {
        let request = request(grant).map_err(|e| MintError::Call(Box::new(e)))?;
        let response = self
            .client
            .send(request)
            .await
            .map_err(|e| MintError::Call(Box::new(e)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER)
            .collect()
            .await
            .map_err(MintError::ReadAnswer)?;
        let body = Secret::new(Vec::from(body.to_bytes()));
        if head.status.is_success() {
            // The error of serde_json quotes what it met, which may be the token: it goes no further.
            let answer: Option<Answer> = serde_json::from_slice(body.expose()).ok();
            return answer
                .map(|a| a.status)
                .ok_or(MintError::Mismatch(minted::Mismatch::Unreadable));
        }
        let status: Status = serde_json::from_slice(body.expose()).unwrap_or_default();
        let wait = head
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.parse().ok());
        Err(self.refused(grant, head.status, wait, status).await)
    }

    async fn refused(
        &self,
        grant: &Grant,
        status: StatusCode,
        wait: Option<u64>,
        answer: Status,
    ) -> MintError {
        let gone = || match answer.details.as_ref().map(|d| d.kind.as_str()) {
            Some("pods" | "Pod") => MintError::PodGone,
            // A uid that does not fit is reported on the TokenRequest itself.
            Some("serviceaccounts" | "ServiceAccount" | "TokenRequest" | "namespaces") => {
                MintError::ServiceAccountGone
            }
            _ => MintError::Failed {
                status: status.as_u16(),
            },
        };
        match status {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => gone(),
            StatusCode::FORBIDDEN => self.forbidden(grant, &answer.message).await,
            StatusCode::TOO_MANY_REQUESTS => MintError::Busy {
                retry_after: Duration::from_secs(wait.unwrap_or(1).clamp(1, 60)),
            },
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => refusal(&answer.message),
            _ => MintError::Failed {
                status: status.as_u16(),
            },
        }
    }

    /// RBAC and admission both answer 403; whether the right is there tells them apart.
    async fn forbidden(&self, grant: &Grant, message: &str) -> MintError {
        let namespace = grant.subject().namespace.as_str();
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: Some("create".into()),
                    resource: Some("serviceaccounts".into()),
                    subresource: Some("token".into()),
                    namespace: Some(namespace.into()),
                    name: Some(grant.subject().service_account.as_str().into()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        match reviews.create(&PostParams::default(), &review).await {
            Ok(review) if review.status.as_ref().is_some_and(|s| s.allowed) => refusal(message),
            Ok(_) => MintError::Forbidden {
                namespace: namespace.to_owned(),
                command: self.operator.grant_command(namespace),
            },
            Err(e) => MintError::Call(Box::new(e)),
        }
    }
}

impl OperatorId {
    /// The command that gives this operator the right to mint tokens in `namespace`.
    #[must_use]
    pub fn grant_command(&self, namespace: &str) -> String {
        let Self {
            namespace: home,
            name,
        } = self;
        format!(
            "kubectl create rolebinding hallpass -n {namespace} --clusterrole={name}-token-request --serviceaccount={home}:{name}"
        )
    }
}

#[derive(Deserialize)]
struct Answer {
    status: TokenAnswer,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenAnswer {
    #[serde(deserialize_with = "read_token")]
    token: Secret<String>,
    expiration_timestamp: Timestamp,
}

fn read_token<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}

fn request(grant: &Grant) -> Result<Request<Body>, kube::Error> {
    let subject = grant.subject();
    let body = TokenRequest {
        metadata: ObjectMeta {
            uid: Some(subject.service_account_uid.as_str().into()),
            ..ObjectMeta::default()
        },
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![grant.audience().as_str().into()]),
            // At most 3600: a Lifetime cannot be the 3607 that becomes a year.
            expiration_seconds: Some(grant.lifetime().seconds().into()),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(subject.pod.as_str().into()),
                uid: Some(subject.pod_uid.as_str().into()),
            }),
            attestations: None,
        }),
        status: None,
    };
    // Both names were parsed: neither has a character that would change the path.
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{}/token",
        subject.namespace, subject.service_account
    );
    let body = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(kube::Error::HttpError)
}

fn refusal(message: &str) -> MintError {
    MintError::Refused {
        message: message.chars().take(LONGEST_MESSAGE).collect(),
    }
}

/// The most that one call may take of the time of a request.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Tokens have about 1 kB, with long names 4.
const LONGEST_ANSWER: usize = 64 * 1024;
const LONGEST_MESSAGE: usize = 500;

#[cfg(test)]
mod tests;
