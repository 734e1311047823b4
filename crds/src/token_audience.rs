//! `TokenAudience`: an API's own statement of who may hold which of its tokens, and what became of it.
//!
//! The doc comments of the fields are what `kubectl explain tokenaudiences.hallpass.dev` prints: they
//! speak to the team that owns the API. Defaults are applied where a statement is parsed and never
//! stored.
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

use crate::{condition, rule, selector::NamespaceSelector};

/// What the tokens of the API are, and who may hold them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "hallpass.dev",
    version = "v1alpha1",
    kind = "TokenAudience",
    plural = "tokenaudiences",
    shortname = "hta",
    category = "hallpass",
    namespaced,
    status = "TokenAudienceStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    doc = "Says which tokens an API takes, and which service accounts may hold which of its scopes. Written by the \
           team that owns the API, in the namespace of the API. A consumer gets a token when its TokenPolicy asks \
           for it and this allows it. A change takes effect within a minute.",
    printcolumn(
        name = "Audience",
        type_ = "string",
        json_path = ".spec.audience",
        description = "What the tokens carry in the claim aud."
    ),
    printcolumn(
        name = "Format",
        type_ = "string",
        json_path = ".spec.format",
        description = "What the tokens look like; JWT where it is left out."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "True when tokens can be issued to those who are allowed."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "One word that says why."
    ),
    printcolumn(
        name = "Refused",
        type_ = "integer",
        json_path = ".status.refusedCount",
        description = "How many tokens are asked for and not allowed."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::audience::allowed_scopes())]
pub struct TokenAudienceSpec {
    /// What the tokens carry in the claim aud: exactly the value that the API expects, such as
    /// https://payments.payments.svc. At most 512 printable ASCII characters, no spaces. It cannot be
    /// changed.
    ///
    /// The names of services of this namespace are free to use: SERVICE.NAMESPACE.svc, alone or in a
    /// URL. Any other value must be permitted by the audiences of the TokenIssuer. When two
    /// TokenAudiences state one value, the older one counts and the status of the younger says
    /// Conflict.
    #[schemars(length(max = 512))]
    #[x_kube(
        validation = rule::some_audience(),
        validation = rule::printable(),
        validation = rule::own_audience(),
        validation = rule::audience::immutable_audience()
    )]
    pub audience: String,
    /// The TokenIssuer that makes the tokens.
    pub issuer_ref: IssuerRef,
    /// What the tokens look like. JWT: anybody can check one with the keys of the issuer. Opaque: it
    /// says nothing by itself, and the service accounts of guard ask Hallpass what it is worth.
    /// Defaults to JWT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TokenFormat")]
    pub format: Option<TokenFormat>,
    /// Every scope that the API knows. From 1 to 64.
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = rule::audience::some_scope(),
        merge_strategy = ListMerge::Map(vec!["name".into()])
    )]
    pub scopes: Vec<AudienceScope>,
    /// Who may hold which scopes. A pod may hold what all entries that it fits allow together. Without
    /// entries nobody gets a token. At most 64, with at most 512 scopes, 512 service accounts and 128
    /// labels in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = rule::audience::most_allowed_scopes(),
        validation = rule::audience::most_accounts(),
        validation = rule::audience::most_labels(),
        merge_strategy = ListMerge::Atomic
    )]
    pub allow: Vec<AudienceAllow>,
    /// The longest that one token is valid, from 30s to 1h, such as 5m or 1h. Defaults to 15m. A policy
    /// may ask for less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = rule::lifetime_syntax(),
        validation = rule::audience::max_lifetime()
    )]
    pub max_lifetime: Option<String>,
    /// What the tokens say beside the claims that all have. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub claims: Vec<AudienceClaim>,
    /// Whom to ask for access, such as #payments-oncall or an address. It is printed where a token is
    /// refused. One line of at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = rule::one_line())]
    pub contact: Option<String>,
    /// Who checks the tokens. Without it nobody may introspect them, which Opaque tokens need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<AudienceGuard>,
}

/// Which TokenIssuer is meant.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// The name of the TokenIssuer.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rule::resource_name("TokenIssuer"))]
    pub name: String,
}

