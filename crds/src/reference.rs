//! The reference of the custom resources as Markdown: what `docs/resources.md` holds.
//!
//! It says what the CRDs say and nothing else: each object with a table of its fields, and below it what
//! no table has room for, the further paragraphs of a field and what the API server answers to a bad
//! value.

use std::path::{Path, PathBuf};

use serde_json::Value;

use self::{level::Level, text::cell};
use crate::manifest;

mod bound;
mod level;
mod sentence;
mod text;

/// Where the text is kept in this repository.
#[must_use]
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/resources.md")
}

/// The page; the same text on every run.
#[must_use]
pub fn markdown() -> String {
    let kinds = manifest::crds();
    let kinds = kinds.iter().map(kind);
    format!("{HEAD}{}", kinds.collect::<String>())
}

fn kind(crd: &Value) -> String {
    let spec = &crd["spec"];
    let version = &spec["versions"][0];
    let name = word(&spec["names"]["kind"]);
    let scope = match word(&spec["scope"]) {
        "Namespaced" => "an object of a namespace",
        _ => "an object of the cluster",
    };
    let short = spec["names"]["shortNames"].as_array();
    let short: String = short
        .into_iter()
        .flatten()
        .map(|short| format!(", short `{}`", word(short)))
        .collect();
    let group = word(&spec["group"]);
    let mut page = format!(
        "\n## {name}\n\n{}\n\n`apiVersion: {group}/{}`, {scope}; `kubectl get {}.{group}`{short}.\n",
        cell(word(&version["schema"]["openAPIV3Schema"]["description"])),
        word(&version["name"]),
        word(&spec["names"]["plural"]),
    );
    let schema = &version["schema"]["openAPIV3Schema"]["properties"];
    for part in ["spec", "status"] {
        for level in Level::all(part, &schema[part]) {
            page.push_str(&level.markdown(name));
        }
    }
    page
}

/// A text of a schema; empty where there is none.
fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const HEAD: &str = "\
# Resources

Written by `cargo run -p hallpass-crds` from the schemas of the kinds; a test fails when they differ. `kubectl explain
tokenpolicies.spec.tokens` prints the same descriptions. No default is stored: where a field is left out, its description says
what counts.

`a[].b` is the field `b` of each item of the list `a`. *Required* means within the object that has the field.
\"Refused with\" lists what the API server answers to a value that is within the bounds of the table and still none: `…`
stands for what was written.
";
