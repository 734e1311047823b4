//! Which pods and which namespaces are meant, by their labels.
#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each struct, with its visibility, into a function"
)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rule;

/// The labels that a pod must carry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSelector {
    /// The pod must carry every one of these labels with exactly this value, such as app: orders.
    /// From 1 to 16.
    #[schemars(extend(
        "maxProperties" = 16,
        "additionalProperties" = {"type": "string", "maxLength": 63}
    ))]
    #[x_kube(
        validation = rule::some_pod_label(),
        validation = rule::label_keys(),
        validation = rule::label_values()
    )]
    pub match_labels: BTreeMap<String, String>,
}

/// The labels that a namespace must carry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// The namespace must carry every one of these labels with exactly this value. The label
    /// kubernetes.io/metadata.name is on every namespace and holds its name. From 1 to 16.
    ///
    /// Who may label a namespace decides whether it is meant.
    #[schemars(extend(
        "maxProperties" = 16,
        "additionalProperties" = {"type": "string", "maxLength": 63}
    ))]
    #[x_kube(
        validation = rule::some_namespace_label(),
        validation = rule::label_keys(),
        validation = rule::label_values()
    )]
    pub match_labels: BTreeMap<String, String>,
}
