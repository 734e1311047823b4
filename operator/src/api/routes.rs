//! The routes of the pods, and one of the replicas. Those of the pods take an [`Authenticated`] subject, and
//! nothing of the request says who it is.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Extension, State},
    response::{IntoResponse, Response},
};
use hallpass_core::{
    consent::AudienceSet,
    decide::{Assigned, Grant, Holding, Subject, unselected},
    denial::Code,
    name::TokenName,
    policy::PolicyToken,
    wire::{Assignment, Assignments, Notice, RefusedEntry, TokenEntry, TokensResponse},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    Api, body::tokens_request, document::Document, observe::Arrival, problem::Refused, trust::told,
};
use crate::{
    attest::Authenticated,
    index::Snapshot,
    issue::{Ask, Outcomes, refusal::Refusal},
};

/// `GET /v1/assignments`: 200 for every live pod, with what it is to hold; 304 where it has that already. Where
/// another replica may know better, it is that one's to say.
pub(super) async fn assignments(
    who: Authenticated,
    State(api): State<Arc<Api>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    api.issuance.look(who.subject(), arrival.at)?;
    let snapshot = api.index.snapshot().map_err(Refusal::from)?;
    let current = api.index.standing().may_issue(Instant::now());
    current.map_err(Refusal::from)?;
    let body = encode(&assignments_of(&snapshot, who.subject(), arrival.at))?;
    let answer = Document::json(body, pace(snapshot.how_many_pods())).answer(&headers);
    Ok(told(&api.anchors, answer))
}

/// `POST /v1/tokens`: an entry for each name. 200 with at least one token among them, else the status of
/// the first refusal.
pub(super) async fn tokens(
    who: Authenticated,
    State(api): State<Arc<Api>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let names = tokens_request(body).await?.names.map(without_duplicates);
    let ask = Ask {
        request: arrival.id,
        subject: Arc::clone(who.subject()),
        at: arrival.at,
        since: arrival.since,
        expires_in: expires_in(&headers),
    };
    let outcomes = api.issuance.issue(&ask, names).await?;
    let mut response = json(encode(&entries(outcomes)?)?);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `GET /v1/replica`: 200 for everybody, with whether this replica is behind the cluster. The others ask,
/// to know whether the API server answers nobody; it is one bit, and not a secret.
pub(super) async fn replica(State(api): State<Arc<Api>>) -> Result<Response, Refused> {
    let behind = api.index.standing().is_behind(Instant::now());
    let mut response = json(encode(&json!({"behind": behind}))?);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn assignments_of(snapshot: &Snapshot, subject: &Arc<Subject>, now: Timestamp) -> Assignments {
    let audiences = &snapshot.rules().audiences;
    let holding = Holding::new(snapshot.rules(), subject);
    let tokens: Vec<_> = snapshot.decide(now, |scene| {
        let assigned = holding.assigned(scene.revocations, scene.now).into_iter();
        assigned
            .map(|assigned| assignment(audiences, assigned))
            .collect()
    });
    let notice = tokens.is_empty().then(|| {
        let denial = unselected(subject);
        Notice {
            code: denial.code.as_str().into(),
            detail: denial.detail,
        }
    });
    Assignments { tokens, notice }
}

fn assignment(audiences: &AudienceSet, assigned: Assigned<'_>) -> Assignment {
    let Assigned { token, grant } = assigned;
    let PolicyToken {
        name,
        wanted,
        required,
        containers,
    } = token;
    let grant = grant.ok();
    Assignment {
        name: name.clone(),
        audience: wanted.value(audiences).cloned(),
        lifetime_seconds: grant.as_ref().map(|grant| grant.lifetime().seconds()),
        scope: grant.as_ref().and_then(Grant::scopes).cloned(),
        required: *required,
        containers: containers.as_ref().map(|c| c.iter().cloned().collect()),
    }
}

/// For how many seconds the pod still has what it asks for, as far as it says so.
fn expires_in(headers: &HeaderMap) -> u32 {
    let value = headers.get(EXPIRES_IN).and_then(|v| v.to_str().ok());
    value.and_then(|text| text.parse().ok()).unwrap_or_default()
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

pub(super) fn encode(answer: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::with_capacity(USUAL_ANSWER);
    serde_json::to_writer(&mut body, answer)
        .map_err(|e| Refusal::new(Code::Internal, format!("the answer has no JSON form: {e}")))?;
    Ok(body)
}

pub(super) fn json(body: Vec<u8>) -> Response {
    (
        [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
    )
        .into_response()
}

/// The least that is left of the tokens that are asked for, in seconds; 0 where the pod has none.
const EXPIRES_IN: HeaderName = HeaderName::from_static("hallpass-expires-in");

/// A token with what is said of it: most answers are written without moving them.
const USUAL_ANSWER: usize = 1536;

/// When a sidecar is to ask again where there are so many: a changed policy is known everywhere well within a
/// minute, but no replica is asked more than 500 times a second, even where it is the only one that answers. A
/// sidecar waits five minutes at most, whatever it is told.
fn pace(pods: usize) -> HeaderValue {
    let seconds = pods
        .div_ceil(POLLS_A_SECOND)
        .clamp(POLL_AGAIN, LONGEST_POLL);
    match HeaderValue::try_from(format!("private, max-age={seconds}")) {
        Ok(value) => value,
        Err(_unreachable) => HeaderValue::from_static("no-store"),
    }
}

/// Seconds between two polls of a sidecar.
const POLL_AGAIN: usize = 30;
const LONGEST_POLL: usize = 300;
const POLLS_A_SECOND: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_no_replica_is_polled_more_than_500_times_a_second() {
        for (pods, expected) in [
            (0, 30),
            (15_000, 30),
            (15_001, 31),
            (100_000, 200),
            (150_000, 300),
            (1_000_000, 300),
        ] {
            let told = format!("private, max-age={expected}");
            assert_eq!(pace(pods), told.as_str(), "{pods}");
        }
    }

    #[test]
    fn f11_a_pod_that_does_not_say_what_it_has_has_nothing() {
        let said = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("Hallpass-Expires-In", HeaderValue::from_static(value));
            expires_in(&headers)
        };
        assert_eq!((said("0"), said("90")), (0, 90));
        for nonsense in ["", "-1", "1.5", "soon", "4294967296", "9 0"] {
            assert_eq!(said(nonsense), 0, "{nonsense}");
        }
        assert_eq!(expires_in(&HeaderMap::new()), 0);
    }
}
