//! From a name that a pod asks for to a token: look, decide, hold to the rate, mint, write down.
//!
//! Called by [`crate::api`] with a subject that [`crate::attest`] vouches for. Nothing is kept here but
//! the rate limit: every replica answers alike.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use hallpass_core::{
    decide::{Grant, Holding, Source, Subject, decide_for, unselected},
    denial::Code,
    issuer::IssuerUrl,
    name::{TokenId, TokenName},
    scope::ScopeSet,
    wire,
};
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{error, warn};

use self::{
    admit::{Admission, Turn},
    limit::Limits,
    refusal::Refusal,
    unrecorded::Unrecorded,
};
use crate::{
    audit::{Audit, AuditError, Audited, RequestId},
    clock,
    index::{Index, Snapshot},
    issuer::{IssuedToken, Issuers},
    telemetry::{Metrics, log::Chain},
};

mod admit;
pub mod limit;
pub mod refusal;
mod unrecorded;

/// Issues tokens.
#[derive(Debug)]
pub struct Issuance {
    index: Index,
    issuers: Issuers,
    audit: Audit,
    limits: Limits,
    admission: Admission,
    unrecorded: Unrecorded,
    metrics: Metrics,
}

/// One request of one pod.
#[derive(Debug)]
pub struct Ask {
    /// What the logs call it.
    pub request: RequestId,
    /// The attested pod.
    pub subject: Arc<Subject>,
    /// When it was read.
    pub at: Timestamp,
    /// The same moment, for what passed since.
    pub since: Instant,
    /// For how many seconds the pod still has the tokens that it asks for, as it says itself; 0 where it has
    /// none. It is believed among the pods of one namespace alone, and decides there who is first.
    pub expires_in: u32,
}

/// A token, or why not, for each name that was asked for.
pub type Outcomes = Vec<(TokenName, Result<Audited<IssuedToken>, Refusal>)>;

impl Issuance {
    /// A pipeline whose rate limit is empty.
    #[must_use]
    pub fn new(index: Index, issuers: Issuers, audit: Audit, metrics: Metrics) -> Self {
        Self {
            index,
            issuers,
            audit,
            limits: Limits::default(),
            admission: Admission::new(metrics.clone(), rand::random),
            unrecorded: Unrecorded::default(),
            metrics,
        }
    }

    /// Issues the tokens of those names, or every one that the pod may hold, in that order.
    ///
    /// # Guarantees
    /// Every token has its record; so has every refusal of a name.
    ///
    /// # Errors
    /// [`Code::NotSynced`] before there is anything to decide on, and while that is too old; [`Code::NoPolicy`] where all are asked
    /// for and there is none; [`Code::TooOften`] for a pod that asks for too many names, of which none
    /// has a record then.
    pub async fn issue(
        &self,
        ask: &Ask,
        names: Option<Vec<TokenName>>,
    ) -> Result<Outcomes, Refusal> {
        let snapshot = self.index.snapshot()?;
        self.may_issue()?;
        // Who asks for too much has nothing looked up.
        self.admit(ask, names.as_ref().map_or(1, Vec::len))?;
        let holding = Holding::new(snapshot.rules(), &ask.subject);
        let names = match names {
            Some(names) => names,
            None => self.all(&holding, ask)?,
        };
        let (snapshot, holding) = (&snapshot, &holding);
        let outcomes = stream::iter(names).map(|name| async move {
            let outcome = self.issue_one(snapshot, holding, ask, &name).await;
            self.note(ask, &name, outcome.as_ref().err()).await;
            (name, outcome)
        });
        Ok(outcomes.buffered(AT_ONCE).collect().await)
    }

    /// Issues a token of that `aud` that this issuer makes: with those scopes, or with all that the pod
    /// may have.
    ///
    /// # Guarantees
    /// A token has its record; so has a refusal of a token that the pod may have.
    ///
    /// # Errors
    /// [`Code::NotSynced`], what [`decide_for`] says, [`Code::TooOften`], and why it could not be minted.
    pub async fn exchange(
        &self,
        ask: &Ask,
        issuer: &IssuerUrl,
        audience: &str,
        scopes: Option<&ScopeSet>,
    ) -> Result<Audited<IssuedToken>, Refusal> {
        let snapshot = self.index.snapshot()?;
        let outdated = self.may_issue()?;
        self.admit(ask, 1)?;
        let grant = snapshot.decide(ask.now(), |scene| {
            decide_for(scene, &ask.subject, issuer, audience, scopes)
        });
        let grant = grant.map_err(|denial| {
            self.metrics.denied(denial.code);
            Refusal::from(denial)
        })?;
        let token = grant.token().clone();
        let outcome = self.mint(ask, grant, outdated, None).await;
        self.note(ask, &token, outcome.as_ref().err()).await;
        outcome
    }

    /// Counts a look at the assignments as if it asked for one name.
    ///
    /// # Errors
    /// [`Code::TooOften`], with how long to wait.
    pub fn look(&self, subject: &Subject, now: Timestamp) -> Result<(), Refusal> {
        self.count(subject, 1, now)
    }

    /// Counts something that costs as much as so many names.
    ///
    /// # Errors
    /// [`Code::TooOften`], with how long to wait.
    pub fn count(&self, subject: &Subject, names: usize, now: Timestamp) -> Result<(), Refusal> {
        self.limits.admit(subject, names, now)
    }

