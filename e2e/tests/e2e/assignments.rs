//! What a pod is told to hold, and how often it has to ask; and the port that tells how the operator is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    caller::{Caller, TOKENS},
    manifest::policy,
    operator::replicas,
    wait::{not_yet, until},
};
use serde_json::json;

#[tokio::test]
async fn a_pod_that_knows_its_assignments_is_told_so() -> Result<()> {
    let caller = Caller::new("etag").await?;
    let first = caller
        .api
        .reply(&["-H", &caller.bearer], "/v1/assignments")
        .await?;
    assert_eq!(first.answer.status, 200, "{first:?}");
    let pace = first.header("cache-control").unwrap_or_default();
    assert!(pace.contains("max-age=30"), "{pace}");
    let mut assigned = first.answer.json()?["tokens"].take();
    assigned
        .as_array_mut()
        .context("a list")?
        .sort_by_key(|token| token["name"].to_string());
    let token = |name: &str, audience: &str| json!({"name": name, "audience": audience, "lifetime_seconds": 600, "required": true});
    let expected = json!([
        token("mail", "https://mail.example"),
        token("vault", "https://vault.example")
    ]);
    assert_eq!(assigned, expected);

    let tag = format!(
        "If-None-Match: {}",
        first.header("etag").context("an ETag")?
    );
    let known = ["-H", &caller.bearer, "-H", &tag];
    let second = caller.api.reply(&known, "/v1/assignments").await?;
    assert_eq!(
        (second.answer.status, second.answer.body.as_str()),
        (304, "")
    );
    assert_eq!(second.header("etag"), first.header("etag"));

    let fewer = policy("orders", "orders", &TOKENS[..1]);
    caller.cluster.apply(&fewer.to_string()).await?;
    let changed = until(Duration::from_secs(10), "the change is told", || async {
        let reply = caller.api.reply(&known, "/v1/assignments").await?;
        if reply.answer.status == 200 {
            Ok(reply)
        } else {
            Err(not_yet(reply))
        }
    })
    .await?;
    assert_ne!(changed.header("etag"), first.header("etag"));
    assert_eq!(
        changed.answer.json()?["tokens"].as_array().map(Vec::len),
        Some(1)
    );
    Ok(())
}

#[tokio::test]
async fn metrics_and_health_have_a_port_of_their_own() -> Result<()> {
    let caller = Caller::new("metrics").await?;
    let replica = &caller.replica;
    for path in ["/readyz", "/healthz"] {
        assert_eq!(replica.health(path).await?.status, 200, "{path}");
    }
    assert_eq!(replica.health("/v1/assignments").await?.status, 404);
    let before = replica.metric("hallpass_tokens_issued_total").await?;
    assert_eq!(
        caller.api.tokens(&caller.identity, &["mail"]).await?.status,
        200
    );
    let after = replica.metric("hallpass_tokens_issued_total").await?;
    assert!(after >= before + 1.0, "{before} {after}");
    let leaders = async || -> Result<f64> {
        let mut sum = 0.0;
        for replica in replicas().await? {
            sum += replica.metric("hallpass_leader").await?;
        }
        Ok(sum)
    };
    assert!(
        (leaders().await? - 1.0).abs() < f64::EPSILON,
        "one of them writes"
    );
    Ok(())
}
