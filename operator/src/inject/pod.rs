//! What injection looks at of a pod: nothing else of it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

/// A pod as the API server shows it to admission: decoded, with its quantities in canonical form, and not yet
/// validated.
#[derive(Debug, Deserialize)]
pub struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) containers: Vec<Container>,
    pub(super) init_containers: Option<Vec<Container>>,
    pub(super) volumes: Option<Vec<Named>>,
    pub(super) image_pull_secrets: Option<Vec<Named>>,
    pub(super) service_account_name: Option<String>,
    pub(super) os: Option<Named>,
    pub(super) node_selector: Option<BTreeMap<String, String>>,
    pub(super) host_network: Option<bool>,
    pub(super) dns_policy: Option<String>,
    pub(super) resources: Option<OwnResources>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    #[serde(default)]
    pub(super) name: String,
    pub(super) restart_policy: Option<String>,
    pub(super) volume_mounts: Option<Vec<Mount>>,
    pub(super) env: Option<Vec<Named>>,
    pub(super) resources: Option<ContainerResources>,
}

/// A volume, a variable, a Secret or an operating system.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) mount_path: String,
}

/// The resources of the whole pod: here it only counts whether there are any.
#[derive(Debug, Deserialize)]
pub(super) struct OwnResources {
    pub(super) requests: Option<BTreeMap<String, IgnoredAny>>,
    pub(super) limits: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ContainerResources {
    pub(super) requests: Option<Amounts>,
    pub(super) limits: Option<Amounts>,
}

/// Those that make the class of a pod (QoS).
#[derive(Debug, Deserialize)]
pub(super) struct Amounts {
    pub(super) cpu: Option<String>,
    pub(super) memory: Option<String>,
}

impl Pod {
    /// The labels that it has now.
    #[must_use]
    pub const fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.metadata.labels.as_ref()
    }

    /// The service account that it is to run under.
    #[must_use]
    pub fn service_account(&self) -> &str {
        self.spec.service_account_name.as_deref().unwrap_or(DEFAULT)
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key).map(String::as_str)
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata
            .annotations
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// The keys of its annotations.
    pub(super) fn annotations(&self) -> impl Iterator<Item = &str> {
        let annotations = self.metadata.annotations.iter().flatten();
        annotations.map(|(key, _)| key.as_str())
    }

    pub(super) fn init_containers(&self) -> &[Container] {
        self.spec.init_containers.as_deref().unwrap_or_default()
    }

    /// Every container, init containers last.
    pub(super) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.spec.containers.iter().chain(self.init_containers())
    }

    /// Whether it has been injected, or says so.
    pub(super) fn has_sidecar(&self) -> bool {
        let mut inits = self.init_containers().iter();
        inits.any(|container| container.name == SIDECAR)
    }
}

/// The name of the sidecar's container.
pub(super) const SIDECAR: &str = "hallpass";

/// The service account of a pod that names none.
const DEFAULT: &str = "default";
