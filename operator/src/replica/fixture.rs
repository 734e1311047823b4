//! Replicas for tests.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::Event;
use tokio::time::Instant;

use super::{Identity, Observed, Replicas, report, standing::Standing};
use crate::{index::listed, telemetry::label::Kind};

/// The replica of that pod of the release `hallpass`, at that port of this machine.
pub(super) fn identity(pod: &str, port: u16) -> Identity {
    Identity {
        namespace: "hallpass-system".into(),
        release: "hallpass".into(),
        pod: pod.into(),
        uid: format!("uid-{pod}").into(),
        address: ([127, 0, 0, 1], port).into(),
    }
}

/// The Lease of that pod that has seen those versions, renewed at that second of its clock.
pub(super) fn lease(pod: &str, epochs: [u64; 2], renewed: i64) -> Lease {
    let observed = Observed {
        epochs,
        ..Observed::default()
    };
    let renewed = Timestamp::from_second(renewed).unwrap();
    report::lease(&identity(pod, 1), &observed, None, renewed)
}

impl Replicas {
    /// The watch of the replica `own` has listed exactly those Leases.
    pub(super) fn listed(own: &str, leases: Vec<Lease>, now: Instant) -> Self {
        let replicas = Self::default();
        replicas.be(own);
        replicas.take(listed(leases), now);
        replicas
    }

    /// The watch has delivered this Lease, new or changed.
    pub(super) fn deliver(&self, lease: Lease, now: Instant) {
        self.take(vec![Event::Apply(lease)], now);
    }
}

impl Standing {
    /// A minute before `now` the API server was last heard, and another replica lived: this one may not
    /// decide.
    pub(crate) fn be_cut_off(&self, now: Instant) {
        let before = now - Duration::from_secs(60);
        self.freshness().stamp(Kind::Namespace).proven(before);
        self.replicas()
            .take(listed([lease("other", [0, 0], 0)]), before);
    }

    /// The same, and the other replica has said that it is behind as well: nobody knows more.
    pub(crate) fn be_cut_off_with_all_others(&self, now: Instant) {
        self.be_cut_off(now);
        self.hear_that_all_others_are(now);
    }

    /// The other replica has said once more that it is behind.
    pub(crate) fn hear_that_all_others_are(&self, now: Instant) {
        self.note("other".into(), now, true);
    }

    /// The API server has answered a watch request of that time, and there is no other replica.
    pub(crate) fn be_current(&self, now: Instant) {
        self.freshness().stamp(Kind::Pod).proven(now);
        self.replicas().take(listed([]), now);
    }
}
