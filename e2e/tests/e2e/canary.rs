//! A token that was issued is written down nowhere: in no log, event, object, record or database.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hallpass_e2e::{
    caller::Caller,
    cluster::Cluster,
    hay::{Found, Hay, REVIEWS, blocks, blocks_of_signature},
    manifest::{container_with, pod},
    state,
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_token_is_written_down_nowhere() -> Result<()> {
    let caller = Caller::new("canary").await?;
    let cluster = &caller.cluster;
    let mut served = Vec::new();
    for name in ["vault", "mail"] {
        let token = cluster.token("orders", "app", name).await?;
        served.push(
            token["access_token"]
                .as_str()
                .context("a token")?
                .to_owned(),
        );
    }
    let answer = caller
        .api
        .tokens(&caller.identity, &["vault", "nothing"])
        .await?;
    let fetched = answer.json()?["tokens"][0]["token"]
        .as_str()
        .context("a token")?
        .to_owned();
    let canary = plant(cluster).await?;

    let hay = Hay::gather(cluster).await?;
    found_everywhere(&hay.search(&blocks_of_signature(&canary)?).await?)?;
    let (mut all, mut signatures) = (Vec::new(), Vec::new());
    for token in served.iter().chain([&fetched, &caller.identity]) {
        all.extend(blocks(token)?);
        signatures.extend(blocks_of_signature(token)?);
    }
    let mut found = hay.search(&all).await?;
    // other tokens that are reviewed begin like these
    found.retain(|found| found.source != REVIEWS);
    found.extend(hay.search(&signatures).await?);
    ensure!(
        found.is_empty(),
        "a token was written down: {:?}",
        sources(&found)
    );
    let unexplained: Vec<Found> = hay
        .tokens()
        .await?
        .into_iter()
        .filter(|found| explained(found, &canary).is_none())
        .collect();
    ensure!(
        unexplained.is_empty(),
        "what looks like a token in {:?}",
        sources(&unexplained)
    );
    Ok(())
}

/// Why what looks like a token may be where it was found.
fn explained(found: &Found, canary: &str) -> Option<&'static str> {
    let (planted, _) = canary.rsplit_once('.')?;
    if found.text.starts_with(planted) {
        return Some("planted by this test, now or before: it is signed by nobody");
    }
    if found.source == REVIEWS {
        return Some("a TokenReview carries the token that it asks about");
    }
    None
}

/// Puts what looks like a token where the search has to find it; it is none.
async fn plant(cluster: &Cluster) -> Result<String> {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = format!("{:032x}", rand::random::<u128>()).repeat(3);
    let canary = format!(
        "{}.{}.{signature}",
        part(json!({"alg": "none"})),
        part(json!({"sub": "canary"}))
    );
    let data = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "canary"}, "data": {"canary": canary},
    });
    cluster.apply(&data.to_string()).await?;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "canary"}, "reason": "Canary", "message": canary,
        "involvedObject": {"kind": "ConfigMap", "name": "canary", "namespace": cluster.namespace},
    });
    cluster.apply(&event.to_string()).await?;
    let command = format!("echo {canary}; trap 'exit 0' TERM; while :; do sleep 1; done");
    let app = container_with("app", json!({"command": ["/bin/sh", "-c", command]}));
    cluster
        .start(&pod("canary").with("/spec/containers", json!([app])))
        .await?;
    Ok(canary)
}

fn found_everywhere(found: &[Found]) -> Result<()> {
    let mut expected = vec!["pod-canary", "events", "pods"];
    if state::folder("the planted token in etcd and the audit log").is_some() {
        expected.extend(["etcd", "audit"]);
    }
    for source in expected {
        let there = found.iter().any(|found| found.source == source);
        ensure!(
            there,
            "the planted token was not found in {source}: {:?}",
            sources(found)
        );
    }
    Ok(())
}

fn sources(found: &[Found]) -> Vec<&str> {
    let mut sources: Vec<&str> = found.iter().map(|found| found.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}
