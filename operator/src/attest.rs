//! Who asks. Turns the bearer token of a request into an [`Authenticated`] subject, or says why not.
//!
//! The token is checked here, without asking anybody: its signature by the cluster's keys, its issuer,
//! its audience, its time. What only the API server knows, it is asked for, within limits: keys that it
//! does not publish, and objects that the watches have not delivered yet. Where it does not answer,
//! nobody is refused for that: the answer is that there is none.

use std::{fmt, sync::Arc, time::Duration};

use hallpass_core::{
    decide::Subject,
    denial::Code,
    secret::Secret,
    token::{
        Verified,
        service_account::{Claims, Expected, Fault, examine},
    },
};
use jiff::Timestamp;
use kube::Client;
use tokio::time::timeout;

use self::{
    keys::Keys,
    live::{Absent, Live},
    refusals::{Fingerprint, Refusals},
    review::{ReviewFault, Reviewer},
};
use crate::{
    index::{Index, NotSynced},
    telemetry::Metrics,
};

mod bucket;
mod keys;
mod known;
mod live;
mod refusals;
mod review;

/// A subject whose identity token, service account and pod were checked. Only [`Attestor::attest`]
/// makes one.
#[derive(Debug, Clone)]
pub struct Authenticated(Arc<Subject>);

impl Authenticated {
    /// Who it is.
    #[must_use]
    pub const fn subject(&self) -> &Arc<Subject> {
        &self.0
    }
}

/// Why a bearer was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Rejection {
    /// The finite reason: one of the 401 codes, `PodGone`, `ServiceAccountGone`, or, where nothing
    /// could be decided, `NotSynced` or `Unavailable`.
    pub code: Code,
    /// What is wrong, in words for the one who asked; never a part of the token.
    pub detail: String,
}

impl Rejection {
    fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail }
    }
}

impl From<NotSynced> for Rejection {
    fn from(fault: NotSynced) -> Self {
        Self::new(Code::NotSynced, fault.to_string())
    }
}

impl From<&Fault> for Rejection {
    fn from(fault: &Fault) -> Self {
        Self::new(
            fault.code(),
            format!("the identity token is refused: {fault}"),
        )
    }
}

impl From<Absent> for Rejection {
    fn from(absent: Absent) -> Self {
        Self::new(absent.code(), absent.to_string())
    }
}

/// Checks bearer tokens.
pub struct Attestor {
    index: Index,
    audience: String,
    keys: Keys,
    reviewer: Reviewer,
    live: Live,
    refusals: Refusals,
}

impl Attestor {
    /// An attestor for identity tokens of that audience. It accepts nobody before [`run`](Self::run)
    /// has read the cluster's keys.
    #[must_use]
    pub fn new(index: Index, client: Client, audience: String, metrics: Metrics) -> Self {
        Self {
            index,
            reviewer: Reviewer::new(client.clone(), audience.clone(), metrics.clone()),
            audience,
            live: Live::new(client.clone()),
            keys: Keys::new(client, metrics),
            refusals: Refusals::default(),
        }
    }

    /// Keeps the cluster's keys current; never returns.
    pub async fn run(self: Arc<Self>) {
        self.keys.run().await;
    }

