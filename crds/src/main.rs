//! Writes the CRDs where they are kept: beside their types, and into the chart.

use std::fs;

use anyhow::Context;
use hallpass_crds::manifest;

fn main() -> anyhow::Result<()> {
    let yaml = manifest::token_policies();
    for path in manifest::paths() {
        fs::write(&path, &yaml).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
