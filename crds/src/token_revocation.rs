//! `TokenRevocation`: which tokens of one namespace are refused before they expire.
//!
//! The doc comments of the fields are what `kubectl explain tokenrevocations.hallpass.dev` prints: they
//! speak to the team of the namespace, at night.
#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each struct, with its visibility, into a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "two printer columns may have one type"
)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    revocation::{RevocationStatus, RevocationTerms},
    rule,
};

/// Which tokens are refused, and for how long. It cannot be changed; to end it, delete the object.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "hallpass.dev",
    version = "v1alpha1",
    kind = "TokenRevocation",
    plural = "tokenrevocations",
    shortname = "htr",
    category = "hallpass",
    namespaced,
    status = "RevocationStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    doc = "Refuses tokens that Hallpass issued before they expire by themselves: those of one pod, one service account \
           or one policy of this namespace, or one single token. Written by whoever answers for the namespace, when \
           a token may have leaked or a pod must be stopped. It is in force when its condition Enforced is True, and \
           no more when it is deleted.",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.target",
        description = "Whose tokens are refused."
    ),
    printcolumn(
        name = "Effect",
        type_ = "string",
        json_path = ".spec.effect",
        description = "Whether new tokens are refused too (Lock); Revoke where it is left out."
    ),
    printcolumn(
        name = "Enforced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Enforced\")].status",
        description = "True when the tokens are refused."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Enforced\")].reason",
        description = "One word that says why."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rule::revocation::immutable("TokenRevocation"),
    validation = rule::revocation::no_lock_of_a_token(),
    validation = rule::revocation::whole_token(),
    validation = rule::revocation::only_a_lock_ends()
)]
pub struct TokenRevocationSpec {
    /// Whose tokens are refused: exactly one of pod, serviceAccount, policy and tokenID. All names are
    /// those of objects in the namespace of this TokenRevocation.
    pub target: RevocationTarget,
    /// How far it goes.
    #[serde(flatten)]
    pub terms: RevocationTerms,
}

/// What is meant, within the namespace: exactly one of the fields.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::revocation::one_target())]
pub struct RevocationTarget {
    /// The name of a pod, such as orders-7c9f5d-x2x4q.
    ///
    /// A Deployment replaces a pod by one of another name, which this does not mean: to stop all of them,
    /// name the serviceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::resource_name("pod"))]
    pub pod: Option<String>,
    /// The name of a service account, such as orders: all pods that run under it are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::service_account_name())]
    pub service_account: Option<String>,
    /// The name of a TokenPolicy: the tokens that were issued because of it are meant, whoever holds
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::resource_name("TokenPolicy"))]
    pub policy: Option<String>,
    /// The identifier of one token: its claim jti, which is also in the log of whoever checked it. From 1
    /// to 64 printable ASCII characters, no spaces. Only a token that a pod of this namespace was given is
    /// meant. The token itself does not belong here.
    #[serde(rename = "tokenID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = rule::revocation::token_id())]
    pub token_id: Option<String>,
}
