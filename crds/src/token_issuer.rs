//! `TokenIssuer`: where the tokens of audiences come from, and in which state its keys are.
//!
//! The doc comments of the fields are what `kubectl explain tokenissuers.hallpass.dev` prints: they
//! speak to the team that runs the platform. Defaults are applied where an issuer is parsed and never
//! stored.
#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each struct, with its visibility, into a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "two printer columns may have one type"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition, rule, selector::NamespaceSelector};

/// How tokens are made, and which audiences they may be made for.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "hallpass.dev",
    version = "v1alpha1",
    kind = "TokenIssuer",
    plural = "tokenissuers",
    category = "hallpass",
    status = "TokenIssuerStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    doc = "Says where the tokens of TokenAudiences come from: under which URL they are issued, with which keys, and \
           which audiences the namespaces of the cluster may state. Written by the team that runs the platform. The \
           annotation hallpass.dev/rotate asks for a rotation of the keys, and hallpass.dev/rotate-now for one that \
           drops every key that signed before the given time.",
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".spec.hallpass.issuerURL",
        description = "What the tokens carry in the claim iss."
    ),
    printcolumn(
        name = "Algorithm",
        type_ = "string",
        json_path = ".status.keys[?(@.state==\"Active\")].algorithm",
        description = "What tokens are signed with now."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "True when tokens can be made."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "One word that says why."
    ),
    printcolumn(
        name = "Next rotation",
        type_ = "string",
        json_path = ".status.nextRotation",
        description = "When the next key begins to sign."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct TokenIssuerSpec {
    /// Hallpass makes the tokens itself, with keys of its own.
    pub hallpass: HallpassIssuer,
    /// Which audiences may be stated by which namespaces, beside the names of their own services, which
    /// every namespace may state. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub audiences: Vec<PermittedAudience>,
}

/// Tokens that Hallpass makes with keys of its own.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HallpassIssuer {
    /// What the tokens carry in the claim iss, and where verifiers look for the keys: an https URL such
    /// as https://id.example, without user name, query, fragment and final slash. At most 256
    /// characters. It cannot be changed.
    ///
    /// When two TokenIssuers have one URL, the older one counts and the status of the younger says
    /// Conflict.
    #[serde(rename = "issuerURL")]
    #[schemars(length(max = 256))]
    #[x_kube(
        validation = rule::issuer::https_url(),
        validation = rule::issuer::bare_url(),
        validation = rule::issuer::no_final_slash(),
        validation = rule::issuer::plain_url(),
        validation = rule::issuer::immutable_url()
    )]
    pub issuer_url: String,
    /// What tokens are signed with. A change starts a rotation: the first token of the new algorithm comes
    /// about 11 minutes later. Have every verifier accept both algorithms before.
    /// Defaults to ES256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "KeyAlgorithm")]
    pub algorithm: Option<KeyAlgorithm>,
    /// How long one key signs before the next one does, from 1h to 365d: one number with one unit, d, h,
    /// m or s, such as 30d or 12h. Defaults to 30d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = rule::issuer::rotation_syntax(),
        validation = rule::issuer::rotation_bounds()
    )]
    pub rotate_every: Option<String>,
    /// The SPIFFE trust domain of the cluster, such as prod.example. With it the tokens carry
    /// spiffe://DOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT in the claim sub; without it
    /// system:serviceaccount:NAMESPACE:SERVICEACCOUNT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rule::issuer::trust_domain())]
    pub spiffe_trust_domain: Option<String>,
}

/// What a key signs with.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[schemars(inline)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 (RFC 7518 §3.4).
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA with PKCS #1 padding (RFC 7518 §3.3), for verifiers that know nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

impl KeyAlgorithm {
    /// The word in the resource, and in the `alg` of a token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

/// Audiences that certain namespaces may state.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PermittedAudience {
    /// What the audiences look like, such as https://*.acme.example. A star stands for one or more of
    /// a-z, 0-9 and '-', so never for more than one label of a host name; every other character stands
    /// for itself. At most 4 stars, at most 512 printable ASCII characters, no spaces.
    #[schemars(length(max = 512))]
    #[x_kube(
        validation = rule::issuer::some_pattern(),
        validation = rule::printable(),
        validation = rule::issuer::stars()
    )]
    pub pattern: String,
    /// The namespaces that may state them, by their labels.
    pub namespaces: NamespaceSelector,
}

/// What became of the issuer. A report: keys are chosen by themselves, never by the status.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenIssuerStatus {
    /// The metadata.generation that this status speaks of; an older number than metadata.generation
    /// means that the last change has not been looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What names the issuer in its opaque tokens and in the names of its keys: 8 characters that are
    /// made from its URL.
    #[serde(rename = "issuerID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub issuer_id: Option<String>,
    /// Where verifiers fetch the keys.
    #[serde(rename = "jwksURI", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub jwks_uri: Option<String>,
    /// The keys, in the order of their age.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["keyID".into()]))]
    pub keys: Vec<IssuerKey>,
    /// When the active key began to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<Time>,
    /// When the next key begins to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<Time>,
    /// The issuer as a whole. Ready is True when tokens can be made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One key of the issuer.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerKey {
    /// The kid of the tokens that it signed (RFC 7638).
    #[serde(rename = "keyID")]
    #[schemars(length(max = 64))]
    pub key_id: String,
    /// Active: it signs. Next: verifiers fetch it already, so that it can sign at any time. Retired: it
    /// signs no more, and is published as long as a token of it can be valid.
    pub state: KeyState,
    /// What it signs with.
    pub algorithm: KeyAlgorithm,
    /// Since when it is in that state.
    pub since: Time,
    /// When it leaves that state, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// What a key does now.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[schemars(inline)]
pub enum KeyState {
    /// It signs.
    Active,
    /// It is published and will sign.
    Next,
    /// It signed and is still published.
    Retired,
}