/// What a token looks like.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[schemars(inline)]
pub enum TokenFormat {
    /// A signed JSON Web Token (RFC 9068).
    #[serde(rename = "JWT")]
    Jwt,
    /// A text that only Hallpass can read (RFC 7662).
    Opaque,
}

impl TokenFormat {
    /// The word in the resource.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "JWT",
            Self::Opaque => "Opaque",
        }
    }
}

/// One scope of the API.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudienceScope {
    /// The scope as tokens carry it, such as payments:read. At most 128 printable ASCII characters, no
    /// spaces, quotes, backslashes and stars.
    #[schemars(length(max = 128))]
    #[x_kube(validation = rule::audience::scope_name())]
    pub name: String,
}

/// Who may hold which scopes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudienceAllow {
    /// Who.
    pub from: AllowedFrom,
    /// What they may hold: some of spec.scopes. From 1 to 64.
    #[schemars(length(max = 64), inner(length(max = 128)))]
    #[x_kube(
        validation = rule::audience::some_allowed_scope(),
        merge_strategy = ListMerge::Set
    )]
    pub scopes: Vec<String>,
}

/// Service accounts of certain namespaces.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedFrom {
    /// The namespaces, by their labels.
    pub namespace_selector: NamespaceSelector,
    /// The exact names of service accounts of such a namespace, such as [orders], or ["*"] for all of
    /// them. From 1 to 64.
    ///
    /// Who may create pods in a namespace may run them under any of its service accounts.
    #[schemars(length(max = 64), inner(length(max = 253)))]
    #[x_kube(
        validation = rule::audience::some_account(),
        validation = rule::audience::all_accounts_alone(),
        validation = rule::audience::account_names(),
        merge_strategy = ListMerge::Set
    )]
    pub service_accounts: Vec<String>,
}

/// One claim that the tokens carry, with exactly one source of its value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::audience::one_source())]
pub struct AudienceClaim {
    /// The name of the claim, such as team. At most 128 printable ASCII characters, no spaces, quotes
    /// and backslashes. Names that tokens or their verifiers give a meaning are refused, such as sub or
    /// groups, and so is what begins with hp or contains hallpass.dev.
    #[schemars(length(max = 128))]
    #[x_kube(
        validation = rule::audience::claim_name(),
        validation = rule::audience::reserved_claim()
    )]
    pub name: String,
    /// This value. One line of at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = rule::one_line())]
    pub literal: Option<String>,
    /// The value of this label of the consumer's namespace, such as team. Where the namespace has no
    /// such label, the token has no such claim.
    ///
    /// Who may label a namespace decides the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = rule::audience::source_key())]
    pub namespace_label: Option<String>,
    /// The value of this annotation of the consumer's service account, such as example.com/tenant. Where
    /// the service account has no such annotation, or one of more than 256 characters, the token has no
    /// such claim.
    ///
    /// Who may annotate a service account decides the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = rule::audience::source_key())]
    pub service_account_annotation: Option<String>,
}

/// Who checks the tokens.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudienceGuard {
    /// The exact names of service accounts of this namespace whose pods may introspect the tokens of
    /// this audience, such as [payments]. From 1 to 16.
    #[schemars(length(max = 16), inner(length(max = 253)))]
    #[x_kube(
        validation = rule::audience::some_verifier(),
        validation = rule::audience::verifier_names(),
        merge_strategy = ListMerge::Set
    )]
    pub service_accounts: Vec<String>,
}

/// What became of the statement. A report: tokens are issued by the spec alone, never by the status.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenAudienceStatus {
    /// The metadata.generation that this status speaks of; an older number than metadata.generation
    /// means that the last change has not been looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many policies ask for tokens of this audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<i32>,
    /// How many tokens are asked for and not allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_count: Option<i32>,
    /// Who asks and is not allowed: the first 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "policy".into(), "token".into()]))]
    pub refused: Vec<RefusedToken>,
    /// The statement as a whole. Ready is True when tokens can be issued to those who are allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One token that a policy asks for and does not get.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedToken {
    /// The namespace of the policy.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// The name of the policy.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// The name of the token in the policy.
    #[schemars(length(max = 63))]
    pub token: String,
    /// One word that says why, such as SubjectNotAllowed or ScopeNotAllowed.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// The reason in a sentence, with what to do about it.
    #[schemars(length(max = 4096))]
    pub message: String,
}
