//! The revocation endpoint (RFC 7009): a pod gives back a token of its own.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use hallpass_core::{
    audience::Statement,
    decide::Subject,
    denial::Code,
    issuer::Issuer,
    revocation::{RevocationSet, Target},
    token::{Verified, claims::Claims},
};
use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};
use tokio::time::timeout;
use tracing::error;

use super::{
    error::ErrorCode,
    form::Form,
    introspect::recognise::Recogniser,
    published::not_ready,
    token::{attest, challenge, refuse},
    wish::assertion,
};
use crate::{
    api::{Api, observe::Arrival, problem::Refused},
    issue::refusal::Refusal,
    telemetry::log::Chain,
};

/// `POST …/oauth2/revoke`: 200 where the token is worth nothing from now on, whatever it was before.
///
/// # Guarantees
/// For a token that was valid, 200 means that the revocation is stored. A token of another pod is left
/// alone.
pub(super) async fn revoke(
    api: &Api,
    (issuer, reach): (&Issuer, super::Reach),
    arrival: Arrival,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let form = Form::read(headers, body, &[]).await;
    let form = form.map_err(|refusal| refuse(refusal, ErrorCode::InvalidRequest))?;
    let client = ErrorCode::InvalidClient(challenge(headers));
    let identity = assertion(&form, client)?;
    let token = form.one("token").ok_or_else(|| {
        let refusal = Refusal::new(
            Code::MalformedRequest,
            "say with token which token is meant",
        );
        refuse(refusal, client)
    })?;
    let subject = attest(api, reach, identity, &arrival).await;
    let subject = subject.map_err(|refusal| refuse(refusal, client))?;
    let spent = api.issuance.count(&subject, COST, arrival.at);
    spent.map_err(|refusal| refuse(refusal, client))?;
    let snapshot = api.index.snapshot();
    let snapshot = snapshot.map_err(|not_synced| refuse(not_synced.into(), client))?;
    let ring = api.keys.ring(&issuer.url.id());
    let ring = ring.ok_or_else(|| refuse(not_ready(issuer), client))?;
    let recogniser = Recogniser {
        audiences: &snapshot.rules().audiences,
        ring: &ring,
        issuer,
        may_ask: |_: &Statement| true,
        verified: &api.verified,
        now: arrival.at,
    };
    // RFC 7009 §2.2: what is no valid token is worth nothing already, and that is no error.
    if let Some(verified) = recogniser.recognise(token) {
        let revoked = store(api, issuer, &subject, &verified, &arrival).await;
        revoked.map_err(|refusal| refuse(refusal, client))?;
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn store(
    api: &Api,
    issuer: &Issuer,
    subject: &Arc<Subject>,
    verified: &Verified<Claims>,
    arrival: &Arrival,
) -> Result<(), Refusal> {
    let claims = verified.claims();
    if claims.pod_uid != subject.pod_uid {
        let detail = "this token was issued to another pod: only that pod gives it back, others write a TokenRevocation";
        return Err(Refusal::new(Code::ForeignToken, detail));
    }
    let refuses = |set: &RevocationSet| set.refuses(claims, verified.kid(), issuer.name.as_str());
    let revocations = api.index.revocations();
    let mut changes = revocations.observed();
    if revocations.ask(refuses) {
        return Ok(());
    }
    let target = Target::Token(
        Some(Cow::Borrowed(subject.namespace.as_str())),
        Cow::Borrowed(claims.id.as_str()),
    );
    // What is stored and not in force would be a revocation in name alone.
    revocations
        .ask(|set| set.has_room(&target))
        .map_err(|full| Refusal::new(Code::Unavailable, full.to_string()))?;
    let stored = api.revoker.revoke(&subject.namespace, &claims.id).await;
    stored.map_err(|e| {
        error!(request.id = arrival.id.as_str(), error = %Chain(&e), "a token is not revoked");
        Refusal::new(
            Code::Unavailable,
            "the revocation could not be stored; try again",
        )
    })?;
    let in_force = async { while !revocations.ask(refuses) && changes.changed().await.is_ok() {} };
    // It is stored, and so it comes into force: who asks again at once should see that, if possible.
    drop(timeout(SEEN, in_force).await);
    api.issuance
        .revoked(&arrival.id, subject, &claims.id, arrival.at)
        .await
}

/// How many looks at its assignments a revocation costs a pod: it is stored.
const COST: usize = 32;

/// How long it takes until what was stored comes back through the watch.
const SEEN: Duration = Duration::from_secs(1);
