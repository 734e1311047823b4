//! Injection by policy alone: pods that no label governs get the sidecar where a policy selects them.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, upgrade},
    command::kubectl,
    injection::{Injection, check_bare},
    manifest::{Manifest, pod, policy, service_account},
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const TOKENS: &[(&str, &str)] = &[("vault", "https://vault.example")];

#[tokio::test]
async fn a_pod_without_a_label_gets_the_sidecar_where_a_policy_selects_it() -> Result<()> {
    let cluster = Cluster::alone("by-policy").await?;
    prepare(&cluster).await?;
    check_bare(&cluster.create(&selected()).accepted().await?)?;
    upgrade("injection.byPolicy=true").await?;
    let told = tells_pods_apart(&cluster).await;
    // as it was for the other tests, whatever came of it
    upgrade("injection.byPolicy=false").await?;
    told?;
    until(Duration::from_secs(30), "it is over", || async {
        check_bare(&cluster.create(&selected()).accepted().await?)
    })
    .await
}

/// Two policies select pods of `orders`: one those of an application, the other of those some.
async fn prepare(cluster: &Cluster) -> Result<()> {
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    let labels = json!({"app": "orders", "hallpass.dev/role": "reader"});
    let narrow = policy("narrow", "orders", TOKENS).with(
        "/spec/subjects/0/podSelector",
        json!({"matchLabels": labels}),
    );
    let wide = policy("wide", "nobody", TOKENS).with(
        "/spec/subjects/-",
        json!({"serviceAccount": "orders", "podSelector": {"matchLabels": {"app": "orders"}}}),
    );
    for policy in [narrow, wide] {
        cluster.apply(&policy.to_string()).await?;
    }
    Ok(())
}

async fn tells_pods_apart(cluster: &Cluster) -> Result<()> {
    let judged = async |pod: &Manifest| cluster.create(pod).accepted().await;
    until(Duration::from_secs(30), "a pod is injected", || async {
        let seen = judged(&selected()).await?;
        let mark = &seen["metadata"]["labels"]["hallpass.dev/injected"];
        if mark == "true" {
            Ok(())
        } else {
            Err(not_yet(mark))
        }
    })
    .await?;
    let plain = judged(&selected().label("hallpass.dev/inject", "false")).await?;
    check_bare(&plain)?;
    let both = selected().label("hallpass.dev/role", "reader");
    for pod in [selected(), both.clone()] {
        let role = pod.json()["metadata"]["labels"]["hallpass.dev/role"].clone();
        let mut plain = plain.clone();
        if role != Value::Null {
            plain["metadata"]["labels"]["hallpass.dev/role"] = role;
        }
        let added = Injection::default().under("orders");
        added.check(&judged(&pod).await?, &plain)?;
    }
    for (what, pod) in [
        (
            "another label",
            pod("shape").under("orders").label("app", "mail"),
        ),
        ("no label", pod("shape").under("orders")),
        (
            "another service account",
            pod("shape").label("app", "orders"),
        ),
        // it is no reason to refuse a pod that asked for nothing
        (
            "no place for it",
            selected().with("/spec/dnsPolicy", json!("Default")),
        ),
        (
            "a mistake",
            selected().annotation("hallpass.dev/start", "at-once"),
        ),
    ] {
        let seen = judged(&pod).await?;
        ensure!(check_bare(&seen).is_ok(), "{what}: {seen}");
    }
    the_namespace_decides(cluster).await
}

/// Its label counts before any policy.
async fn the_namespace_decides(cluster: &Cluster) -> Result<()> {
    let label = "hallpass.dev/inject=false";
    kubectl(&["label", "namespace", &cluster.namespace, label])
        .await?
        .success()?;
    until(
        Duration::from_secs(30),
        "the namespace opted out",
        || async { check_bare(&cluster.create(&selected()).accepted().await?) },
    )
    .await?;
    let label = "hallpass.dev/inject-";
    kubectl(&["label", "namespace", &cluster.namespace, label])
        .await?
        .success()?;
    Ok(())
}

fn selected() -> Manifest {
    pod("shape").under("orders").label("app", "orders")
}
