//! Where the operator injects: nobody answers the API server while pods are created, or it does not trust who answers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hallpass_e2e::{
    authority::Authority,
    cluster::{Cluster, Engine, engine, upgrade},
    command::kubectl,
    create::namespace_says,
    injection::check_bare,
    manifest::{Manifest, pod},
    operator::{scaled, settled},
    process::Process,
    remark::remark,
    state,
    wait::{not_yet, until},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{MINUTE, current};

/// The API server waits for 3 s; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// One look of the operator follows another after 15 s.
const REPAIRED: Duration = Duration::from_secs(25);

/// Pods that are asked for while nobody answers, of each sort.
const MANY: usize = 3;

/// A namespace whose policy selects pods, and one that is labelled.
struct Scene {
    shop: Cluster,
    labelled: Cluster,
}

#[tokio::test]
async fn f13_without_an_answer_a_pod_of_a_policy_is_soon_created_bare_and_a_guaranteed_one_soon_refused()
-> Result<()> {
    let Some(scene) = Scene::new("unanswered").await? else {
        return Ok(());
    };
    scene
        .end(async |scene| {
            scene.no_replica().await.context("there is no replica")?;
            scene.none_moves().await.context("both stand still")
        })
        .await
}

#[tokio::test]
async fn f13_a_ca_that_somebody_else_told_the_api_server_is_put_right() -> Result<()> {
    let Some(scene) = Scene::new("mistrusted").await? else {
        return Ok(());
    };
    scene.end(Scene::mistrusted).await
}

impl Scene {
    /// [`None`], with a remark, where no webhook injects, and on a cluster that nothing may be done to.
    async fn new(fault: &str) -> Result<Option<Self>> {
        if state::folder(fault).is_none() {
            return Ok(None);
        }
        if engine()? == Engine::AdmissionPolicy {
            remark(&format!("skipped where the API server injects: {fault}"));
            return Ok(None);
        }
        current().await?;
        let shop = Cluster::alone(fault).await?;
        shop.orders().await?;
        let labelled = shop.beside("labelled").await?;
        namespace_says(&labelled, "true").await?;
        Ok(Some(Self { shop, labelled }))
    }

    /// Injects by policy too while that lasts.
    async fn end(self, fault: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        upgrade("injection.byPolicy=true").await?;
        let outcome = match self.whole().await {
            Ok(()) => fault(&self).await,
            bare => bare,
        };
        scaled(2).await?;
        current().await?;
        // as it was for the other tests, whatever came of it
        upgrade("injection.byPolicy=false").await?;
        current().await?;
        outcome
    }

    /// Every sort of pod is injected.
    async fn whole(&self) -> Result<()> {
        let [(_, labelled, asked), (_, shop, other)] = self.guaranteed();
        for (cluster, pod) in [(labelled, asked), (shop, other), (&self.shop, selected())] {
            until(MINUTE, "it is injected", || async {
                let seen = cluster.create(&pod).accepted().await?;
                let mark = &seen["metadata"]["labels"]["hallpass.dev/injected"];
                ensure!(mark == "true", not_yet(mark));
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// The webhook, the namespace, and a pod that it is called for.
    fn guaranteed(&self) -> [(&'static str, &Cluster, Manifest); 2] {
        [
            ("namespace", &self.labelled, pod("shape")),
            ("pod", &self.shop, pod("shape").injected()),
        ]
    }

    async fn no_replica(&self) -> Result<()> {
        scaled(0).await?;
        // one that is on its way out still answers
        settled().await?;
        let judged = self.unanswered().await;
        scaled(2).await?;
        judged
    }

    async fn none_moves(&self) -> Result<()> {
        let mut stopped = Vec::new();
        for replica in current().await? {
            stopped.push(Process::of(&replica).await?.stop().await?);
        }
        let judged = self.unanswered().await;
        drop(stopped);
        judged
    }

    async fn unanswered(&self) -> Result<()> {
        let mut longest = Duration::ZERO;
        // the kubelet kills one that stands still for more than 23 s
        let over = Instant::now() + MINUTE / 3;
        for _ in 0..MANY {
            if Instant::now() + 3 * SOON > over {
                break;
            }
            let begun = Instant::now();
            check_bare(&self.shop.create(&selected()).accepted().await?)?;
            longest = longest.max(begun.elapsed());
            for (webhook, cluster, pod) in self.guaranteed() {
                let begun = Instant::now();
                let status = cluster.create(&pod).refused().await?;
                let named = format!("failed calling webhook \"{webhook}.inject.hallpass.dev\"");
                ensure!(status.message.contains(&named), "{}", status.message);
                longest = longest.max(begun.elapsed());
            }
        }
        remark(&format!("without an answer the longest took {longest:?}"));
        ensure!(longest <= SOON, "it took {longest:?}");
        Ok(())
    }

    async fn mistrusted(&self) -> Result<()> {
        let before = bundles().await?;
        let other = STANDARD.encode(Authority::past_half()?.certificate);
        for (name, webhooks) in CONFIGURATIONS {
            let patch = (0..webhooks).map(|i| {
                let path = format!("/webhooks/{i}/clientConfig/caBundle");
                json!({"op": "replace", "path": path, "value": other})
            });
            let patch = Value::from_iter(patch).to_string();
            let which = ["patch", "mutatingwebhookconfiguration", name];
            let how = ["--type=json", "-o", "json", "-p", &patch];
            let patched = kubectl(&[&which[..], &how].concat()).await?.success()?;
            ensure!(patched.contains(&other), "it was not changed: {patched}");
        }
        let since = Instant::now();
        until(MINUTE, "the operator puts it right", || async {
            let now = bundles().await?;
            ensure!(now == before, not_yet(now));
            Ok(())
        })
        .await?;
        self.whole().await?;
        let took = since.elapsed();
        remark(&format!("pods are injected again after {took:?}"));
        ensure!(took <= REPAIRED, "injected again after {took:?}");
        Ok(())
    }
}

/// What the API server was told, of each webhook.
async fn bundles() -> Result<Vec<String>> {
    let mut bundles = Vec::new();
    for (name, webhooks) in CONFIGURATIONS {
        let path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
        let args = ["get", "mutatingwebhookconfiguration", name, "-o", path];
        let told = kubectl(&args).await?.success()?;
        let told: Vec<_> = told.split(' ').map(str::to_owned).collect();
        ensure!(told.len() == webhooks, "of {name}: {told:?}");
        bundles.extend(told);
    }
    Ok(bundles)
}

/// What the policy of the example selects, and no label governs.
fn selected() -> Manifest {
    pod("shape").under("orders")
}

/// Each with the number of its webhooks.
const CONFIGURATIONS: [(&str, usize); 2] =
    [("hallpass-inject", 2), ("hallpass-inject-by-policy", 1)];
