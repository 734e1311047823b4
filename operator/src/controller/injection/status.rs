//! The condition `Injected` of a TokenPolicy, which has an owner of its own: the other fields of the status
//! are the policy controller's, and neither takes back what the other wrote.

use hallpass_core::policy::Policy;
use hallpass_crds::token_policy::TokenPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client};
use serde::Serialize;

use super::desired::CONDITION;
use crate::{
    controller::status::{Kept, Status, reported},
    index::{PolicyRecord, Record, Stored},
};

/// What this controller writes of a status.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InjectionStatus {
    conditions: Vec<Condition>,
}

impl InjectionStatus {
    pub(super) fn new(condition: Condition) -> Self {
        Self {
            conditions: vec![condition],
        }
    }

    /// Whether nothing is wrong.
    pub(super) fn holds(&self) -> bool {
        reported(self).is_some_and(|condition| condition.status == "True")
    }
}

impl Status for InjectionStatus {
    type Kind = TokenPolicy;

    const CONDITION: &'static str = CONDITION;
    const MANAGER: &'static str = "hallpass-operator-injection";

    fn api(client: Client, namespace: &str) -> Api<Stored<TokenPolicy>> {
        Api::namespaced(client, namespace)
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Kept for InjectionStatus {
    fn with_conditions(&self, conditions: Vec<Condition>) -> Self {
        Self { conditions }
    }

    /// It has none beside the message, which names pods.
    fn with_counts_of(&self, _: &Self) -> Self {
        self.clone()
    }
}

/// The stored policy with what this controller writes of its status; [`None`] where nothing is reported on it
/// yet: its condition Ready comes first, in time and in the list.
pub(super) fn of(record: PolicyRecord) -> Option<Record<Policy, InjectionStatus>> {
    let status = record.status?;
    reported(&status)?;
    Some(Record {
        name: record.name,
        uid: record.uid,
        resource_version: record.resource_version,
        generation: record.generation,
        status: Some(InjectionStatus {
            conditions: status.conditions,
        }),
        spec: record.spec,
        hold: None,
    })
}
