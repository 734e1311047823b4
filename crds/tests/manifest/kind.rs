//! What is expected of each kind.

use hallpass_crds::manifest;
use serde_json::Value;

/// One kind.
pub(crate) struct Kind {
    pub(crate) plural: &'static str,
    pub(crate) scope: &'static str,
    pub(crate) short_name: Option<&'static str>,
    pub(crate) columns: &'static [&'static str],
    pub(crate) rules: usize,
    /// The paths below `.spec`.
    pub(crate) honoured: &'static [&'static str],
}

pub(crate) const KINDS: [Kind; 5] = [
    Kind {
        plural: "tokenpolicies",
        scope: "Namespaced",
        short_name: Some("htp"),
        columns: &["Tokens", "Ready", "Reason", "Pods", "Age"],
        rules: 26,
        honoured: &[
            ".spec.subjects",
            ".spec.subjects[]",
            ".spec.subjects[].podSelector",
            ".spec.subjects[].podSelector.matchLabels",
            ".spec.subjects[].podSelector.matchLabels{}",
            ".spec.subjects[].serviceAccount",
            ".spec.tokens",
            ".spec.tokens[]",
            ".spec.tokens[].audienceRef",
            ".spec.tokens[].audienceRef.name",
            ".spec.tokens[].audienceRef.namespace",
            ".spec.tokens[].containers",
            ".spec.tokens[].containers[]",
            ".spec.tokens[].kubernetesAudience",
            ".spec.tokens[].lifetime",
            ".spec.tokens[].name",
            ".spec.tokens[].required",
            ".spec.tokens[].scopes",
            ".spec.tokens[].scopes[]",
        ],
    },
    Kind {
        plural: "tokenaudiences",
        scope: "Namespaced",
        short_name: Some("hta"),
        columns: &["Audience", "Format", "Ready", "Reason", "Refused", "Age"],
        rules: 29,
        honoured: &[
            ".spec.allow",
            ".spec.allow[]",
            ".spec.allow[].from",
            ".spec.allow[].from.namespaceSelector",
            ".spec.allow[].from.namespaceSelector.matchLabels",
            ".spec.allow[].from.namespaceSelector.matchLabels{}",
            ".spec.allow[].from.serviceAccounts",
            ".spec.allow[].from.serviceAccounts[]",
            ".spec.allow[].scopes",
            ".spec.allow[].scopes[]",
            ".spec.audience",
            ".spec.claims",
            ".spec.claims[]",
            ".spec.claims[].literal",
            ".spec.claims[].name",
            ".spec.claims[].namespaceLabel",
            ".spec.claims[].serviceAccountAnnotation",
            ".spec.contact",
            ".spec.format",
            ".spec.guard",
            ".spec.guard.serviceAccounts",
            ".spec.guard.serviceAccounts[]",
            ".spec.issuerRef",
            ".spec.issuerRef.name",
            ".spec.maxLifetime",
            ".spec.scopes",
            ".spec.scopes[]",
            ".spec.scopes[].name",
        ],
    },
    Kind {
        plural: "tokenissuers",
        scope: "Cluster",
        short_name: None,
        columns: &[
            "URL",
            "Algorithm",
            "Ready",
            "Reason",
            "Next rotation",
            "Age",
        ],
        rules: 14,
        honoured: &[
            ".spec.audiences",
            ".spec.audiences[]",
            ".spec.audiences[].namespaces",
            ".spec.audiences[].namespaces.matchLabels",
            ".spec.audiences[].namespaces.matchLabels{}",
            ".spec.audiences[].pattern",
            ".spec.hallpass",
            ".spec.hallpass.algorithm",
            ".spec.hallpass.issuerURL",
            ".spec.hallpass.rotateEvery",
            ".spec.hallpass.spiffeTrustDomain",
        ],
    },
    Kind {
        plural: "tokenrevocations",
        scope: "Namespaced",
        short_name: Some("htr"),
        columns: &["Target", "Effect", "Enforced", "Reason", "Age"],
        rules: 12,
        honoured: &[
            ".spec.effect",
            ".spec.expiresAt",
            ".spec.issuedBefore",
            ".spec.message",
            ".spec.target",
            ".spec.target.pod",
            ".spec.target.policy",
            ".spec.target.serviceAccount",
            ".spec.target.tokenID",
            ".spec.ttlSecondsAfterExpired",
        ],
    },
    Kind {
        plural: "clustertokenrevocations",
        scope: "Cluster",
        short_name: Some("hctr"),
        columns: &["Target", "Effect", "Enforced", "Reason", "Age"],
        rules: 19,
        honoured: &[
            ".spec.effect",
            ".spec.expiresAt",
            ".spec.issuedBefore",
            ".spec.message",
            ".spec.target",
            ".spec.target.audience",
            ".spec.target.issuer",
            ".spec.target.key",
            ".spec.target.namespace",
            ".spec.target.pod",
            ".spec.target.policy",
            ".spec.target.serviceAccount",
            ".spec.target.tokenID",
            ".spec.ttlSecondsAfterExpired",
        ],
    },
];

impl Kind {
    #[expect(clippy::unwrap_used, reason = "every test is about this text")]
    pub(crate) fn crd(&self) -> Value {
        let manifest = manifest::all()
            .into_iter()
            .find(|m| m.plural == self.plural);
        serde_saphyr::from_str(&manifest.unwrap().yaml).unwrap()
    }

    pub(crate) fn version(&self) -> Value {
        self.crd()["spec"]["versions"][0].clone()
    }

    /// Every schema of the CRD with its path: `[]` is an item, `{}` a value of a map.
    pub(crate) fn schemas(&self) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        let schema = self.version()["schema"]["openAPIV3Schema"].clone();
        let mut open = vec![(String::new(), schema)];
        while let Some((path, schema)) = open.pop() {
            let fields = schema.get("properties").and_then(Value::as_object);
            for (name, field) in fields.into_iter().flatten() {
                open.push((format!("{path}.{name}"), field.clone()));
            }
            for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
                if let Some(inner) = schema.get(key) {
                    open.push((format!("{path}{suffix}"), inner.clone()));
                }
            }
            found.push((path, schema));
        }
        assert!(found.len() > 20, "the walk found {} schemas", found.len());
        found
    }
}
