//! What is done in one go, and of what there are events.

use std::{collections::BTreeMap, time::Duration};

use hallpass_core::revocation::{Kind, Reported};
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, token_revocation::TokenRevocation,
};
use tokio::time::Instant;

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

/// How many events there may be: the API server keeps each for an hour, and the status says the same.
#[derive(Debug)]
pub(super) struct Events {
    since: Instant,
    left: usize,
    /// How many a namespace has had.
    of: BTreeMap<Box<str>, usize>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            left: MOST_EVENTS,
            of: BTreeMap::new(),
        }
    }
}

impl Events {
    /// Whether an event tells of that. Half of them are for the cluster, and no namespace has many.
    fn tell(&mut self, says: Reported, namespace: Option<&str>) -> bool {
        let told = match says {
            Reported::Enforced | Reported::OutsideGuard => true,
            Reported::TooMany | Reported::Invalid => true,
            Reported::Nothing | Reported::Pending | Reported::Expired => false,
        };
        if self.since.elapsed() >= EVENTS_PER {
            *self = Self::default();
        }
        let had = namespace.and_then(|namespace| self.of.get(namespace));
        let shared = self.of.values().sum::<usize>() < MOST_EVENTS / 2;
        let fair = namespace.is_none() || (shared && had.is_none_or(|had| *had < SHARE));
        let told = told && fair && self.left > 0;
        self.left -= usize::from(told);
        if let Some(namespace) = namespace.filter(|_| told) {
            *self.of.entry(namespace.into()).or_default() += 1;
        }
        told
    }
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
        events: &mut Events,
    ) {
        let transition = events.tell(report.says, namespace);
        let (namespace, name) = (namespace.unwrap_or_default().into(), name.into());
        match kind {
            Kind::Namespaced => self.own.push(Write {
                namespace,
                name,
                uid: uid.into(),
                status: StatusOf::new(report.status),
                transition,
            }),
            Kind::Cluster => self.cluster.push(Write {
                namespace,
                name,
                uid: uid.into(),
                status: StatusOf::new(report.status),
                transition,
            }),
        }
    }
}

/// How many events there are at most in that time.
const MOST_EVENTS: usize = 500;
/// How many of them one namespace has at most.
const SHARE: usize = 50;

const EVENTS_PER: Duration = Duration::from_secs(360);

/// How many statuses, and how many deletions, are done in one go.
pub(super) const MOST: usize = 256;
