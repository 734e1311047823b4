//! The CRDs as YAML: what `crds/yaml` and the chart hold, byte by byte the same.
//!
//! The program of this crate writes it and a test compares it. It is plain YAML and never a helm
//! template, so it can also be applied with kubectl.

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
    /// Where the text is kept in this repository.
    #[must_use]
    pub fn paths(&self) -> [PathBuf; 2] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let Self { plural, .. } = self;
        [
            root.join(format!("yaml/{plural}.yaml")),
            root.join(format!("../charts/hallpass/templates/crd-{plural}.yaml")),
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

const HEADER: &str =
    "# Written by `cargo run -p hallpass-crds` from crds/src; a test fails when they differ.\n";
