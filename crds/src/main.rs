//! Writes the CRDs where they are kept, beside their types and into the chart, and the reference of them.

use std::{fs, path::Path};

use anyhow::Context;
use hallpass_crds::{manifest, reference};

fn main() -> anyhow::Result<()> {
    for manifest in manifest::all() {
        for (path, text) in manifest.copies() {
            write(&path, &text)?;
        }
    }
    write(&reference::path(), &reference::markdown())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
