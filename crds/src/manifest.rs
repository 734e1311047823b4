//! The CRDs as YAML: what `crds/yaml` and the chart hold.
//!
//! The program of this crate writes it and a test compares it. In `crds/yaml` it is plain, so it can be applied
//! with kubectl; the chart has the same between the conditions of its values `crds`.

use std::path::{Path, PathBuf};

use kube::{CustomResourceExt, Resource};
use serde_json::Value;

use crate::{
    cluster_token_revocation::ClusterTokenRevocation, token_audience::TokenAudience,
    token_issuer::TokenIssuer, token_policy::TokenPolicy, token_revocation::TokenRevocation,
};

/// The CRD of one kind.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The plural of the kind, such as `tokenpolicies`.
    pub plural: String,
    /// The CRD; the same text on every run.
    pub yaml: String,
}

impl Manifest {
    /// Where it is kept in this repository, and how.
    #[must_use]
    pub fn copies(&self) -> [(PathBuf, String); 2] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let Self { plural, yaml } = self;
        let template = format!("../charts/hallpass/templates/crd-{plural}.yaml");
        [
            (root.join(format!("yaml/{plural}.yaml")), yaml.clone()),
            (root.join(template), templated(yaml)),
        ]
    }
}

/// The CRDs of all kinds.
#[must_use]
pub fn all() -> [Manifest; 5] {
    [
        manifest::<TokenPolicy>(),
        manifest::<TokenAudience>(),
        manifest::<TokenIssuer>(),
        manifest::<TokenRevocation>(),
        manifest::<ClusterTokenRevocation>(),
    ]
}

/// The same as values.
pub(crate) fn crds() -> [Value; 5] {
    [
        crd::<TokenPolicy>(),
        crd::<TokenAudience>(),
        crd::<TokenIssuer>(),
        crd::<TokenRevocation>(),
        crd::<ClusterTokenRevocation>(),
    ]
}

#[expect(
    clippy::expect_used,
    reason = "the CRDs are constants that the tests print"
)]
fn manifest<K: Resource<DynamicType = ()> + CustomResourceExt>() -> Manifest {
    let yaml = serde_saphyr::to_string(&crd::<K>()).expect("a JSON value is always YAML");
    Manifest {
        plural: K::plural(&()).into_owned(),
        yaml: format!("{HEADER}{yaml}"),
    }
}

#[expect(
    clippy::expect_used,
    reason = "the CRDs are constants that the tests print"
)]
fn crd<K: CustomResourceExt>() -> Value {
    let mut crd = serde_json::to_value(K::crd()).expect("a CRD has string keys only");
    strip_nullable(&mut crd);
    unwrap_descriptions(&mut crd);
    crd
}

/// With `nullable`, an explicit null would be stored and `has()` be true for it; without, the API
/// server drops the null, and a field is either written or absent.
fn strip_nullable(value: &mut Value) {
    visit_objects(value, &mut |object| {
        if object.get("nullable").is_some_and(Value::is_boolean) {
            object.remove("nullable");
        }
    });
}

/// The lines of a doc comment are broken for the source; `kubectl explain` breaks them for the
/// terminal. Paragraphs stay.
fn unwrap_descriptions(value: &mut Value) {
    visit_objects(value, &mut |object| {
        if let Some(Value::String(text)) = object.get_mut("description") {
            let paragraphs: Vec<String> = text
                .split("\n\n")
                .map(|paragraph| paragraph.replace('\n', " "))
                .collect();
            *text = paragraphs.join("\n\n");
        }
    });
}

/// The chart leaves it out, or lets it go with the release, where its values say so.
fn templated(yaml: &str) -> String {
    let kept = yaml.replace(
        KEPT,
        &format!("  {{{{- if .Values.crds.keep }}}}\n{KEPT}  {{{{- end }}}}\n"),
    );
    format!("{{{{- if .Values.crds.enabled }}}}\n{kept}{{{{- end }}}}\n")
}

fn visit_objects(value: &mut Value, visit: &mut impl FnMut(&mut serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object
                .values_mut()
                .for_each(|value| visit_objects(value, visit));
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|value| visit_objects(value, visit)),
        _ => {}
    }
}

const KEPT: &str = "  annotations:\n    helm.sh/resource-policy: keep\n";
const HEADER: &str =
    "# Written by `cargo run -p hallpass-crds` from crds/src; a test fails when they differ.\n";
