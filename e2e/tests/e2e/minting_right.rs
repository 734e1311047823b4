//! A required token that cannot be minted: the pod waits, says why, and starts when it can.

use std::time::Duration;

use anyhow::Result;
use hallpass_e2e::{
    cluster::{Cluster, RELEASE},
    command::kubectl,
    manifest::{pod, policy, service_account},
    wait::{not_yet, until},
};

#[tokio::test]
async fn a_pod_waits_for_a_token_that_cannot_be_minted_and_starts_when_it_can() -> Result<()> {
    let cluster = Cluster::alone("right").await?;
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    let right = [
        "get",
        "clusterrolebinding",
        "hallpass-token-request",
        "-o",
        "yaml",
    ];
    let right = kubectl(&right).await?.success()?;
    kubectl(&["delete", "clusterrolebinding", "hallpass-token-request"])
        .await?
        .success()?;
    let outcome = waits_and_says_why(&cluster).await;
    hallpass_e2e::command::kubectl_with(&["create", "-f", "-"], &stripped(&right))
        .await?
        .success()?;
    outcome?;

    cluster.running("orders", Duration::from_secs(60)).await?;
    cluster.token("orders", "app", "vault").await?;
    until(
        Duration::from_secs(30),
        "the policy is ready again",
        || async {
            let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
            let said = cluster
                .kubectl(&["get", "tokenpolicy.hallpass.dev", "orders", "-o", path])
                .await?
                .success()?;
            if said == "Ready" {
                Ok(())
            } else {
                Err(not_yet(said))
            }
        },
    )
    .await
}

async fn waits_and_says_why(cluster: &Cluster) -> Result<()> {
    cluster
        .apply(&policy("orders", "orders", &[("vault", "https://vault.example")]).to_string())
        .await?;
    cluster
        .apply(&pod("orders").injected().under("orders").to_string())
        .await?;
    until(Duration::from_secs(60), "describe pod says why", || async {
        let said = cluster
            .kubectl(&["describe", "pod", "orders"])
            .await?
            .success()?;
        if said.contains("MintForbidden") && said.contains("vault") {
            Ok(())
        } else {
            Err(not_yet(said))
        }
    })
    .await?;
    let command = format!("--serviceaccount={RELEASE}:hallpass");
    until(
        Duration::from_secs(60),
        "the policy says what grants the right",
        || async {
            let args = [
                "get",
                "tokenpolicy.hallpass.dev",
                "orders",
                "-o",
                "jsonpath={.status}",
            ];
            let said = cluster.kubectl(&args).await?.success()?;
            let fits =
                said.contains("MintForbidden") && said.contains("kubectl create rolebinding");
            if fits && said.contains(&command) {
                Ok(())
            } else {
                Err(not_yet(said))
            }
        },
    )
    .await
}

/// An object as it was read, without what only the API server may write.
fn stripped(yaml: &str) -> String {
    let written = ["  uid:", "  resourceVersion:", "  creationTimestamp:"];
    yaml.lines()
        .filter(|line| !written.iter().any(|w| line.starts_with(w)))
        .collect::<Vec<_>>()
        .join("\n")
}
