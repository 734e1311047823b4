//! What the programs are made of, as they tell it themselves.

use std::{collections::BTreeSet, env::consts::ARCH, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use auditable_info::{Limits, json_from_file};
use serde_json::Value;

#[test]
fn t40_each_program_names_the_packages_that_it_is_made_of() -> Result<()> {
    let sidecar = format!("{ARCH}-unknown-linux-gnu/sidecar/hallpass-sidecar");
    for (package, program, has_kube) in [
        ("hallpass-operator", "release/hallpass-operator", true),
        ("hallpass-sidecar", sidecar.as_str(), false),
    ] {
        let target = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
        let told = json_from_file(&target.join(program), Limits::default())
            .with_context(|| format!("read what {program} is made of"))?;
        let told: Value = serde_json::from_str(&told)?;
        let told = told["packages"].as_array().into_iter().flatten();
        // Beside them are those that ran while it was built.
        let told = told.filter(|package| package["kind"] != "build");
        let told: BTreeSet<_> = told.map(name_and_version).collect();
        let untold: Vec<_> = packages(package)?.difference(&told).cloned().collect();
        ensure!(untold.is_empty(), "{program}: {untold:?}");
        let kube = told.iter().any(|package| package.starts_with("kube v"));
        ensure!(kube == has_kube, "{program} is another one's: {told:?}");
    }
    Ok(())
}

fn name_and_version(package: &Value) -> String {
    let text = |field: &str| package[field].as_str().unwrap_or_default();
    format!("{} v{}", text("name"), text("version"))
}

/// What cargo says that the package is linked from.
fn packages(package: &str) -> Result<BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--offline", "--prefix", "none"]);
    let cargo = cargo.args(["--edges", "normal,no-proc-macro", "--package", package]);
    let tree = cargo.output()?;
    ensure!(tree.status.success(), "{tree:?}");
    let tree = String::from_utf8(tree.stdout)?;
    let words = tree.lines().map(|line| line.split_whitespace().take(2));
    Ok(words
        .map(|words| words.collect::<Vec<_>>().join(" "))
        .collect())
}
