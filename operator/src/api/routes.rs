//! The two routes. Both take an [`Authenticated`] subject, and nothing of the request says who it is.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Extension, State},
    response::{IntoResponse, Response},
};
use hallpass_core::{
    decide::{Subject, assigned, unselected},
    denial::Code,
    name::TokenName,
    policy::PolicyToken,
    wire::{Assignment, Assignments, Notice, RefusedEntry, TokenEntry, TokensResponse},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Api, body::tokens_request, observe::Arrival, problem::Refused};
use crate::{
    attest::Authenticated,
    index::Snapshot,
    issue::{Ask, Outcomes, refusal::Refusal},
    issuer::hex,
};

/// `GET /v1/assignments`: 200 for every live pod, with what it is to hold; 304 where it has that already.
pub(super) async fn assignments(
    who: Authenticated,
    State(api): State<Arc<Api>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    api.issuance.look(who.subject(), arrival.at)?;
    let snapshot = api.index.snapshot().map_err(Refusal::from)?;
    let body = encode(&assignments_of(&snapshot, who.subject()))?;
    let tag = format!("\"{}\"", hex(&Sha256::digest(&body)));
    let mut response = if matches_tag(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json(body)
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(POLL_AGAIN));
    Ok(response)
}

/// `POST /v1/tokens`: an entry for each name. 200 with at least one token among them, else the status of
/// the first refusal.
pub(super) async fn tokens(
    who: Authenticated,
    State(api): State<Arc<Api>>,
    Extension(arrival): Extension<Arrival>,
    body: Body,
) -> Result<Response, Refused> {
    let names = tokens_request(body).await?.names.map(without_duplicates);
    let ask = Ask {
        request: arrival.id,
        subject: Arc::clone(who.subject()),
        at: arrival.at,
        since: arrival.since,
    };
    let outcomes = api.issuance.issue(&ask, names).await?;
    let mut response = json(encode(&entries(outcomes)?)?);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn assignments_of(snapshot: &Snapshot, subject: &Subject) -> Assignments {
    let tokens: Vec<_> = assigned(snapshot.policies(), subject)
        .into_iter()
        .map(assignment)
        .collect();
    let notice = tokens.is_empty().then(|| {
        let denial = unselected(subject);
        Notice {
            code: denial.code.as_str().into(),
            detail: denial.detail,
        }
    });
    Assignments { tokens, notice }
}

fn assignment(token: &PolicyToken) -> Assignment {
    let PolicyToken {
        name,
        audience,
        lifetime,
        required,
        containers,
    } = token;
    Assignment {
        name: name.clone(),
        audience: audience.clone(),
        lifetime_seconds: lifetime.seconds(),
        required: *required,
        containers: containers.as_ref().map(|c| c.iter().cloned().collect()),
    }
}

/// Whether the caller has what is tagged so (RFC 9110 §13.1.2: weak comparison, lists, `*`).
fn matches_tag(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        // A tag of ours has no comma, so that splitting within one of another's does no harm.
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|candidate| {
            candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag
        })
}

fn without_duplicates(names: Vec<TokenName>) -> Vec<TokenName> {
    let mut seen = BTreeSet::new();
    names
        .into_iter()
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

fn entries(outcomes: Outcomes) -> Result<TokensResponse, Refused> {
    let mut first = None;
    let mut tokens = Vec::with_capacity(outcomes.len());
    for (name, outcome) in outcomes {
        tokens.push(match outcome {
            Ok(audited) => TokenEntry::Issued(audited.into_wire()),
            Err(refusal) => {
                let problem = Box::new(refusal.problem());
                first.get_or_insert(refusal);
                TokenEntry::Refused(RefusedEntry { name, problem })
            }
        });
    }
    match first {
        Some(first) if tokens.iter().all(|t| matches!(t, TokenEntry::Refused(_))) => {
            let refused = tokens.into_iter().filter_map(|entry| match entry {
                TokenEntry::Refused(refused) => Some(refused),
                TokenEntry::Issued(_) => None,
            });
            Err(Refused::each(first, refused.collect()))
        }
        Some(_) | None => Ok(TokensResponse { tokens }),
    }
}

fn encode(answer: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(answer)
        .map_err(|e| Refusal::new(Code::Internal, format!("the answer has no JSON form: {e}")))
}

fn json(body: Vec<u8>) -> Response {
    (
        [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
    )
        .into_response()
}

/// The pace of the sidecars' polls: a changed policy is known everywhere well within a minute.
const POLL_AGAIN: &str = "private, max-age=30";