    /// Whether the cluster's keys have been read.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.keys.current().is_some()
    }

    /// Checks the bearer token of a request.
    ///
    /// # Guarantees
    /// Whoever is authenticated holds a token that is valid now, made for Hallpass and bound to a pod
    /// that is alive and ours, under a service account that exists; both are the very ones that the
    /// token was made for, not others of the same name.
    ///
    /// # Errors
    /// A [`Rejection`] with the first check that failed.
    pub async fn attest(
        &self,
        bearer: Option<&Secret<String>>,
        now: Timestamp,
    ) -> Result<Authenticated, Rejection> {
        self.attested(bearer, Doubt::Ask, now).await
    }

    /// The same for who comes from outside of the cluster: what this replica cannot decide by itself is
    /// refused, and nothing that such a caller sends has the API server asked about a token or its keys. So
    /// strangers cannot use up what is there for the cluster's own pods.
    ///
    /// # Errors
    /// A [`Rejection`] with the first check that failed.
    pub async fn attest_from_outside(
        &self,
        bearer: Option<&Secret<String>>,
        now: Timestamp,
    ) -> Result<Authenticated, Rejection> {
        self.attested(bearer, Doubt::Refuse, now).await
    }

    async fn attested(
        &self,
        bearer: Option<&Secret<String>>,
        doubt: Doubt,
        now: Timestamp,
    ) -> Result<Authenticated, Rejection> {
        let token = bearer.ok_or_else(|| {
            Rejection::new(
                Code::NoBearer,
                "send the identity token as \"Authorization: Bearer …\"",
            )
        })?;
        // Before anything is asked of the API server: there is no answer without a snapshot anyway.
        self.index.snapshot()?;
        let fingerprint = Fingerprint::of(token);
        let found = async {
            let claims = self.identify(token, &fingerprint, doubt, now).await?;
            self.find(claims, &fingerprint, now).await
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_elapsed| {
            let detail = "the API server did not answer in time whether the caller is who it says";
            Err(Rejection::new(Code::Unavailable, detail))
        })
    }

    /// Whom the token names.
    async fn identify(
        &self,
        token: &Secret<String>,
        fingerprint: &Fingerprint,
        doubt: Doubt,
        now: Timestamp,
    ) -> Result<Claims, Rejection> {
        let fault = match self.verify(token, fingerprint, now)? {
            Ok(claims) => return Ok(claims),
            Err(fault) if is_final(&fault) || doubt == Doubt::Refuse => {
                return Err(Rejection::from(&fault));
            }
            Err(fault) => fault,
        };
        if let Some(refused) = self.refusals.recall(fingerprint) {
            return Err(refused);
        }
        if matches!(fault, Fault::Untimely { .. }) {
            return Box::pin(self.review(token, fingerprint, &fault)).await;
        }
        self.keys.renew().await;
        match self.verify(token, fingerprint, now)? {
            Ok(claims) => Ok(claims),
            Err(fault) if is_final(&fault) => Err(Rejection::from(&fault)),
            Err(fault) => Box::pin(self.review(token, fingerprint, &fault)).await,
        }
    }

    /// What this replica can say of the token by itself. One that was seen before under the same keys is
    /// not checked again, but for the time.
    fn verify(
        &self,
        token: &Secret<String>,
        fingerprint: &Fingerprint,
        now: Timestamp,
    ) -> Result<Result<Claims, Fault>, Rejection> {
        let trust = self.keys.current().ok_or_else(|| {
            Rejection::new(
                Code::NotSynced,
                "the keys of the cluster have not been read yet",
            )
        })?;
        if let Some(examined) = trust.known.find(fingerprint) {
            return Ok(examined.at(now).map(Verified::into_claims));
        }
        let expected = Expected {
            issuer: &trust.issuer,
            audience: &self.audience,
        };
        let examined = match examine(&trust.keys, token, &expected) {
            Ok(examined) => examined,
            Err(fault) => return Ok(Err(fault)),
        };
        let verified = examined.at(now).map(Verified::into_claims);
        if verified.is_ok() {
            trust.known.remember(fingerprint, examined);
        }
        Ok(verified)
    }

    /// What the API server says of a token with that fault.
    async fn review(
        &self,
        token: &Secret<String>,
        fingerprint: &Fingerprint,
        fault: &Fault,
    ) -> Result<Claims, Rejection> {
        let reviewed = match self.reviewer.review(token).await {
            // A token that names one here and another one there is nobody's.
            Ok(other) if contradicts(fault, &other) => Err(ReviewFault::Refused),
            reviewed => reviewed,
        };
        let rejection = match reviewed {
            Ok(claims) => return Ok(claims),
            Err(ReviewFault::Refused) => Rejection::from(fault),
            Err(ReviewFault::WrongAudience) => Rejection::from(&Fault::WrongAudience),
            Err(ReviewFault::NotPodBound) => Rejection::from(&Fault::NotPodBound),
            Err(ReviewFault::TooMany) => {
                let Rejection { code, detail } = Rejection::from(fault);
                let detail =
                    format!("{detail}; the API server was not asked: too many such tokens");
                return Err(Rejection { code, detail });
            }
            Err(ReviewFault::Unanswered) => {
                let detail = "the API server does not say whether the identity token is valid";
                return Err(Rejection::new(Code::Unavailable, detail));
            }
        };
        self.refusals.remember(fingerprint, &rejection);
        Err(rejection)
    }

    /// The pod and the service account that the token names, as they are now.
    async fn find(
        &self,
        claims: Claims,
        fingerprint: &Fingerprint,
        now: Timestamp,
    ) -> Result<Authenticated, Rejection> {
        let snapshot = self.index.snapshot()?;
        let namespace = claims.namespace.as_str();
        let account = snapshot.service_account(namespace, claims.service_account.as_str());
        let annotations = match account {
            Some(account) if account.uid.is(&claims.service_account_uid) => account.annotations,
            Some(_) | None => {
                let account = self.live.service_account(&claims, now);
                Arc::new(Box::pin(self.bridge(fingerprint, account)).await?)
            }
        };
        // A pod of the same name but with another uid may be the one before: the watch may be behind.
        let pod = snapshot.pod(namespace, claims.pod.as_str());
        let labels = match pod.filter(|pod| pod.uid.is(&claims.pod_uid)) {
            Some(pod) if pod.is_live(now) => pod.details.labels.clone(),
            Some(_) => return Err(Absent::pod(&claims, live::Why::Deleted).into()),
            None => {
                let pod = self.live.pod(&claims, now);
                Box::pin(self.bridge(fingerprint, pod)).await?
            }
        };
        Ok(Authenticated(Arc::new(Subject {
            namespace: claims.namespace,
            service_account: claims.service_account,
            service_account_uid: claims.service_account_uid,
            pod: claims.pod,
            pod_uid: claims.pod_uid,
            labels,
            annotations,
        })))
    }

    /// Asks the API server for what the index does not have, unless it has just said no. Callers box it: it
    /// is large and rare, and would be a part of every request's state.
    async fn bridge<T>(
        &self,
        fingerprint: &Fingerprint,
        question: impl Future<Output = Result<T, Absent>>,
    ) -> Result<T, Rejection> {
        let asked = self.live.one_of_few(async {
            if let Some(refused) = self.refusals.recall(fingerprint) {
                return Err(refused);
            }
            question.await.map_err(|absent| {
                let rejection = Rejection::from(absent);
                if rejection.code != Code::Unavailable {
                    self.refusals.remember(fingerprint, &rejection);
                }
                rejection
            })
        });
        asked.await
    }
}

/// What is done about a token that this replica cannot decide by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// The API server is asked, within limits.
    Ask,
    /// It is refused.
    Refuse,
}

impl fmt::Debug for Attestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attestor").finish_non_exhaustive()
    }
}

/// Whether the API server could not see it otherwise. It knows keys that it does not publish, issuers
/// that it had before, and the time by its own clock.
const fn is_final(fault: &Fault) -> bool {
    !matches!(
        fault,
        Fault::UnknownKey | Fault::WrongIssuer | Fault::Untimely { .. }
    )
}

fn contradicts(fault: &Fault, reviewed: &Claims) -> bool {
    matches!(fault, Fault::Untimely { claims, .. } if **claims != *reviewed)
}

/// How long all questions to the API server about one caller may take together.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
