//! A `TokenRevocation` or `ClusterTokenRevocation` in its raw form.

use hallpass_core::revocation::{RawRevocation, RawTarget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::{
    cluster_token_revocation::{ClusterRevocationTarget, ClusterTokenRevocation},
    revocation::{RevocationStatus, RevocationTerms},
    token_revocation::{RevocationTarget, TokenRevocation},
};

impl From<&TokenRevocation> for RawRevocation {
    fn from(resource: &TokenRevocation) -> Self {
        let RevocationTarget {
            pod,
            service_account,
            policy,
            token_id,
        } = resource.spec.target.clone();
        let target = RawTarget {
            pod,
            service_account,
            policy,
            token_id,
            ..RawTarget::default()
        };
        let namespace = resource.metadata.namespace.clone().unwrap_or_default();
        Self {
            namespace: Some(namespace),
            ..raw(
                &resource.metadata,
                target,
                &resource.spec.terms,
                resource.status.as_ref(),
            )
        }
    }
}

impl From<&ClusterTokenRevocation> for RawRevocation {
    fn from(resource: &ClusterTokenRevocation) -> Self {
        let ClusterRevocationTarget {
            namespace,
            pod,
            service_account,
            policy,
            token_id,
            audience,
            key,
            issuer,
        } = resource.spec.target.clone();
        let target = RawTarget {
            namespace,
            pod,
            service_account,
            policy,
            token_id,
            audience,
            key,
            issuer,
        };
        raw(
            &resource.metadata,
            target,
            &resource.spec.terms,
            resource.status.as_ref(),
        )
    }
}

fn raw(
    metadata: &ObjectMeta,
    target: RawTarget,
    terms: &RevocationTerms,
    status: Option<&RevocationStatus>,
) -> RawRevocation {
    let metadata = metadata.clone();
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    RawRevocation {
        namespace: None,
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        created: time(&metadata.creation_timestamp).unwrap_or_default(),
        resource_version: metadata.resource_version.unwrap_or_default(),
        target,
        effect: terms.effect.map(|effect| effect.as_str().to_owned()),
        issued_before: time(&terms.issued_before),
        expires_at: time(&terms.expires_at),
        message: terms.message.clone(),
        // The schema has no negative one: such a number counts as none, and the object is kept.
        ttl_seconds_after_expired: terms
            .ttl_seconds_after_expired
            .and_then(|seconds| u32::try_from(seconds).ok()),
        epoch: status.and_then(|status| status.epoch.clone()),
        reported: status.map(RevocationStatus::reported).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use hallpass_core::revocation::{Effect, Kind, Reported, Target};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn metadata() -> serde_json::Value {
        json!({
            "name": "inc-123", "uid": "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11",
            "resourceVersion": "70", "creationTimestamp": "2026-11-25T01:42:07Z",
        })
    }

    #[test]
    fn a_lock_of_a_service_account_is_read_as_it_is_meant() {
        let mut metadata = metadata();
        metadata["namespace"] = "shop".into();
        let stored = json!({
            "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenRevocation", "metadata": metadata,
            "spec": {
                "target": {"serviceAccount": "orders"}, "effect": "Lock",
                "issuedBefore": "2026-11-25T01:42:00Z", "expiresAt": "2026-11-25T08:00:00Z",
                "message": "INC-123", "ttlSecondsAfterExpired": 60,
            },
            "status": {"epoch": "69", "conditions": []},
        });
        let resource: TokenRevocation = serde_json::from_value(stored).unwrap();
        let (target, revocation) = RawRevocation::from(&resource).parse().unwrap();
        assert_eq!(
            target,
            Target::ServiceAccount("shop".into(), "orders".into())
        );
        assert_eq!(revocation.kind, Kind::Namespaced);
        let made: Timestamp = "2026-11-25T01:42:07Z".parse().unwrap();
        assert_eq!(revocation.created, made.as_second());
        assert_eq!(revocation.terms().issued_before, Some(made.as_second() - 7));
        let until: Timestamp = "2026-11-25T08:00:00Z".parse().unwrap();
        assert_eq!(
            revocation.terms().effect,
            Effect::Lock {
                until: Some(until.as_second())
            }
        );
        assert_eq!(revocation.terms().message.as_deref(), Some("INC-123"));
        assert_eq!((revocation.ttl(), revocation.epoch), (Some(60), 69));
    }

    #[test]
    fn every_target_of_the_cluster_arrives() {
        for (target, expected) in [
            (
                json!({"namespace": "shop"}),
                Target::Namespace("shop".into()),
            ),
            (
                json!({"namespace": "shop", "pod": "a"}),
                Target::Pod("shop".into(), "a".into()),
            ),
            (
                json!({"namespace": "shop", "policy": "a"}),
                Target::Policy("shop".into(), "a".into()),
            ),
            (json!({"tokenID": "a"}), Target::Token(None, "a".into())),
            (json!({"audience": "a"}), Target::Audience("a".into())),
            (json!({"key": "a"}), Target::Key("a".into())),
            (json!({"issuer": "a"}), Target::Issuer("a".into())),
        ] {
            let stored = json!({
                "apiVersion": "hallpass.dev/v1alpha1", "kind": "ClusterTokenRevocation",
                "metadata": metadata(), "spec": {"target": target},
            });
            let resource: ClusterTokenRevocation = serde_json::from_value(stored).unwrap();
            let (read, revocation) = RawRevocation::from(&resource).parse().unwrap();
            assert_eq!((read, revocation.kind), (expected, Kind::Cluster));
        }
    }

    #[test]
    fn what_was_reported_is_known_again() {
        let status = |conditions: serde_json::Value| {
            let each = conditions.as_array().unwrap().iter().map(|c| {
                json!({
                    "type": c[0], "status": c[1], "reason": c[2], "message": "",
                    "lastTransitionTime": "2026-11-25T01:42:00Z",
                })
            });
            let conditions: Vec<_> = each.collect();
            let status = json!({"conditions": conditions});
            let status: RevocationStatus = serde_json::from_value(status).unwrap();
            status.reported()
        };
        for (reason, expected) in [
            ("Enforced", Reported::Enforced),
            ("OutsideGuard", Reported::OutsideGuard),
            ("Pending", Reported::Pending),
            ("TooMany", Reported::TooMany),
            ("Invalid", Reported::Invalid),
            ("Else", Reported::Nothing),
        ] {
            assert_eq!(status(json!([["Enforced", "False", reason]])), expected);
        }
        let over = json!([
            ["Enforced", "False", "Expired"],
            ["Expired", "True", "Expired"]
        ]);
        assert_eq!(status(over), Reported::Expired);
        assert_eq!(status(json!([])), Reported::Nothing);
    }
}
