//! Tells every pod whom to trust: the ClusterTrustBundle with the CAs.

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

/// The trust bundle as it is at one time.
#[derive(Debug)]
pub(super) struct Found {
    bundle: Option<ClusterTrustBundle>,
    owner: OwnerReference,
}

/// Reads it.
pub(super) async fn find(client: &Client, names: &Names) -> Result<Found, BundleError> {
    let owner = owner(client, names).await.map_err(BundleError::Owner)?;
    let bundles: Api<ClusterTrustBundle> = Api::all(client.clone());
    let name = names.trust_bundle();
    match within(bundles.get_opt(&name)).await {
        Ok(bundle) => Ok(Found { bundle, owner }),
        Err(source) => Err(BundleError::Read { name, source }),
    }
}

impl Found {
    /// Whether it says all that it is to say.
    pub(super) fn says(&self, names: &Names, ca: &str) -> bool {
        let desired = desired(names, self.owner.clone(), ca);
        self.bundle
            .as_ref()
            .is_some_and(|found| is_equal(found, &desired))
    }

    /// Publishes `ca`, unless it is there already. Returns whether something was written: not where somebody
    /// else wrote since it was read, so that a leader of before undoes nothing.
    pub(super) async fn publish(
        self,
        client: &Client,
        names: &Names,
        ca: &str,
    ) -> Result<bool, BundleError> {
        if self.says(names, ca) {
            return Ok(false);
        }
        let mut desired = desired(names, self.owner, ca);
        desired.metadata.resource_version = self
            .bundle
            .and_then(|found| found.metadata.resource_version);
        let bundles: Api<ClusterTrustBundle> = Api::all(client.clone());
        let name = names.trust_bundle();
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        match within(bundles.patch(&name, &parameters, &Patch::Apply(&desired))).await {
            Ok(_) => Ok(true),
            Err(source) if source.is_conflict() => Ok(false),
            Err(source) => Err(BundleError::Write { name, source }),
        }
    }
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
