//! One replica's Lease, written and read.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};

use super::{Identity, LABEL, Observed};

/// What a replica says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// Its pod.
    pub(super) pod: Box<str>,
    /// Where it is reached, if it says so.
    pub(super) address: Option<SocketAddr>,
    /// What its watches have delivered; 0 where it does not say so.
    pub(super) epochs: [u64; 2],
    /// How many revocations it could not take in.
    pub(super) refused: usize,
    /// Which revocations it could not read, in one number.
    pub(super) unread: u64,
    /// When it knows the state of the cluster to have gone back.
    pub(super) went_back: Option<Timestamp>,
    /// The time of the last renewal by its own clock: only ever compared for a difference.
    pub(super) renewed: Option<Timestamp>,
    /// How long after a renewal it lives.
    pub(super) duration: Duration,
}

/// The Lease of that replica, whole.
pub(super) fn lease(
    identity: &Identity,
    observed: &Observed,
    went_back: Option<Timestamp>,
    now: Timestamp,
) -> Lease {
    let [namespaced, cluster] = observed.epochs;
    let refused = (observed.refused > 0).then(|| observed.refused.to_string());
    let unread = (observed.unread != 0).then(|| observed.unread.to_string());
    let annotations = [
        (ADDRESS, Some(identity.address.to_string())),
        (
            OBSERVED,
            Some(format!("{}={namespaced},{}={cluster}", KINDS[0], KINDS[1])),
        ),
        (REFUSED, refused),
        (UNREAD, unread),
        (WENT_BACK, went_back.map(|at| at.to_string())),
    ];
    let annotations = annotations.into_iter();
    let annotations = annotations.filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Lease {
        metadata: ObjectMeta {
            name: Some(identity.pod.to_string()),
            labels: Some([(LABEL.to_owned(), identity.release.to_string())].into()),
            annotations: Some(annotations.collect()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: identity.pod.to_string(),
                uid: identity.uid.to_string(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.pod.to_string()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

impl Report {
    /// What the Lease says. [`None`] for one without a name.
    pub(super) fn of(lease: Lease) -> Option<Self> {
        let annotations = lease.metadata.annotations.unwrap_or_default();
        let said = |key: &str| annotations.get(key).map(String::as_str);
        let spec = lease.spec.unwrap_or_default();
        let seconds = spec.lease_duration_seconds;
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Some(Self {
            pod: lease.metadata.name?.into(),
            address: said(ADDRESS).and_then(|text| text.parse().ok()),
            epochs: epochs(said(OBSERVED).unwrap_or_default()),
            refused: said(REFUSED)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
            unread: said(UNREAD)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
            went_back: said(WENT_BACK).and_then(|text| text.parse().ok()),
            renewed: spec.renew_time.map(|time| time.0),
            duration: seconds.map_or(DURATION, Duration::from_secs),
        })
    }
}

/// The numbers of both kinds; who says nothing of one has seen nothing of it.
fn epochs(text: &str) -> [u64; 2] {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let said: BTreeMap<_, _> = pairs.collect();
    KINDS.map(|kind| {
        said.get(kind)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    })
}

/// How long a replica lives after a renewal.
pub(super) const DURATION: Duration = Duration::from_secs(15);

/// The kinds, in the order of their epochs.
const KINDS: [&str; 2] = ["TokenRevocation", "ClusterTokenRevocation"];

const ADDRESS: &str = "hallpass.dev/address";
const OBSERVED: &str = "hallpass.dev/observed";
const REFUSED: &str = "hallpass.dev/refused";
const UNREAD: &str = "hallpass.dev/unread";
const WENT_BACK: &str = "hallpass.dev/went-back";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::fixture::identity, *};

    fn written(observed: &Observed, went_back: Option<&str>) -> Lease {
        let now = "2026-11-01T00:00:00.5Z".parse().unwrap();
        let went_back = went_back.map(|at| at.parse().unwrap());
        lease(&identity("hallpass-0", 1), observed, went_back, now)
    }

    #[test]
    fn a_lease_says_whose_it_is_where_that_is_and_what_it_has_seen() {
        let observed = Observed {
            epochs: [12, 15],
            refused: 3,
            unread: 18_446_744_073_709_551_615,
            revocations: 9,
        };
        let lease = written(&observed, Some("2026-10-31T23:00:00Z"));
        let stored = serde_json::to_value(&lease).unwrap();
        let expected = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": "hallpass-0",
                "labels": {"hallpass.dev/replica": "hallpass"},
                "annotations": {
                    "hallpass.dev/address": "127.0.0.1:1",
                    "hallpass.dev/observed": "TokenRevocation=12,ClusterTokenRevocation=15",
                    "hallpass.dev/refused": "3",
                    "hallpass.dev/unread": "18446744073709551615",
                    "hallpass.dev/went-back": "2026-10-31T23:00:00Z",
                },
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": "hallpass-0", "uid": "uid-hallpass-0"},
                ],
            },
            "spec": {
                "holderIdentity": "hallpass-0", "leaseDurationSeconds": 15,
                "renewTime": "2026-11-01T00:00:00.500000Z",
            },
        });
        assert_eq!(stored, expected);
        let report = Report::of(lease).unwrap();
        assert_eq!((report.epochs, report.refused), ([12, 15], 3));
        assert_eq!(report.unread, u64::MAX);
        assert_eq!(report.address, "127.0.0.1:1".parse().ok());
        assert_eq!(report.went_back, "2026-10-31T23:00:00Z".parse().ok());
    }

    #[test]
    fn what_there_is_none_of_is_not_said() {
        let stored = serde_json::to_value(written(&Observed::default(), None)).unwrap();
        let annotations = stored["metadata"]["annotations"].as_object().unwrap();
        let said: Vec<_> = annotations.keys().collect();
        assert_eq!(said, ["hallpass.dev/address", "hallpass.dev/observed"]);
    }

    #[test]
    fn who_does_not_say_what_it_has_seen_has_seen_nothing() {
        let said = |text: Value| {
            let lease =
                json!({"metadata": {"name": "a", "annotations": {"hallpass.dev/observed": text}}});
            let lease = serde_json::from_value(lease).unwrap();
            Report::of(lease).unwrap().epochs
        };
        assert_eq!(
            said(json!("ClusterTokenRevocation=7,TokenRevocation=5")),
            [5, 7]
        );
        assert_eq!(said(json!("TokenRevocation=5,Another=9")), [5, 0]);
        assert_eq!(
            said(json!("TokenRevocation=five,ClusterTokenRevocation=7")),
            [0, 7]
        );
        assert_eq!(said(json!("")), [0, 0]);
        assert_eq!(Report::of(Lease::default()), None);
    }
}
