//! Whether those that a token was made for are still there. Pure.

use hallpass_core::token::claims::Claims;
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
        issued,
        ..
    } = claims;
    let just_made = now.duration_since(*issued) <= BEHIND;
    let (within, account) = (namespace.as_str(), service_account.as_str());
    let account = snapshot.has_service_account(within, account, service_account_uid);
    let known = snapshot.look_at_pod(within, pod.as_str(), |pod| {
        pod.uid.is(pod_uid).then(|| pod.is_live(now))
    });
    (account || just_made) && known.flatten().unwrap_or(just_made)
}

/// How far a watch may be behind the API server.
const BEHIND: SignedDuration = SignedDuration::from_secs(10);
