//! The list of the API server's audiences that the chart is given, held against the operator's own token.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE, checkout},
    command::{kubectl, run},
    operator::replicas,
    wait::{not_yet, until},
};
use serde_json::Value;

#[tokio::test]
async fn an_operator_whose_own_audience_is_not_listed_does_not_become_ready() -> Result<()> {
    let _cluster = Cluster::alone("listed").await?;
    ensure!(
        !replicas().await?.is_empty(),
        "with the right list it is ready"
    );
    let chart = checkout().join("charts/hallpass");
    let chart = chart
        .to_str()
        .context("the path of the checkout is not UTF-8")?;
    let list = r#"kubernetes.apiServerAudiences=["https://other.example"]"#;
    let upgrade = [
        "upgrade",
        "hallpass",
        chart,
        "-n",
        RELEASE,
        "--reuse-values",
        "--set-json",
        list,
    ];
    run("helm", &upgrade, None).await?.success()?;
    let outcome = says_what_is_missing().await;
    run("helm", &["rollback", "hallpass", "-n", RELEASE], None)
        .await?
        .success()?;
    let args = [
        "rollout",
        "status",
        "deployment/hallpass",
        "-n",
        RELEASE,
        "--timeout=120s",
    ];
    kubectl(&args).await?.success()?;
    outcome
}

/// A replica of the new list logs what to add, and is not ready; those of the old one go on.
async fn says_what_is_missing() -> Result<()> {
    until(
        Duration::from_secs(60),
        "a replica that says what is missing",
        || async {
            let args = [
                "get",
                "pods",
                "-n",
                RELEASE,
                "-l",
                "app.kubernetes.io/instance=hallpass",
                "-o",
                "json",
            ];
            let pods: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
            for pod in pods["items"].as_array().into_iter().flatten() {
                if pod["spec"]["containers"][0]["args"]
                    .to_string()
                    .contains("https://other.example")
                {
                    let name = pod["metadata"]["name"].as_str().context("a name")?;
                    let log = kubectl(&["logs", name, "-n", RELEASE]).await?.success()?;
                    let told = log.contains("https://kubernetes.default.svc")
                        && log.contains("kubernetes.apiServerAudiences");
                    let ready = replicas().await?.iter().any(|replica| replica.pod == name);
                    ensure!(!ready, "{name} is ready");
                    return if told { Ok(()) } else { Err(not_yet(log)) };
                }
            }
            Err(not_yet("no replica has the new list"))
        },
    )
    .await?;
    ensure!(
        !replicas().await?.is_empty(),
        "the replicas of the old list answer"
    );
    Ok(())
}
