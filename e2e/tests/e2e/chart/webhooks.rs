//! The webhooks of the operator, as they are registered with the API server.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{cluster::Cluster, command::kubectl_with};
use serde_json::{Value, json};

use super::rendered;

/// Whoever is promised the sidecar is not created without an answer, whoever is promised nothing is; and nobody waits for
/// longer than 3 s.
#[tokio::test]
async fn f13_the_webhooks_of_guaranteed_pods_fail_closed_and_that_of_policies_open() -> Result<()> {
    let _cluster = Cluster::shared("closed").await?;
    for (template, expected) in [
        (
            "webhook.yaml",
            &[
                ("pod.inject.hallpass.dev", "Fail"),
                ("namespace.inject.hallpass.dev", "Fail"),
            ][..],
        ),
        (
            "webhook-by-policy.yaml",
            &[("policy.inject.hallpass.dev", "Ignore")],
        ),
    ] {
        let webhooks = webhooks(template).await?;
        ensure!(webhooks.len() == expected.len(), "{webhooks:?}");
        for (webhook, (name, failure)) in webhooks.iter().zip(expected) {
            for (member, value) in [
                ("name", json!(name)),
                ("failurePolicy", json!(failure)),
                ("timeoutSeconds", json!(3)),
                ("sideEffects", json!("None")),
                ("reinvocationPolicy", json!("IfNeeded")),
            ] {
                ensure!(webhook[member] == value, "{member} of {name}: {webhook}");
            }
        }
    }
    Ok(())
}

async fn webhooks(template: &str) -> Result<Vec<Value>> {
    let only = format!("--show-only=templates/{template}");
    let values = "--set=injection.engine=Webhook,injection.byPolicy=true";
    let object = rendered(&[&only, values]).await?;
    let read = ["create", "--dry-run=client", "-o", "json", "-f", "-"];
    let object = kubectl_with(&read, &object).await?.success()?;
    let mut object: Value = serde_json::from_str(&object)?;
    let webhooks = object["webhooks"].as_array_mut().context("webhooks")?;
    Ok(std::mem::take(webhooks))
}
