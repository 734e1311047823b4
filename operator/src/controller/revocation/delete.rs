//! Deletes revocations that have expired and asked for it.

use std::fmt::Debug;

use futures::{StreamExt, stream};
use hallpass_core::revocation::Kind;
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, token_revocation::TokenRevocation,
};
use kube::{
    Client,
    api::{DeleteParams, Preconditions},
};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use super::{kind::StatusOf, pause::Pauses};
use crate::{
    call::{CallError, within},
    controller::status::Status,
    lease::tenure::Tenure,
    telemetry::log::Chain,
};

/// A revocation that is to be deleted.
#[derive(Debug)]
pub(super) struct Deletion {
    pub(super) kind: Kind,
    /// Empty for a kind that has none.
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
    pub(super) uid: Box<str>,
}

/// Deletes, a few at a time, while this replica leads.
pub(super) async fn carry_out(
    client: &Client,
    leader: &watch::Receiver<Tenure>,
    deletions: Vec<Deletion>,
    pauses: &mut Pauses,
) {
    let delete = |deletion: Deletion| async move {
        if !leader.borrow().may_write() {
            return None;
        }
        let outcome = match deletion.kind {
            Kind::Namespaced => delete::<StatusOf<TokenRevocation>>(client, &deletion).await,
            Kind::Cluster => delete::<StatusOf<ClusterTokenRevocation>>(client, &deletion).await,
        };
        Some((deletion, outcome))
    };
    let outcomes = stream::iter(deletions)
        .map(delete)
        .buffer_unordered(AT_ONCE);
    let outcomes: Vec<_> = outcomes.filter_map(std::future::ready).collect().await;
    for (deletion, outcome) in outcomes {
        note(&deletion, outcome, pauses);
    }
}

/// Deletes exactly that object: another one of its name is left alone.
async fn delete<S>(client: &Client, deletion: &Deletion) -> Result<(), CallError>
where
    S: Status<Kind: Clone + Debug>,
{
    let api = S::api(client.clone(), &deletion.namespace);
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: Some(deletion.uid.to_string()),
        resource_version: None,
    });
    within(api.delete(&deletion.name, &params)).await.map(drop)
}

fn note(deletion: &Deletion, outcome: Result<(), CallError>, pauses: &mut Pauses) {
    let Deletion {
        kind,
        namespace,
        name,
        uid,
    } = deletion;
    let (kind, namespace, name) = (kind.as_str(), &**namespace, &**name);
    let now = Instant::now();
    match outcome {
        Ok(()) => {
            info!(
                object.kind = kind,
                object.namespace = namespace,
                object.name = name,
                "an expired revocation was deleted"
            );
            pauses.deleted(uid, now);
        }
        // Somebody else did it: the watch tells.
        Err(error) if error.is_not_found() || error.is_conflict() => pauses.deleted(uid, now),
        Err(error) => {
            let chain = Chain(&error);
            if pauses.failed(uid, now, rand::random()) == 1 {
                warn!(object.kind = kind, object.namespace = namespace, object.name = name, error = %chain, "an expired revocation was not deleted");
            } else {
                debug!(object.kind = kind, object.namespace = namespace, object.name = name, error = %chain, "an expired revocation is still not deleted");
            }
        }
    }
}

/// How many are deleted at once.
const AT_ONCE: usize = 8;
