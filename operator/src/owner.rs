//! Who owns what the operator makes in the cluster's scope: a ClusterRole of the chart, so that it goes
//! with the release.

use k8s_openapi::{api::rbac::v1::ClusterRole, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client, Resource};

use crate::{
    call::{CallError, within},
    config::Names,
};

/// Why it is not known who owns.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnerError {
    #[error("read the ClusterRole {name}, which is to own it")]
    Read {
        name: String,
        #[source]
        source: CallError,
    },
    #[error("the ClusterRole {0}, which is to own it, has no uid")]
    NoUid(String),
}

/// The owner: a namespaced object could own nothing in the cluster's scope.
pub(crate) async fn owner(client: &Client, names: &Names) -> Result<OwnerReference, OwnerError> {
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let name = names.operator_role();
    let role = within(roles.get_metadata(&name)).await;
    let uid = match role {
        Ok(role) => role.metadata.uid,
        Err(source) => return Err(OwnerError::Read { name, source }),
    };
    match uid {
        Some(uid) => Ok(reference(name, uid)),
        None => Err(OwnerError::NoUid(name)),
    }
}

/// What names the ClusterRole with that uid as the owner.
pub(crate) fn reference(name: String, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: ClusterRole::api_version(&()).into(),
        kind: ClusterRole::kind(&()).into(),
        name,
        uid,
        ..OwnerReference::default()
    }
}
