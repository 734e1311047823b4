//! A pod without the sidecar, as its metadata tells of it.

use std::collections::BTreeMap;

use hallpass_core::name::ObjectName;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Time};
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
    pub(super) uid: String,
    pub(super) labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owner_references: Vec<Owner>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Value>,
}

/// How a pod is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct State {
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
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

impl State {
    pub(super) fn is_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        conditions.any(|c| c.r#type == "Ready" && c.status == "True")
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

    /// When it was created.
    pub(super) fn created(&self) -> Option<Timestamp> {
        self.creation_timestamp.as_ref().map(|time| time.0)
    }

    /// Whether another one that may have the sidecar takes its place where it goes.
    ///
    /// What is not known to make pods anew is taken for what does not: a Job or a workflow counts a pod that goes as
    /// failed. And where its own label says neither `"true"` nor `"false"`, another pod like it is refused. Nor is one whose
    /// annotations keep what drains nodes away from it.
    pub(super) fn is_replaced(&self) -> bool {
        let replacing = self
            .controller()
            .is_some_and(|o| REPLACING.contains(&(o.api_version.as_str(), o.kind.as_str())));
        let says =
            |(key, value): &(&str, &str)| self.annotations.get(*key).is_some_and(|v| v == value);
        let stays = STAYING.iter().any(says);
        replacing && !stays && (self.asks() || !self.labels.contains_key(INJECT))
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

    /// What makes its like, by name: the workload, or else the controller; another version of it is the same.
    pub(super) fn made_by(&self) -> String {
        self.workload().unwrap_or_else(|| {
            let by = self.responsible();
            [by.api_version, by.kind, by.name]
                .map(Option::unwrap_or_default)
                .join("/")
        })
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

/// The controllers that make a pod anew that was evicted.
const REPLACING: [(&str, &str); 4] = [
    (APPS, "ReplicaSet"),
    (APPS, "StatefulSet"),
    (APPS, "DaemonSet"),
    ("v1", "ReplicationController"),
];

/// The annotations by which a pod tells those that move pods that it is to stay.
const STAYING: [(&str, &str); 2] = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
];

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
    fn what_nothing_is_known_to_make_anew_is_not_replaced() {
        for (api, kind, replaced) in [
            ("apps/v1", "ReplicaSet", true),
            ("apps/v1", "StatefulSet", true),
            ("apps/v1", "DaemonSet", true),
            ("v1", "ReplicationController", true),
            ("batch/v1", "Job", false),
            ("v1", "Node", false),
            ("tekton.dev/v1", "TaskRun", false),
            ("example.com/v1", "ReplicaSet", false),
        ] {
            let pod = pod(owner(api, kind, "orders"));
            assert_eq!(pod.is_replaced(), replaced, "{api} {kind}");
        }
        let mut bare = pod(owner("apps/v1", "ReplicaSet", "orders"));
        bare.owner_references.clear();
        assert!(!bare.is_replaced());
        let mut owned = pod(owner("apps/v1", "ReplicaSet", "orders"));
        owned.owner_references[0].controller = false;
        assert!(!owned.is_replaced());
    }

    #[test]
    fn a_pod_that_is_to_stay_where_it_is_is_left_there() {
        for (annotation, said, replaced) in [
            (
                "cluster-autoscaler.kubernetes.io/safe-to-evict",
                "false",
                false,
            ),
            (
                "cluster-autoscaler.kubernetes.io/safe-to-evict",
                "true",
                true,
            ),
            ("karpenter.sh/do-not-disrupt", "true", false),
            ("karpenter.sh/do-not-disrupt", "false", true),
        ] {
            let mut pod = pod(owner("apps/v1", "ReplicaSet", "orders"));
            pod.annotations
                .insert(annotation.to_owned(), said.to_owned());
            assert_eq!(pod.is_replaced(), replaced, "{annotation} {said}");
        }
    }

    #[test]
    fn versions_of_a_workload_are_made_by_the_same() {
        let made_by = |api, kind, name| pod(owner(api, kind, name)).made_by();
        assert_eq!(
            made_by("apps/v1", "ReplicaSet", "orders-5d9"),
            "deployment/orders"
        );
        assert_eq!(
            made_by("apps/v1", "ReplicaSet", "orders"),
            "apps/v1/ReplicaSet/orders"
        );
        assert_eq!(
            made_by("v1", "ReplicationController", "orders"),
            "v1/ReplicationController/orders"
        );
    }

    #[test]
    fn a_pod_whose_label_is_mistyped_would_be_refused_the_next_time() {
        for (said, replaced) in [("true", true), ("false", false), ("yes", false)] {
            let mut pod = pod(owner("apps/v1", "ReplicaSet", "orders"));
            pod.labels.insert(INJECT.to_owned(), said.to_owned());
            assert_eq!(pod.is_replaced(), replaced, "{said}");
        }
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
