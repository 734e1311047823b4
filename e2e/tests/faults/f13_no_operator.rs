//! There is no replica at all while pods are created.

use anyhow::{Result, bail, ensure};
use hallpass_e2e::{
    cluster::{Engine, engine},
    command::kubectl_with,
    manifest::pod,
    operator::{scaled, settled},
    remark::remark,
    wait::{not_yet, until},
};
use tokio::time::Instant;

use crate::fixture::{MINUTE, apps, current, lasts};

/// All tokens outlive the fault.
const LIFE: &str = "10m";

/// So many pods are asked for that ask for the sidecar, and so many that do not.
const MANY: usize = 20;

#[tokio::test]
async fn f13_while_there_is_no_operator_no_pod_is_created_bare_and_no_other_is_held_up()
-> Result<()> {
    let Some(apps) = apps("nooperator", 2, LIFE).await? else {
        return Ok(());
    };
    scaled(0).await?;
    // one that is on its way out still answers
    settled().await?;
    let created = created_meanwhile(&apps.shop.namespace).await;
    let waits = pod("waits").injected().under("orders");
    let tried = apps.shop.try_apply(&waits.to_string()).await?;
    lasts(MINUTE / 6).await;
    let back = Instant::now();
    // nobody injects its pods: they start although nobody does
    scaled(2).await?;
    current().await?;
    created?;
    match engine()? {
        // injected, it waited for its tokens
        Engine::AdmissionPolicy => drop(tried.success()?),
        Engine::Webhook => {
            until(MINUTE, "it is created", || async {
                let tried = apps.shop.try_apply(&waits.to_string()).await?;
                tried.success().map(drop).map_err(not_yet)
            })
            .await?
        }
    }
    apps.shop.running("waits", 2 * MINUTE).await?;
    remark(&format!(
        "a pod that was created meanwhile runs {:?} after the operator is started",
        back.elapsed()
    ));
    let (_, verdict) = apps.end("there was no operator")?;
    verdict.all_served()
}

/// What the API server makes of pods; none of them is kept.
async fn created_meanwhile(namespace: &str) -> Result<()> {
    for _ in 0..MANY {
        let plain = created(namespace, &pod("plain").to_string()).await?;
        ensure!(
            !plain?.contains("hallpass-identity"),
            "it did not ask for it"
        );
        // a cluster whose own pods need us does not start again
        let own = pod("own").injected().to_string();
        created("kube-system", &own).await??;
        let asked = pod("asked").injected().under("orders").to_string();
        match (engine()?, created(namespace, &asked).await?) {
            (Engine::AdmissionPolicy, Ok(pod)) => {
                ensure!(pod.contains("hallpass-identity"), "it is bare: {pod}");
            }
            (Engine::Webhook, Err(why)) => {
                let named = why.to_string().contains("failed calling webhook");
                ensure!(named, "refused without a word of the webhook: {why}");
            }
            (engine, other) => bail!("with {engine:?}: {other:?}"),
        }
    }
    Ok(())
}

/// The pod as the API server would store it, or why it would not.
async fn created(namespace: &str, pod: &str) -> Result<Result<String>> {
    let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let args = [&["-n", namespace], &args[..]].concat();
    Ok(kubectl_with(&args, pod).await?.success())
}
