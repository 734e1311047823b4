//! What is done in one go.

use hallpass_core::revocation::{Kind, Reported};
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, token_revocation::TokenRevocation,
};

use super::{delete::Deletion, desired::Report, kind::StatusOf};
use crate::controller::plan::Write;

/// What came of it. What is in it is bounded, whatever is to be done.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) own: Vec<Write<StatusOf<TokenRevocation>>>,
    pub(super) cluster: Vec<Write<StatusOf<ClusterTokenRevocation>>>,
    pub(super) deletions: Vec<Deletion>,
    /// How many were looked at for it.
    pub(super) looked: usize,
}

impl Round {
    /// Whether no more is done in one go.
    pub(super) fn is_full(&self) -> bool {
        self.own.len() + self.cluster.len() >= MOST
    }

    /// Whether nothing is to be done.
    pub(super) fn is_idle(&self) -> bool {
        self.own.is_empty() && self.cluster.is_empty() && self.deletions.is_empty()
    }

    /// Takes up a status that is to be written.
    pub(super) fn write(
        &mut self,
        (kind, namespace, name, uid): (Kind, Option<&str>, &str, &str),
        report: Report,
    ) {
        let transition = match report.says {
            Reported::Enforced | Reported::OutsideGuard => true,
            Reported::TooMany | Reported::Invalid => true,
            Reported::Nothing | Reported::Pending | Reported::Expired => false,
        };
        let (namespace, name) = (namespace.unwrap_or_default().into(), name.into());
        // Of each there may be thousands in memory, without their versions: what is said twice, or late, is looked
        // at again when the watch brings it back.
        match kind {
            Kind::Namespaced => self.own.push(Write {
                namespace,
                name,
                uid: uid.into(),
                resource_version: None,
                status: StatusOf::new(report.status),
                transition,
            }),
            Kind::Cluster => self.cluster.push(Write {
                namespace,
                name,
                uid: uid.into(),
                resource_version: None,
                status: StatusOf::new(report.status),
                transition,
            }),
        }
    }
}

/// How many statuses, and how many deletions, are done in one go.
pub(super) const MOST: usize = 256;
