//! Whether those that a token was made for are still there, and what gave it. Pure.

use std::sync::Arc;

use hallpass_core::{
    decide::{Subject, decide_for},
    issuer::Issuer,
    token::claims::Claims,
};
use jiff::{SignedDuration, Timestamp};

use crate::index::Snapshot;

/// Whether the pod and the service account of the token are the very ones that the watches have.
///
/// Both were there when the token was made. One that is not known, or has another uid, is gone; only of a
/// token that was made a moment ago it may be that another replica knew them first.
pub(super) fn is_alive(snapshot: &Snapshot, claims: &Claims, now: Timestamp) -> bool {
    let Claims {
        namespace,
        service_account,
        service_account_uid,
        pod,
        pod_uid,
        ..
    } = claims;
    let just_made = is_just_made(claims, now);
    let (within, account) = (namespace.as_str(), service_account.as_str());
    let account = snapshot.has_service_account(within, account, service_account_uid);
    let known = snapshot.look_at_pod(within, pod.as_str(), |pod| {
        pod.uid.is(pod_uid).then(|| pod.is_live(now))
    });
    (account || just_made) && known.flatten().unwrap_or(just_made)
}

/// Whether the policy that gave the token is still there, or another one gives the pod what the token is good for: a
/// policy may be replaced by another one, of another name or of its own, and the pod keeps its token meanwhile.
///
/// What a policy that is there says now is not looked at: that counts when the next token is made.
pub(super) fn is_given(
    snapshot: &Snapshot,
    issuer: &Issuer,
    claims: &Claims,
    now: Timestamp,
) -> bool {
    let policy = (claims.namespace.as_str(), claims.policy.as_str());
    let gave = snapshot.look_at_policy(policy, |policy| {
        let spec = policy.spec.as_ref();
        spec.map_or(true, |spec| spec.seniority.created <= claims.issued)
    });
    gave.unwrap_or(false)
        || is_just_made(claims, now)
        || by_another(snapshot, issuer, claims, now).unwrap_or(false)
}

fn by_another(
    snapshot: &Snapshot,
    issuer: &Issuer,
    claims: &Claims,
    now: Timestamp,
) -> Option<bool> {
    let (within, account) = (claims.namespace.as_str(), claims.service_account.as_str());
    let account = snapshot.service_account(within, account)?;
    let pod = snapshot.pod(within, claims.pod.as_str())?;
    let subject = Arc::new(Subject {
        namespace: claims.namespace.clone(),
        service_account: claims.service_account.clone(),
        service_account_uid: claims.service_account_uid.clone(),
        pod: claims.pod.clone(),
        pod_uid: claims.pod_uid.clone(),
        labels: pod.details.labels.clone(),
        annotations: account.annotations,
    });
    let (audience, scopes) = (claims.audience.as_str(), Some(&claims.scopes));
    let given = snapshot.decide(now, |scene| {
        decide_for(scene, &subject, &issuer.url, audience, scopes).is_ok()
    });
    Some(given)
}

/// Whether another replica may have known what the token rests on before this one.
fn is_just_made(claims: &Claims, now: Timestamp) -> bool {
    now.duration_since(claims.issued) <= BEHIND
}

/// How far a watch may be behind the API server.
const BEHIND: SignedDuration = SignedDuration::from_secs(10);
