//! What the replicas know of each other.
//!
//! Each one keeps a [Lease](publish) of its own that says where it is and what it has seen of the cluster,
//! and each one [watches](known) those of all. The leader reads there what every replica has seen, and a
//! replica that the API server does not answer finds there [whom to ask](standing) whether it is alone
//! with that.

use std::net::SocketAddr;

use crate::config::Config;

#[cfg(test)]
mod fixture;
mod known;
pub mod peer;
pub mod publish;
mod report;
pub mod standing;

pub use self::known::{Minimum, Replicas};

/// What one replica's watches of revocations have delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// The newest resourceVersion of a TokenRevocation, and that of a ClusterTokenRevocation; bookmarks
    /// count.
    pub epochs: [u64; 2],
    /// How many revocations could not be taken in, since there are too many.
    pub refused: usize,
    /// Which revocations could not be read: the same number for the same ones, 0 for none.
    pub unread: u64,
    /// Counts up when a revocation came, changed or went: only then is it told at once.
    pub revocations: u64,
}

/// Who this replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The namespace of the release.
    pub namespace: Box<str>,
    /// The name of the release's objects, which all of its replicas share.
    pub release: Box<str>,
    /// The pod, and the name of its Lease.
    pub pod: Box<str>,
    /// Its uid: the Lease goes with it.
    pub uid: Box<str>,
    /// Where the other replicas reach it.
    pub address: SocketAddr,
}

impl Identity {
    /// As the configuration says it.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            namespace: config.names.namespace().as_str().into(),
            release: config.names.lease().into(),
            pod: config.pod.as_str().into(),
            uid: config.pod_uid.as_str().into(),
            address: (config.pod_ip, config.api_addr.port()).into(),
        }
    }

    /// What the Leases of all of them are selected by.
    #[must_use]
    fn selector(&self) -> String {
        format!("{LABEL}={}", self.release)
    }
}

/// On every such Lease: which release its replica is of.
const LABEL: &str = "hallpass.dev/replica";
