//! The CA of the operator comes to its end while the operator runs, too soon for it to be followed in good order.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::{Apps, VAULT},
    authority::{Authority, published, written},
    cluster::{Engine, engine},
    command::kubectl_with,
    operator::Replica,
    reads::{Read, verdict::judge},
    remark::remark,
    wait::until,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, apps, current, moment, replaced};

/// Both replicas read the Secret within a minute, and so serve under that CA before it ends.
const LEFT: Duration = Duration::from_secs(70);

/// The leader looks every minute.
const REPAIRED: Duration = Duration::from_secs(62);

/// The kubelet reads a trust bundle anew every minute and a half at the latest, a sidecar's next try follows within
/// half a minute.
const LEARNT: Duration = Duration::from_secs(150);

#[tokio::test]
async fn f12_a_ca_that_ends_while_the_operator_runs_is_named_and_replaced_and_what_was_issued_is_good()
-> Result<()> {
    if engine()? == Engine::Webhook {
        remark(
            "skipped, since pods of a webhook never hear of a CA of the test's: a CA that lapses",
        );
        return Ok(());
    }
    let Some(apps) = apps("lapsed", 2, LIFE).await? else {
        return Ok(());
    };
    let replicas = current().await?;
    let ending = Authority::ending_after(LEFT)?;
    written(&ending).await?;
    let end = Instant::now() + LEFT;
    let named = until(2 * LEFT, "a replica says that the CA has ended", || {
        naming(&replicas)
    });
    let named = named.await?;
    remark(&format!(
        "{:?} after the CA ended /readyz says: {named}",
        end.elapsed()
    ));
    for name in &apps.names {
        good(&apps, name).await?;
    }
    let repaired = until(2 * MINUTE, "all replicas are ready by another CA", || {
        repaired(&replicas)
    });
    repaired.await?;
    let (took, again) = (end.elapsed(), moment());
    ensure!(
        published().await?.trim() != ending.certificate.trim(),
        "no other CA is published"
    );
    let learnt = replaced(&apps, again).await?;
    remark(&format!(
        "{took:?} after it ended all replicas serve by another one; {learnt:?} later all pods have tokens of them"
    ));
    current().await?;
    let (reads, verdict) = apps.end("the CA ended while the operator ran")?;
    verdict.clean()?;
    let long = |read: &Read| read.source.ends_with(VAULT);
    let long: Vec<Read> = reads.into_iter().filter(long).collect();
    judge(&long).all_served()?;
    ensure!(took <= REPAIRED, "after {took:?}");
    ensure!(learnt <= LEARNT, "after {learnt:?}");
    Ok(())
}

/// What one of them says of the CA that has ended.
async fn naming(replicas: &[Replica]) -> Result<String> {
    let mut said = String::new();
    for replica in replicas {
        let ready = replica.health("/readyz").await?;
        let ended = |line: &&str| line.contains("the CA of the serving certificate ended");
        if let Some(line) = ready.body.lines().find(ended) {
            ensure!(ready.status == 503, "{ready:?}");
            return Ok(line.to_owned());
        }
        said += &ready.body;
    }
    anyhow::bail!("they say: {said}")
}

async fn repaired(replicas: &[Replica]) -> Result<()> {
    for replica in replicas {
        let ready = replica.health("/readyz").await?;
        ensure!(ready.status == 200, "{ready:?}");
    }
    Ok(())
}

/// The service-account token that the pod holds is good for those who ask the API server.
async fn good(apps: &Apps, pod: &str) -> Result<()> {
    let token = apps.shop.token(pod, "app", VAULT).await?;
    let token = token["access_token"].as_str().context("a token")?;
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["https://vault.example"]},
    });
    let args = ["create", "-o", "json", "-f", "-"];
    let review = kubectl_with(&args, &review.to_string()).await?.success()?;
    let review: Value = serde_json::from_str(&review)?;
    let status = &review["status"];
    ensure!(status["authenticated"] == true, "{pod}: {status}");
    Ok(())
}
