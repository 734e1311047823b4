//! The two kinds, whose status is one type.

use std::marker::PhantomData;

use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, revocation::RevocationStatus,
    token_revocation::TokenRevocation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client};
use serde::Serialize;

use super::desired::ENFORCED;
use crate::{controller::status::Status, index::Stored};

/// The status of a revocation of that kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct StatusOf<K>(RevocationStatus, PhantomData<K>);

impl<K> StatusOf<K> {
    pub(super) const fn new(status: RevocationStatus) -> Self {
        Self(status, PhantomData)
    }

    /// What it says.
    pub(super) const fn status(&self) -> &RevocationStatus {
        &self.0
    }
}

impl Status for StatusOf<TokenRevocation> {
    type Kind = TokenRevocation;

    const CONDITION: &'static str = ENFORCED;

    fn api(client: Client, namespace: &str) -> Api<Stored<TokenRevocation>> {
        Api::namespaced(client, namespace)
    }

    fn conditions(&self) -> &[Condition] {
        &self.0.conditions
    }
}

impl Status for StatusOf<ClusterTokenRevocation> {
    type Kind = ClusterTokenRevocation;

    const CONDITION: &'static str = ENFORCED;

    fn api(client: Client, _: &str) -> Api<Stored<ClusterTokenRevocation>> {
        Api::all(client)
    }

    fn conditions(&self) -> &[Condition] {
        &self.0.conditions
    }
}
