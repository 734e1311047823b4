//! `ClusterTokenRevocation`: which tokens of the cluster are refused before they expire.
//!
//! The doc comments of the fields are what `kubectl explain clustertokenrevocations.hallpass.dev`
//! prints: they speak to the team that runs the platform, at night.
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
    kind = "ClusterTokenRevocation",
    plural = "clustertokenrevocations",
    shortname = "hctr",
    category = "hallpass",
    status = "RevocationStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    doc = "Refuses tokens that Hallpass issued before they expire by themselves, wherever in the cluster they are: those \
           of a namespace, of one pod, service account or policy in it, of one audience, one issuer or one of its keys, \
           or one single token. Written by the team that runs the platform. It is in force when its condition \
           Enforced is True, and no more when it is deleted.",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.target",
        description = "Which tokens are refused."
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
    validation = rule::revocation::immutable("ClusterTokenRevocation"),
    validation = rule::revocation::no_lock_of_a_token_or_key(),
    validation = rule::revocation::whole_token_or_key(),
    validation = rule::revocation::only_a_lock_ends()
)]
pub struct ClusterTokenRevocationSpec {
    /// Which tokens are refused: exactly one of pod, serviceAccount, policy, tokenID, audience, key and
    /// issuer, or namespace alone, which means all tokens that pods of that namespace hold.
    pub target: ClusterRevocationTarget,
    /// How far it goes.
    #[serde(flatten)]
    pub terms: RevocationTerms,
}

/// What is meant, within the cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rule::revocation::one_target_of_the_cluster(),
    validation = rule::revocation::some_namespace(),
    validation = rule::revocation::no_namespace()
)]
pub struct ClusterRevocationTarget {
    /// The name of the namespace whose pods hold the tokens. Alone it means all of them. Required with
    /// pod, serviceAccount and policy; refused with tokenID, audience, key and issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = rule::namespace_name())]
    pub namespace: Option<String>,
    /// The name of a pod of the namespace, such as orders-7c9f5d-x2x4q.
    ///
    /// A Deployment replaces a pod by one of another name, which this does not mean: to stop all of them,
    /// name the serviceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::resource_name("pod"))]
    pub pod: Option<String>,
    /// The name of a service account of the namespace, such as orders: all pods that run under it are
    /// meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::service_account_name())]
    pub service_account: Option<String>,
    /// The name of a TokenPolicy of the namespace: the tokens that were issued because of it are meant,
    /// whoever holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::resource_name("TokenPolicy"))]
    pub policy: Option<String>,
    /// The identifier of one token: its claim jti, which is also in the log of whoever checked it. From 1
    /// to 64 printable ASCII characters, no spaces. The token itself does not belong here.
    #[serde(rename = "tokenID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = rule::revocation::token_id())]
    pub token_id: Option<String>,
    /// The audience of the tokens: exactly the value of their claim aud, such as
    /// https://payments.payments.svc. At most 512 printable ASCII characters, no spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(
        validation = rule::revocation::some_audience(),
        validation = rule::printable()
    )]
    pub audience: Option<String>,
    /// The identifier of the key that the tokens are signed with: their kid, which is also the keyID in
    /// the status of the TokenIssuer. From 1 to 128 printable ASCII characters, no spaces.
    ///
    /// It refuses every token of the key, has the next key of its TokenIssuer sign at once, and drops this
    /// one. It is what to write when a key has leaked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = rule::revocation::key_id())]
    pub key: Option<String>,
    /// The name of the TokenIssuer that made the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::resource_name("TokenIssuer"))]
    pub issuer: Option<String>,
}
