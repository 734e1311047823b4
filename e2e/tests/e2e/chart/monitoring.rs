//! Alerts and dashboard: over metrics that there are, with runbooks that there are.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::cluster::checkout;
use serde_json::Value;

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(checkout().join(path)).with_context(|| path.to_owned())
}

/// The metrics that a text names, without what Prometheus appends to those of a histogram.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.filter(|word| word.starts_with("hallpass_"));
    words
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

/// The operator's metrics that docs/reference.md lists.
fn documented() -> Result<BTreeSet<String>> {
    let reference = read("docs/reference.md")?;
    let rows = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `hallpass_"));
    let names = rows.filter_map(|row| row.split(['`', '{']).next());
    let names = names.filter(|name| !name.starts_with("sidecar_"));
    Ok(names.map(|name| format!("hallpass_{name}")).collect())
}

#[test]
fn every_metric_of_an_alert_or_a_panel_is_one_of_the_operators() -> Result<()> {
    let documented = documented()?;
    let dashboard = named(&read("charts/hallpass/files/dashboard.json")?);
    let alerts = named(&read("charts/hallpass/files/alerts.yaml")?);
    for name in dashboard.iter().chain(&alerts) {
        ensure!(documented.contains(name), "there is no {name}");
    }
    Ok(())
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() -> Result<()> {
    let alerts = read("charts/hallpass/files/alerts.yaml")?;
    let after = |line: &str, key: &str| line.trim().strip_prefix(key).map(str::to_owned);
    let names: Vec<_> = alerts
        .lines()
        .filter_map(|line| after(line, "- alert: "))
        .collect();
    let links: Vec<_> = alerts
        .lines()
        .filter_map(|line| after(line, "runbook_url: docs/monitoring.md#"))
        .collect();
    let anchors: Vec<_> = names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(links, anchors);
    let docs = read("docs/monitoring.md")?;
    let headings: Vec<_> = docs
        .lines()
        .filter_map(|line| after(line, "### "))
        .collect();
    assert_eq!(headings, names);
    Ok(())
}

#[test]
fn every_panel_asks_the_source_that_was_chosen_and_has_an_id_of_its_own() -> Result<()> {
    let dashboard: Value = serde_json::from_str(&read("charts/hallpass/files/dashboard.json")?)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let ids: BTreeSet<_> = panels
        .iter()
        .filter_map(|panel| panel["id"].as_u64())
        .collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        for target in panel["targets"].as_array().context("targets")? {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().context("an expression")?;
            ensure!(expression.contains("namespace=\"$namespace\""), "{title}");
        }
    }
    Ok(())
}
