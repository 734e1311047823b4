//! The introspection endpoint (RFC 7662): what a token is worth, for the API that it was made for.
//!
//! Who asks is attested like everybody, and learns something only of a token for an audience of its own
//! namespace that lists its service account. All others, about whatever token, get the same two words.
//!
//! There is no limit on how often: an API asks at the rate of its own requests. A question costs no more
//! than who asks could cause at any other endpoint: the check of its identity token, and beyond that one
//! check of a token that is for it. Nothing is kept, nothing is written down, nobody is asked.

use axum::{body::Body, response::Response};
use hallpass_core::{
    audience::Statement, decide::Subject, denial::Code, issuer::Issuer, revocation::RevocationSet,
};
use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, PRAGMA},
};
use tokio::time::Instant;

use self::{answer::Answer, recognise::Recogniser};
use super::{form::Form, published::not_ready};
use crate::{
    api::{
        Api, bearer,
        observe::Arrival,
        problem::Refused,
        routes::{encode, json},
    },
    clock::since_boot,
    issue::refusal::Refusal,
    issuer::MintError,
};

mod alive;
mod answer;
pub(super) mod recognise;

/// `POST …/oauth2/introspect`: 200 for every caller that is attested.
///
/// # Errors
/// Only what has nothing to do with the token: who asks, the form, or a replica that cannot tell.
pub(super) async fn introspect(
    api: &Api,
    issuer: &Issuer,
    arrival: &Arrival,
    headers: &mut HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let who = bearer::authenticate(api, headers, arrival.at).await?;
    let form = Form::read(headers, body, &[]).await?;
    let token = form.one("token").ok_or_else(|| {
        Refusal::new(
            Code::MalformedRequest,
            "say with token which token is meant",
        )
    })?;
    let snapshot = api.index.snapshot().map_err(Refusal::from)?;
    let current = api.index.standing().may_tell(Instant::now());
    current.map_err(Refusal::from)?;
    if let Some(ahead) = api.keys.clock_fault(arrival.now(), since_boot()) {
        let detail = MintError::Clock(ahead).to_string();
        return Err(Refusal::new(Code::Unavailable, detail).into());
    }
    let ring = api.keys.ring(&issuer.url.id());
    let ring = ring.ok_or_else(|| not_ready(issuer))?;
    let caller: &Subject = who.subject();
    let recogniser = Recogniser {
        audiences: &snapshot.rules().audiences,
        ring: &ring,
        issuer,
        may_ask: |statement: &Statement| {
            statement.id.namespace == caller.namespace
                && statement.verifiers.contains(&caller.service_account)
        },
        verified: &api.verified,
        now: arrival.at,
    };
    let verified = recogniser.recognise(token).filter(|verified| {
        let claims = verified.claims();
        let revoked =
            |set: &RevocationSet| set.refuses(claims, verified.kid(), issuer.name.as_str());
        alive::is_alive(&snapshot, claims, arrival.at)
            && alive::is_given(&snapshot, issuer, claims, arrival.at)
            && !api.index.revocations().ask(revoked)
    });
    let claims = verified.as_ref().map(|verified| verified.claims());
    let mut response = json(encode(&Answer::of(claims))?);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}
