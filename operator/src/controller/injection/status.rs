//! The condition `Injected` of a TokenPolicy, which has an owner of its own: the other fields of the status
//! are the policy controller's, and neither takes back what the other wrote.

use std::{sync::Arc, time::Duration};

use hallpass_core::policy::Policy;
use hallpass_crds::token_policy::{TokenPolicy, TokenPolicyStatus};
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
    /// Pods come and go, and the message names them.
    const PAUSE: Duration = Duration::from_secs(600);

    fn with_conditions(&self, conditions: Vec<Condition>) -> Self {
        Self { conditions }
    }

    fn with_counts_of(&self, old: &Self) -> Self {
        let mut same = self.clone();
        if let (Some(condition), Some(old)) = (same.conditions.first_mut(), reported(old)) {
            condition.message.clone_from(&old.message);
        }
        same
    }
}

/// The stored policy with the condition of this controller, if there is anything to be said of it: `lacks` tells
/// whether a pod of it lacks the sidecar.
///
/// Nothing is said where nothing is reported on the policy yet: its condition Ready comes first, in time and in
/// the list. Nor that all is well where nothing was ever wrong: most policies are written once, not twice. One that says
/// something else by now is looked at again.
pub(super) fn of(
    record: &PolicyRecord,
    policy: &Policy,
    lacks: bool,
) -> Option<Record<Policy, InjectionStatus>> {
    let spec = record
        .spec
        .as_ref()
        .ok()
        .filter(|spec| ***spec == *policy)?;
    let status = record.status.as_ref()?;
    status.condition(TokenPolicyStatus::CONDITION)?;
    let injected = status.condition(CONDITION);
    (lacks || injected.is_some()).then(|| Record {
        name: record.name.clone(),
        uid: record.uid.clone(),
        resource_version: record.resource_version.clone(),
        generation: record.generation,
        status: injected.map(InjectionStatus::new),
        spec: Ok(Arc::clone(spec)),
        hold: None,
    })
}
