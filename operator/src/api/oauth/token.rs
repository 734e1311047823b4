//! The token endpoint (RFC 6749 §3.2): the identity token of a pod for a token of Hallpass's own.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use hallpass_core::{
    decide::Subject, denial::Code, issuer::Issuer, secret::Secret, wire::TokenResponse,
};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA},
};

use super::{
    Reach,
    error::{Challenge, ErrorCode},
    form::Form,
    wish::{ACCESS_TOKEN, GrantType, Wish},
};
use crate::{
    api::{
        Api, bearer,
        observe::Arrival,
        problem::Refused,
        routes::{encode, json},
    },
    attest::Rejection,
    issue::{Ask, refusal::Refusal},
};

/// `POST …/oauth2/token`: a token of that issuer, for who brings its identity token in the body.
///
/// # Guarantees
/// What counts as an identity token is what counts as one everywhere: [`Attestor`](crate::attest::Attestor)
/// looks at it, within its limits; one from outside of the cluster costs the API server nothing. `Authorization` is not read.
pub(super) async fn token(
    api: &Api,
    (issuer, reach): (&Issuer, Reach),
    arrival: &Arrival,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let form = Form::read(headers, body, &["audience", "resource"]).await;
    let form = form.map_err(|refusal| refuse(refusal, ErrorCode::InvalidRequest))?;
    let wish = Wish::read(&form, challenge(headers))?;
    let rejection = wish.grant.rejection();
    let subject = attest(api, reach, wish.identity, arrival).await;
    let subject = subject.map_err(|refusal| refuse(refusal, rejection))?;
    named(&wish, &subject, challenge(headers))?;
    let ask = Ask {
        request: arrival.id.clone(),
        subject,
        at: arrival.at,
        since: arrival.since,
        expires_in: 0,
    };
    let (audience, scopes) = (wish.audience, wish.scopes.as_ref());
    let issued = api.issuance.exchange(&ask, &issuer.url, audience, scopes);
    let issued = issued.await.map_err(|refusal| refuse(refusal, rejection))?;
    let issued = issued.into_wire();
    let left = issued.expires_at.as_second() - ask.now().as_second();
    let answer = TokenResponse {
        access_token: issued.token,
        issued_token_type: matches!(wish.grant, GrantType::Exchange).then(|| ACCESS_TOKEN.into()),
        token_type: "Bearer".into(),
        expires_in: u64::try_from(left).unwrap_or_default(),
        scope: issued.scope,
    };
    let body = encode(&answer).map_err(|refusal| refuse(refusal, rejection))?;
    let mut response = json(body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Who brings the identity token.
pub(super) async fn attest(
    api: &Api,
    reach: Reach,
    identity: &Secret<String>,
    arrival: &Arrival,
) -> Result<Arc<Subject>, Refusal> {
    // What could not stand in a header is no token in a body either: it goes no further.
    if !bearer::is_b64token(identity.expose()) {
        let detail = "the identity token has characters that no token has";
        return Err(Refusal::new(Code::MalformedBearer, detail));
    }
    let (attestor, identity) = (&api.attestor, Some(identity));
    let attested = match reach {
        Reach::Inside => attestor.attest(identity, arrival.at).await,
        Reach::Outside => attestor.attest_from_outside(identity, arrival.at).await,
    };
    let who = attested.map_err(|rejection: Rejection| Refusal::from(rejection))?;
    Ok(Arc::clone(who.subject()))
}

/// Whether the client is who it says, if it says that: a token's `client_id` is the one of its subject.
fn named(wish: &Wish<'_>, subject: &Subject, challenge: Challenge) -> Result<(), Refused> {
    let Subject {
        namespace,
        service_account,
        ..
    } = subject;
    let id = format!("system:serviceaccount:{namespace}:{service_account}");
    if wish.client.is_none_or(|client| client == id) {
        return Ok(());
    }
    let detail = format!("the client_id of this identity token is {id}; it can be left out");
    let refusal = Refusal::new(Code::MalformedRequest, detail);
    Err(Refused::oauth(refusal, ErrorCode::InvalidClient(challenge)))
}

pub(super) fn refuse(refusal: Refusal, credential: ErrorCode) -> Refused {
    let error = ErrorCode::of(refusal.code, credential);
    Refused::oauth(refusal, error)
}

/// The scheme that the client tried, if that is one.
pub(super) fn challenge(headers: &HeaderMap) -> Challenge {
    let value = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let scheme = value.and_then(|value| value.split(|b| *b == b' ').next());
    match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"basic") => Challenge::Basic,
        Some(_) | None => Challenge::Bearer,
    }
}