    /// Writes down that a pod revoked its own token.
    ///
    /// # Errors
    /// [`Code::Internal`]: it could not be written.
    pub async fn revoked(
        &self,
        request: &RequestId,
        subject: &Subject,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let written = self.audit.revoked(request, subject, id, now).await;
        written.map_err(|e| {
            error!(request.id = request.as_str(), error = %Chain(&e), "revocation without an audit record");
            Refusal::new(Code::Internal, "the audit record could not be written")
        })
    }

    async fn issue_one(
        &self,
        snapshot: &Snapshot,
        holding: &Holding<'_>,
        ask: &Ask,
        name: &TokenName,
    ) -> Result<Audited<IssuedToken>, Refusal> {
        let decide = || -> Result<_, Refusal> {
            // The names before it took their time.
            let outdated = self.may_issue()?;
            let grant = snapshot.decide(ask.now(), |scene| {
                holding.decide(scene.revocations, name, scene.now)
            })?;
            Ok((grant, outdated))
        };
        let (grant, outdated) = decide()?;
        let Source::Kubernetes = grant.source() else {
            return self.mint(ask, grant, outdated, None).await;
        };
        let (namespace, until) = (&ask.subject.namespace, ask.since + LAST_START);
        let turn = self
            .admission
            .turn(namespace, ask.expires_in, until)
            .await?;
        // What was revoked while it waited is not issued.
        let (grant, outdated) = if turn.waited() {
            decide()?
        } else {
            (grant, outdated)
        };
        self.mint(ask, grant, outdated, Some(turn)).await
    }

    /// How old what is decided on is, where that is more than counts as current.
    fn may_issue(&self) -> Result<Option<Duration>, Refusal> {
        let (standing, now) = (self.index.standing(), Instant::now());
        standing.may_issue(now)?;
        Ok(standing.outdated(now))
    }

    /// Mints the token of a grant, within the rate and the time there is, and writes it down. The turn ends with
    /// the minting.
    async fn mint(
        &self,
        ask: &Ask,
        grant: Grant,
        outdated: Option<Duration>,
        turn: Option<Turn>,
    ) -> Result<Audited<IssuedToken>, Refusal> {
        let grant = match outdated {
            Some(old) => grant.decided_on(old),
            None => grant,
        };
        let grant = &grant;
        if ask.since.elapsed() > LAST_START {
            return Err(Refusal::new(
                Code::Unavailable,
                "the tokens before it took too long to mint",
            ));
        }
        // What could not be written down is not made either.
        let room = self.audit.has_room();
        room.map_err(|error| self.unwritten(ask, &error))?;
        self.limits.take(grant, ask.now())?;
        let minted = self.issuers.mint(grant, ask.now(), ask.since + LAST_END);
        let minted = minted.await;
        drop(turn);
        let issued = minted.map_err(|e| {
            let refusal = Refusal::from(&e);
            self.limits.failed(grant, &refusal);
            if e.is_transient() {
                warn!(
                    request.id = ask.request.as_str(),
                    error = %Chain(&e),
                    "token not minted"
                );
            }
            refusal
        })?;
        let audited = self.audit.record(&ask.request, issued, ask.now()).await;
        audited.map_err(|error| self.unwritten(ask, &error))
    }

    fn unwritten(&self, ask: &Ask, error: &AuditError) -> Refusal {
        self.unrecorded.token(&ask.request, error);
        Refusal::new(Code::Internal, "the audit record could not be written")
    }

    fn admit(&self, ask: &Ask, names: usize) -> Result<(), Refusal> {
        let admitted = self.count(&ask.subject, names, ask.now());
        admitted.inspect_err(|refusal| self.metrics.denied(refusal.code))
    }

    /// The names of all that the pod may hold, if it may ask for so many.
    fn all(&self, holding: &Holding<'_>, ask: &Ask) -> Result<Vec<TokenName>, Refusal> {
        let names: Vec<_> = holding.names().cloned().collect();
        if names.is_empty() {
            self.metrics.denied(Code::NoPolicy);
            return Err(unselected(&ask.subject).into());
        }
        // The first one is counted already, and once more when it is asked for again.
        let rest = self.admit(ask, names.len() - 1);
        rest.map_err(Limits::after_another)?;
        Ok(names)
    }

    async fn note(&self, ask: &Ask, name: &TokenName, refusal: Option<&Refusal>) {
        let Some(refusal) = refusal else {
            self.metrics.issued();
            return;
        };
        self.metrics.denied(refusal.code);
        let written = self
            .audit
            .denied(&ask.request, &ask.subject, name, refusal.code, ask.now())
            .await;
        if let Err(error) = written {
            self.unrecorded.refusal(&ask.request, &error);
        }
    }
}

impl Ask {
    /// The time of this step, counted from when the request was read.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        clock::after(self.at, self.since.elapsed())
    }
}

/// How many of a request's tokens are minted at the same time.
const AT_ONCE: usize = 8;

/// No token is begun later than this after its request: the rest of the time is for minting it.
const LAST_START: Duration = Duration::from_secs(10);

/// No token is waited for longer than this after its request. Those that were minted meanwhile are still
/// written into the answer before the request itself is cut off, with nothing.
const LAST_END: Duration = wire::ANSWER_WITHIN.saturating_sub(Duration::from_secs(1));

#[cfg(test)]
mod tests;
