//! What injection looks at of a pod: nothing else of it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    bounded::{Element, First, Map},
    misfit::{MOST_CONTAINERS, is_our_mount},
    patch::SOCKET,
    place::OURS,
};

/// A pod as the API server shows it to admission: decoded, with its quantities in canonical form, and not yet
/// validated.
#[derive(Debug, Deserialize)]
pub struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) labels: Option<Map<String>>,
    pub(super) annotations: Option<Map<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) containers: Containers,
    pub(super) init_containers: Option<Containers>,
    pub(super) volumes: Option<First<Volume, 1>>,
    pub(super) image_pull_secrets: Option<First<Named, MOST_SECRETS>>,
    pub(super) service_account_name: Option<String>,
    pub(super) os: Option<Named>,
    pub(super) node_selector: Option<Map<String>>,
    pub(super) host_network: Option<bool>,
    pub(super) dns_policy: Option<String>,
    pub(super) resources: Option<OwnResources>,
}

/// One more than a pod may have: enough to refuse it.
type Containers = First<Container, { MOST_CONTAINERS + 1 }>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    #[serde(default)]
    pub(super) name: String,
    pub(super) image: Option<String>,
    pub(super) restart_policy: Option<String>,
    pub(super) volume_mounts: Option<First<Mount, 1>>,
    pub(super) env: Option<First<Variable, 1>>,
    pub(super) resources: Option<ContainerResources>,
}

/// A Secret or an operating system.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) name: String,
}

/// One with a name that is reserved matters.
#[derive(Debug, Deserialize)]
pub(super) struct Volume {
    #[serde(default)]
    pub(super) name: String,
}

/// The one that names the socket matters.
#[derive(Debug, Deserialize)]
pub(super) struct Variable {
    #[serde(default)]
    pub(super) name: String,
}

/// One that takes what is the sidecar's matters.
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
    pub(super) requests: Option<Map<IgnoredAny>>,
    pub(super) limits: Option<Map<IgnoredAny>>,
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

impl Element for Container {}

impl Element for Named {}

impl Element for Volume {
    fn matters(&self) -> bool {
        self.name.starts_with(OURS)
    }
}

impl Element for Variable {
    fn matters(&self) -> bool {
        self.name == SOCKET
    }
}

impl Element for Mount {
    fn matters(&self) -> bool {
        is_our_mount(self)
    }
}

impl Pod {
    /// The labels that it has now.
    #[must_use]
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.metadata.labels.as_deref()
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
        let annotations = self.metadata.annotations.as_deref().into_iter();
        annotations.flatten().map(|(key, _)| key.as_str())
    }

    pub(super) fn init_containers(&self) -> &[Container] {
        self.spec.init_containers.as_deref().unwrap_or_default()
    }

    /// Every container, init containers last.
    pub(super) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.spec.containers.iter().chain(self.init_containers())
    }

    /// The sidecar and its place among the init containers, if the pod has been injected or says so.
    pub(super) fn sidecar(&self) -> Option<(usize, &Container)> {
        let mut inits = self.init_containers().iter().enumerate();
        inits.find(|(_, container)| container.name == SIDECAR)
    }
}

/// The name of the sidecar's container.
pub(super) const SIDECAR: &str = "hallpass";

/// The service account of a pod that names none.
const DEFAULT: &str = "default";

/// Of more, those are not looked for that the sidecar's are compared with: they would be named twice, which
/// changes nothing.
const MOST_SECRETS: usize = 4096;
