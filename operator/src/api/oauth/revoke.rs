//! The revocation endpoint (RFC 7009): a pod gives back a token of its own.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use hallpass_core::{
    decide::Subject,
    denial::Code,
    issuer::Issuer,
    revocation::{Epochs, Kind, RevocationSet, Target},
    secret::Secret,
    token::{Verified, claims::Claims},
};
use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::error;

use self::meant::Known;
use super::{
    error::ErrorCode,
    form::Form,
    published::not_ready,
    token::{attest, challenge, refuse},
    wish::assertion,
};
use crate::{
    api::{Api, observe::Arrival, problem::Refused},
    clock::since_boot,
    issue::refusal::Refusal,
    issuer::MintError,
    telemetry::log::Chain,
};

mod meant;

/// `POST …/oauth2/revoke`: 200 where the token is worth nothing from now on, whatever it was before.
///
/// # Guarantees
/// For a token that was valid, 200 means that a revocation of that very token is stored and in force here,
/// whatever else refuses it. A token of another pod is left alone. What this replica cannot judge is
/// answered with 503, never with 200.
pub(super) async fn revoke(
    api: &Api,
    (issuer, reach): (&Issuer, super::Reach),
    arrival: &Arrival,
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
    let subject = attest(api, reach, identity, arrival).await;
    let subject = subject.map_err(|refusal| refuse(refusal, client))?;
    let spent = api.issuance.count(&subject, COST, arrival.at);
    spent.map_err(|refusal| refuse(refusal, client))?;
    let meant = meant(api, issuer, token, arrival);
    // RFC 7009 §2.2: what is no valid token is worth nothing already, and that is no error.
    if let Some(verified) = meant.map_err(|refusal| refuse(refusal, client))? {
        let revoked = store(api, &subject, &verified, arrival).await;
        revoked.map_err(|refusal| refuse(refusal, client))?;
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The token that is meant, unless it is worth nothing. Only a replica that may decide can tell.
fn meant(
    api: &Api,
    issuer: &Issuer,
    token: &Secret<String>,
    arrival: &Arrival,
) -> Result<Option<Arc<Verified<Claims>>>, Refusal> {
    let snapshot = api.index.snapshot()?;
    api.index.standing().may_tell(Instant::now())?;
    if let Some(ahead) = api.keys.clock_fault(arrival.now(), since_boot()) {
        let detail = MintError::Clock(ahead).to_string();
        return Err(Refusal::new(Code::Unavailable, detail));
    }
    let ring = api.keys.ring(&issuer.url.id());
    let ring = ring.ok_or_else(|| not_ready(issuer))?;
    let known = Known {
        audiences: &snapshot.rules().audiences,
        ring: &ring,
        issuer,
        now: arrival.at,
    };
    known.meant(token)
}

async fn store(
    api: &Api,
    subject: &Arc<Subject>,
    verified: &Verified<Claims>,
    arrival: &Arrival,
) -> Result<(), Refusal> {
    let claims = verified.claims();
    if claims.pod_uid != subject.pod_uid {
        let detail = "this token was issued to another pod: only that pod gives it back, others write a TokenRevocation";
        return Err(Refusal::new(Code::ForeignToken, detail));
    }
    let youngest = youngest(claims);
    let refuses = |set: &RevocationSet| set.refuses(&youngest, NO_KEY, NO_ISSUER);
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
        .ask(|set| set.has_room(Kind::Namespaced, &target))
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
    drop(timeout(SEEN, in_force).await);
    api.issuance
        .revoked(&arrival.id, subject, &claims.id, arrival.at)
        .await?;
    // It may have found no room since, and what is not in force is not to be taken for it.
    if revocations.ask(refuses) {
        return Ok(());
    }
    let detail =
        "the revocation is stored, but it is not in force yet; try again, or see its status";
    Err(Refusal::new(Code::Unavailable, detail))
}

/// The same token, as young as none is and made by who knew everything: only a revocation of that very
/// token refuses it. Whatever else refuses the real one may be taken back while it lives.
fn youngest(claims: &Claims) -> Claims {
    Claims {
        issued: Timestamp::MAX,
        known: Epochs {
            namespaced: u64::MAX,
            cluster: u64::MAX,
        },
        ..claims.clone()
    }
}

/// How many looks at its assignments a revocation costs a pod: it is stored.
const COST: usize = 32;

/// How long what was stored may take to come back through the watch.
const SEEN: Duration = Duration::from_secs(5);

/// No key and no issuer is called that.
const NO_KEY: &str = "";
const NO_ISSUER: &str = "";
