//! `TokenPolicy`: which tokens the pods of a namespace ask for, and what became of it.
//!
//! The doc comments of the fields are what `kubectl explain tokenpolicies.hallpass.dev` prints:
//! they speak to the author of a policy. Defaults are applied where a policy is parsed and never
//! stored, so that a stored policy says what its author wrote.
#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each struct, with its visibility, into a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "two printer columns may have one type"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition, rule, selector::PodSelector};

/// Which pods get which tokens.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "hallpass.dev",
    version = "v1alpha1",
    kind = "TokenPolicy",
    plural = "tokenpolicies",
    shortname = "htp",
    category = "hallpass",
    namespaced,
    status = "TokenPolicyStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    doc = "Says which short-lived tokens the pods of this namespace get. A pod reads its tokens at the socket \
           /var/run/hallpass/hallpass.sock or in the files /var/run/hallpass/tokens/NAME. A change takes effect \
           within a minute, without restarting a pod.",
    printcolumn(
        name = "Tokens",
        type_ = "string",
        json_path = ".status.tokensReady",
        description = "How many of the tokens can be issued, of how many the policy asks for."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "True when every token of the policy can be issued."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "One word that says why."
    ),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        json_path = ".status.pods",
        description = "How many live pods the policy selects."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct TokenPolicySpec {
    /// Whose pods get the tokens. A pod that matches any of the subjects gets all the tokens.
    /// From 1 to 16, with at most 64 labels in all.
    ///
    /// Who writes a policy must be allowed to create tokens for the service accounts it names.
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = rule::policy::some_subject(),
        validation = rule::policy::most_labels(),
        merge_strategy = ListMerge::Atomic
    )]
    pub subjects: Vec<PolicySubject>,
    /// The tokens, each with a name of its own. A kubernetesAudience may be asked for once; an
    /// audienceRef may be asked for by several tokens, with other scopes for other containers. From
    /// 1 to 32, with at most 256 scopes and 128 containers in all.
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = rule::policy::some_token(),
        validation = rule::policy::distinct_audiences(),
        validation = rule::policy::most_scopes(),
        validation = rule::policy::most_containers(),
        merge_strategy = ListMerge::Map(vec!["name".into()])
    )]
    pub tokens: Vec<PolicyToken>,
}

/// Pods under one service account of the policy's namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySubject {
    /// The exact name of a service account of this namespace, such as orders. There are no
    /// wildcards. Pods that name no service account run under default.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::service_account_name())]
    pub service_account: String,
    /// Takes only those pods of the service account that carry certain labels. Without it every
    /// pod of the service account is taken.
    ///
    /// A label tells pods apart but keeps nobody out: who may create pods under the service
    /// account may label them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<PodSelector>,
}

/// One token that the subjects get: for an API that has a TokenAudience, or of the cluster.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rule::policy::one_kind(),
    validation = rule::policy::scopes_with_audience_ref(),
    validation = rule::policy::no_scopes_with_kubernetes_audience(),
    validation = rule::policy::kubernetes_lifetime(),
    validation = rule::policy::audience_lifetime()
)]
pub struct PolicyToken {
    /// What the token is called in the pod: the name of its file and the path on the socket. A DNS
    /// label such as vault, unique in this policy. When two policies give one pod the same name,
    /// the older policy wins and the status of the younger says NameTaken.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rule::policy::token_name())]
    pub name: String,
    /// Asks for a service-account token of the cluster that is bound to the pod and valid for this
    /// audience alone: exactly the value that the called API expects in the claim aud, such as
    /// https://vault.example. At most 512 printable ASCII characters, no spaces. Either this or
    /// audienceRef.
    ///
    /// Audiences of the Kubernetes API server are refused, and so are hallpass.dev and what begins
    /// with hallpass.dev/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(
        validation = rule::some_audience(),
        validation = rule::printable(),
        validation = rule::own_audience()
    )]
    pub kubernetes_audience: Option<String>,
    /// Asks for a token for the API that a TokenAudience describes. The token is issued when that
    /// TokenAudience allows these pods the scopes; until then the status says whom to ask. Either
    /// this or kubernetesAudience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience_ref: Option<AudienceRef>,
    /// The scopes that the token carries: some of those that the TokenAudience lists, such as
    /// [payments:read]. Required with audienceRef, refused with kubernetesAudience. From 1 to 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(max = 128)))]
    #[x_kube(
        validation = rule::policy::some_scope(),
        validation = rule::policy::scopes(),
        merge_strategy = ListMerge::Set
    )]
    pub scopes: Option<Vec<String>>,
    /// How long one token is valid, such as 10m or 1h. With kubernetesAudience from 10m to 1h, and
    /// 1h where it is left out; with audienceRef from 30s to 1h, and the maxLifetime of the
    /// TokenAudience where it is left out or longer than that. A token is replaced well before it
    /// expires, so a short lifetime costs the application nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rule::lifetime_syntax())]
    pub lifetime: Option<String>,
    /// Whether a new pod waits for this token before its containers start. Defaults to true. With
    /// false the pod starts at once and the token appears when it can be issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// The containers that see the token, init containers included, such as [app]. Defaults to all
    /// containers of the pod. From 1 to 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[x_kube(
        validation = rule::policy::some_container(),
        validation = rule::policy::container_names(),
        merge_strategy = ListMerge::Set
    )]
    pub containers: Option<Vec<String>>,
}

/// Which TokenAudience is meant.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudienceRef {
    /// The namespace of the TokenAudience: that of the API.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rule::namespace_name())]
    pub namespace: String,
    /// The name of the TokenAudience.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::resource_name("TokenAudience"))]
    pub name: String,
}

/// What became of the policy. A report: tokens are issued by the spec alone, never by the status.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenPolicyStatus {
    /// The metadata.generation that this status speaks of; an older number than metadata.generation
    /// means that the last change has not been looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many live pods the policy selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<i32>,
    /// How many of the tokens can be issued, of how many the policy asks for, such as 2/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub tokens_ready: Option<String>,
    /// Each token of the policy, and why it is not issued if it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tokens: Vec<PolicyTokenStatus>,
    /// The policy as a whole. Ready is True when every token can be issued; otherwise its reason
    /// and message are those of the first token that cannot. Injected is False while pods that the
    /// policy selects run without the sidecar, True once none does any more, and not there as long
    /// as none was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What became of one token.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTokenStatus {
    /// The name of the token in the spec.
    #[schemars(length(max = 63))]
    pub name: String,
    /// True when the selected pods can get the token, False when not, Unknown when that has not
    /// been found out.
    pub ready: TokenReady,
    /// One word that says why, such as ServiceAccountMissing, NameTaken or
    /// ScopeNotAllowed.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// The reason in a sentence, with what to do about it.
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// Whether a token can be issued; spelled as the status of a condition is.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[schemars(inline)]
pub enum TokenReady {
    /// It can.
    True,
    /// It cannot.
    False,
    /// That has not been found out.
    Unknown,
}
