//! Tells every pod whom to trust: the ClusterTrustBundle with the CA.

use k8s_openapi::{
    api::certificates::v1::{ClusterTrustBundle, ClusterTrustBundleSpec},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::ObjectMeta,
};

use super::store::FIELD_MANAGER;
use crate::{
    call::{CallError, within},
    config::Names,
    owner::{OwnerError, owner},
};

/// Why the CA could not be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("find the owner of the trust bundle")]
    Owner(#[source] OwnerError),
    #[error("read the trust bundle {name}")]
    Read {
        name: String,
        #[source]
        source: CallError,
    },
    #[error("write the trust bundle {name}")]
    Write {
        name: String,
        #[source]
        source: CallError,
    },
}

/// Publishes `ca`, unless it is there already. Returns whether something was written.
pub(super) async fn publish(client: &Client, names: &Names, ca: &str) -> Result<bool, BundleError> {
    let bundles: Api<ClusterTrustBundle> = Api::all(client.clone());
    let name = names.trust_bundle();
    let owner = owner(client, names).await.map_err(BundleError::Owner)?;
    let desired = desired(names, owner, ca);
    let found = within(bundles.get_opt(&name))
        .await
        .map_err(|source| BundleError::Read {
            name: name.clone(),
            source,
        })?;
    if found.is_some_and(|found| is_equal(&found, &desired)) {
        return Ok(false);
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    within(bundles.patch(&name, &parameters, &Patch::Apply(&desired)))
        .await
        .map_err(|source| BundleError::Write { name, source })?;
    Ok(true)
}

/// What is to be there.
fn desired(names: &Names, owner: OwnerReference, ca: &str) -> ClusterTrustBundle {
    ClusterTrustBundle {
        metadata: ObjectMeta {
            name: Some(names.trust_bundle()),
            // Without an owner it would outlive the release.
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: ClusterTrustBundleSpec {
            signer_name: Some(SIGNER.into()),
            trust_bundle: ca.into(),
        },
    }
}

/// Whether what was found says all that is desired. It may say more: labels, other owners.
fn is_equal(found: &ClusterTrustBundle, desired: &ClusterTrustBundle) -> bool {
    let owners = |b: &ClusterTrustBundle| b.metadata.owner_references.clone().unwrap_or_default();
    let found_owners = owners(found);
    found.spec == desired.spec
        && owners(desired)
            .iter()
            .all(|owner| found_owners.contains(owner))
}

/// The signer whose bundles a sidecar's identity volume holds.
const SIGNER: &str = "hallpass.dev/serving";

#[cfg(test)]
mod tests {
    use hallpass_core::name::Namespace;

    use super::*;

    fn bundle(uid: &str, ca: &str) -> ClusterTrustBundle {
        let names = Names::new(
            Namespace::parse("hallpass").unwrap(),
            Namespace::parse("hallpass-system").unwrap(),
        );
        let owner = crate::owner::reference("hallpass-operator".into(), uid.into());
        desired(&names, owner, ca)
    }

    #[test]
    fn the_bundle_is_named_by_its_signer_and_owned_by_the_role() {
        let bundle = bundle("u-1", "ca");
        assert_eq!(
            bundle.metadata.name.as_deref(),
            Some("hallpass.dev:serving:hallpass-system")
        );
        assert_eq!(
            bundle.spec.signer_name.as_deref(),
            Some("hallpass.dev/serving")
        );
        let owner = &bundle.metadata.owner_references.unwrap()[0];
        assert_eq!(
            (&*owner.api_version, &*owner.kind),
            ("rbac.authorization.k8s.io/v1", "ClusterRole")
        );
        assert_eq!((&*owner.name, &*owner.uid), ("hallpass-operator", "u-1"));
    }

    #[test]
    fn only_what_we_say_is_compared() {
        let mut found = bundle("u-1", "ca");
        found.metadata.labels = Some([("team".into(), "platform".into())].into());
        found.metadata.resource_version = Some("7".into());
        assert!(is_equal(&found, &bundle("u-1", "ca")));
        assert!(!is_equal(&found, &bundle("u-1", "another ca")));
        assert!(!is_equal(&found, &bundle("u-2", "ca")));
        found.metadata.owner_references = None;
        assert!(!is_equal(&found, &bundle("u-1", "ca")));
    }
}
