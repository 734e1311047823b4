//! How long it takes until every replica refuses what was revoked.

use anyhow::Result;
use hallpass_e2e::{
    revocation::token_revocation,
    scene::{Scene, What::Jwt, Who::Orders},
};
use serde_json::json;

use crate::{
    report::{Bar, Report},
    stats::Sample,
};

/// The 99th percentile of so many is the second largest.
const ROUNDS: usize = 100;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let scene = Scene::new("revoked", 1).await?;
    let token = scene.token(0, Orders, Jwt, "0").await?;
    let mut millis = Vec::new();
    for round in 0..ROUNDS {
        let revocation = token_revocation(&format!("round-{round}"), &json!({"pod": "orders"}));
        let revocation = scene.shop.revoke(&revocation).await?;
        let took = scene.guard.refused("a pod", &token, revocation.since);
        millis.push(took.await?.as_secs_f64() * 1e3);
        revocation.delete().await?;
        // the next round is about this token too
        scene.guard.accepts_soon("given back", &token).await?;
    }
    let sample = Sample::new(millis);
    let conditions = "from kubectl apply's return to the refusal by the introspection of both replicas, 100 times, curl for each question";
    for (metric, quantile) in [("revoked p50", 0.5), ("revoked p99", 0.99)] {
        let value = (sample.quantile(quantile), "ms");
        report.add("revoke", metric, value, conditions);
    }
    report.bar(Bar::Value(250.0));
    Ok(())
}
