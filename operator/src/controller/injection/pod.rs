//! A pod without the sidecar, as its metadata tells of it.

use std::collections::BTreeMap;

use hallpass_core::name::ObjectName;
use k8s_openapi::api::core::v1::ObjectReference;
use serde::Deserialize;
use serde_json::Value;

/// A page of a list of pods: what is used of their metadata. The rest takes no memory and may be of any
/// depth.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    pub(super) metadata: PageMetadata,
    /// [`None`] where there are none: lists of metadata say `null` then.
    items: Option<Vec<Item>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PageMetadata {
    #[serde(rename = "continue")]
    pub(super) more: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Item {
    pub(super) metadata: Lacking,
}

/// A pod that lacks the label of the injected ones.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Lacking {
    pub(super) namespace: String,
    pub(super) name: String,
    uid: String,
    pub(super) labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owner_references: Vec<Owner>,
    deletion_timestamp: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Owner {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    controller: bool,
}

impl Page {
    pub(super) fn items(self) -> Vec<Item> {
        self.items.unwrap_or_default()
    }
}

impl Lacking {
    /// Whether it goes on running without the sidecar and could have it: it is not on its way out, and no
    /// mirror of what a kubelet runs from a file.
    pub(super) fn counts(&self) -> bool {
        self.deletion_timestamp.is_none() && !self.annotations.contains_key(MIRROR)
    }

    /// Whether its own label asks for the sidecar.
    pub(super) fn asks(&self) -> bool {
        self.labels
            .get(INJECT)
            .is_some_and(|value| value == INJECTED)
    }

    /// Whose turn it is: the controller that made it, or the pod itself where nothing did.
    pub(super) fn responsible(&self) -> ObjectReference {
        let of = |api_version: &str, kind: &str, name: &str, uid: &str| ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        match self.controller() {
            Some(owner) => of(&owner.api_version, &owner.kind, &owner.name, &owner.uid),
            None => of("v1", "Pod", &self.name, &self.uid),
        }
    }

    /// The workload that `kubectl rollout restart` takes, if it is of one.
    ///
    /// Kubernetes takes any text as the name of an owner, and this one ends up in a command that somebody is to
    /// run: what is no name of an object is none here.
    pub(super) fn workload(&self) -> Option<String> {
        let Owner { kind, name, .. } = self.controller().filter(|o| o.api_version == APPS)?;
        let (kind, name) = match kind.as_str() {
            "StatefulSet" => ("statefulset", name.as_str()),
            "DaemonSet" => ("daemonset", name.as_str()),
            // Its name is that of the Deployment and the hash of the template, which its pods have as a label.
            "ReplicaSet" => {
                let hash = self.labels.get(TEMPLATE_HASH)?;
                let deployment = name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
                ("deployment", deployment)
            }
            _ => return None,
        };
        // Its error says no more than that.
        let name = ObjectName::parse(name).ok()?;
        Some(format!("{kind}/{name}"))
    }

    fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}

/// The label by which a pod or a namespace asks for the sidecar, and what it says then.
pub(super) const INJECT: &str = "hallpass.dev/inject";
pub(super) const INJECTED: &str = "true";

/// On a pod that only mirrors what a kubelet already runs.
const MIRROR: &str = "kubernetes.io/config.mirror";

const APPS: &str = "apps/v1";
const TEMPLATE_HASH: &str = "pod-template-hash";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(owner: Value) -> Lacking {
        serde_json::from_value(json!({
            "namespace": "shop", "name": "orders-5d9-x", "uid": "u",
            "labels": {"pod-template-hash": "5d9"}, "ownerReferences": [owner],
        }))
        .unwrap()
    }

    fn owner(api: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": api, "kind": kind, "name": name, "uid": "o", "controller": true})
    }

    #[test]
    fn a_workload_is_named_as_kubectl_restarts_it() {
        for (api, kind, name, workload) in [
            (
                "apps/v1",
                "ReplicaSet",
                "orders-5d9",
                Some("deployment/orders"),
            ),
            ("apps/v1", "ReplicaSet", "orders", None),
            (
                "apps/v1",
                "StatefulSet",
                "orders",
                Some("statefulset/orders"),
            ),
            ("apps/v1", "DaemonSet", "orders", Some("daemonset/orders")),
            ("batch/v1", "Job", "orders", None),
            ("example.com/v1", "DaemonSet", "orders", None),
        ] {
            let pod = pod(owner(api, kind, name));
            assert_eq!(pod.workload().as_deref(), workload, "{kind} {name}");
        }
    }

    #[test]
    fn t30_what_is_no_name_of_an_object_is_in_no_command() {
        for name in [
            "orders;reboot",
            "$(reboot)",
            "`reboot`",
            "orders reboot",
            "orders\nreboot",
            "--all",
            "orders/x",
            "Orders",
            "",
        ] {
            for (kind, name) in [
                ("StatefulSet", name.to_owned()),
                ("DaemonSet", name.to_owned()),
                ("ReplicaSet", format!("{name}-5d9")),
            ] {
                let pod = pod(owner("apps/v1", kind, &name));
                assert_eq!(pod.workload(), None, "{kind} {name:?}");
            }
        }
    }

    #[test]
    fn whose_turn_it_is_is_the_controller_and_no_other_owner() {
        let mut other = owner("v1", "ConfigMap", "config");
        other["controller"] = json!(false);
        let told = pod(other).responsible();
        assert_eq!(
            (told.kind.as_deref(), told.uid.as_deref()),
            (Some("Pod"), Some("u"))
        );
        let told = pod(owner("apps/v1", "ReplicaSet", "orders-5d9")).responsible();
        assert_eq!(
            (told.kind.as_deref(), told.uid.as_deref()),
            (Some("ReplicaSet"), Some("o"))
        );
    }

    #[test]
    fn t27_what_leaves_and_what_mirrors_does_not_count() {
        assert!(pod(json!({})).counts());
        for gone in [
            json!({"deletionTimestamp": "2026-11-01T12:00:00Z"}),
            json!({"annotations": {"kubernetes.io/config.mirror": "x"}}),
        ] {
            let pod: Lacking = serde_json::from_value(gone.clone()).unwrap();
            assert!(!pod.counts(), "{gone}");
        }
    }
}
