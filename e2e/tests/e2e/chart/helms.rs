//! Helm 3 and Helm 4 make the same of the chart, and take over each other's release.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, Engine, RELEASE, checkout, engine, install},
    command::{kubectl, kubectl_with, run},
    manifest::pod,
    state,
    wait::{not_yet, until},
};
use serde_json::Value;

use crate::uninstall::nothing_else_is_left;

const MINUTE: Duration = Duration::from_secs(60);
/// All that is off by default, but what excludes it.
const EVERYTHING: &str = "injection.engine=Webhook,injection.byPolicy=true,networkPolicy.enabled=true,\
    priorityClassName=system-cluster-critical,prometheus.podMonitor.enabled=true,\
    prometheus.prometheusRule.enabled=true,prometheus.grafanaDashboard.enabled=true";

#[tokio::test]
async fn helm_3_and_4_render_the_same_objects() -> Result<()> {
    if state::folder("what Helm 3 renders").is_none() {
        return Ok(());
    }
    let available = checkout().join("charts/hallpass/values-ha.yaml");
    let available = available.to_str().context("a path in UTF-8")?;
    let monitors = "--api-versions=monitoring.coreos.com/v1";
    for args in [
        &["template", "hallpass"][..],
        &["template", "hallpass", "-f", available],
        &["template", "hallpass", "--set", EVERYTHING, monitors],
    ] {
        let three = objects("helm3", args).await?;
        let four = objects("helm", args).await?;
        ensure!(three.len() > 50, "{args:?}: {} objects", three.len());
        let only: Vec<_> = three.symmetric_difference(&four).collect();
        ensure!(only.is_empty(), "{args:?}: {only:#?}");
    }
    Ok(())
}

/// What is rendered, object by object: Helm 4 puts some in another place, and an empty line before each.
async fn objects(helm: &str, args: &[&str]) -> Result<BTreeSet<String>> {
    let rendered = helm_of(helm, args).await?;
    let objects = rendered
        .split("---\n")
        .map(|object| object.trim().to_owned());
    Ok(objects.filter(|object| !object.is_empty()).collect())
}

#[tokio::test]
async fn a_release_of_helm_3_is_upgraded_by_both_rolled_back_and_uninstalled() -> Result<()> {
    if state::folder("a release of Helm 3").is_none() {
        return Ok(());
    }
    let cluster = Cluster::alone("helmthree").await?;
    cluster.orders().await?;
    helm_of("helm", &["uninstall", "hallpass", "--wait"]).await?;
    let outcome = lives(&cluster).await;
    let uninstalled = helm_of("helm3", &["uninstall", "hallpass", "--wait"]).await;
    let left = nothing_else_is_left().await;
    install().await.context("install it again")?;
    outcome?;
    uninstalled?;
    left.context("Helm 3 uninstalled it")
}

async fn lives(cluster: &Cluster) -> Result<()> {
    helm_3_installs().await?;
    let running = cluster
        .start(&pod("running").injected().under("orders"))
        .await?;
    helm_of("helm3", &["test", "hallpass", "--timeout", "120s"]).await?;
    let installed = until(MINUTE, "the operator has made its issuer", || {
        Filled::by_the_operator()
    })
    .await?;
    no_difference().await.context("Helm 3 installed it")?;

    // another engine, whose caBundle the operator fills in
    let webhook = "injection.engine=Webhook,injection.byPolicy=true";
    upgrade("helm3", &["--set", webhook]).await?;
    let upgraded = until(MINUTE, "the API server trusts the operator", trusted).await?;
    ensure!(
        upgraded.certificate == installed.certificate,
        "another certificate"
    );
    no_difference().await.context("Helm 3 changed the engine")?;
    the_bundles_are_the_operators().await?;

    // by Helm 4, as Helm 3 did and then as Helm 4 does by itself
    for how in ["--server-side=auto", "--server-side=true"] {
        upgrade("helm", &[how, "--set", "podLabels.of=four"]).await?;
        ensure!(Filled::by_the_operator().await? == upgraded, "{how}");
        no_difference().await.with_context(|| how.to_owned())?;
        let owned = the_bundles_are_the_operators().await;
        owned.with_context(|| how.to_owned())?;
    }

    helm_of("helm3", &["rollback", "hallpass", "1", "--wait"]).await?;
    install().await?;
    ensure!(Filled::by_the_operator().await? == installed, "rolled back");
    no_difference().await.context("Helm 3 rolled it back")?;
    cluster.token(&running, "app", "vault").await?;
    cluster
        .start(&pod("later").injected().under("orders"))
        .await?;
    Ok(())
}

async fn helm_3_installs() -> Result<()> {
    let injects = match engine()? {
        Engine::AdmissionPolicy => "injection.engine=AdmissionPolicy",
        Engine::Webhook => "injection.engine=Webhook",
    };
    let values = format!("image.registry=registry.local,{injects}");
    let first = [
        "install",
        "hallpass",
        "--create-namespace",
        "--wait",
        "--set",
        &values,
    ];
    helm_of("helm3", &first).await?;
    // it is there, so this waits until pods are injected
    install().await
}

async fn upgrade(helm: &str, args: &[&str]) -> Result<()> {
    let upgrade = ["upgrade", "hallpass", "--reuse-values", "--wait"];
    helm_of(helm, &[&upgrade[..], args].concat()).await?;
    Ok(())
}

/// `HELM COMMAND… -n NAMESPACE`, of the chart where the command takes one.
async fn helm_of(helm: &str, args: &[&str]) -> Result<String> {
    let chart = checkout().join("charts/hallpass");
    let chart = [chart.to_str().context("a path in UTF-8")?];
    let (command, rest) = args.split_at(2);
    let chart = match command[0] {
        "template" | "install" | "upgrade" => &chart[..],
        _ => &[],
    };
    let args = [command, chart, rest, &["-n", RELEASE]].concat();
    let said = run(helm, &args, None).await?;
    said.success().with_context(|| format!("{helm} {args:?}"))
}

/// What the cluster has is what the release says: what a GitOps tool compares, too.
async fn no_difference() -> Result<()> {
    let manifest = helm_of("helm", &["get", "manifest", "hallpass"]).await?;
    for how in [
        &["diff", "-f", "-"][..],
        &["diff", "--server-side", "--force-conflicts", "-f", "-"],
    ] {
        let said = kubectl_with(how, &manifest).await?;
        said.success().with_context(|| format!("{how:?}"))?;
    }
    Ok(())
}

/// The one field manager that says a `caBundle` is the operator, under the name that docs/gitops.md gives.
async fn the_bundles_are_the_operators() -> Result<()> {
    let mut webhooks = vec!["get", "mutatingwebhookconfigurations", "-o", "json"];
    webhooks.extend(["-l", "app.kubernetes.io/instance=hallpass"]);
    webhooks.push("--show-managed-fields");
    let list: Value = serde_json::from_str(&kubectl(&webhooks).await?.success()?)?;
    let configurations = list["items"].as_array().context("a list")?;
    ensure!(configurations.len() == 2, "{configurations:?}");
    for configuration in configurations {
        let fields = configuration["metadata"]["managedFields"].as_array();
        let says = fields
            .context("managers")?
            .iter()
            .filter(|of| of["fieldsV1"].to_string().contains("\"f:caBundle\""));
        let says: Vec<_> = says.map(|of| &of["manager"]).collect();
        ensure!(says == ["hallpass-webhook"], "{says:?} say a caBundle");
    }
    Ok(())
}

/// What the operator filled in where the chart says nothing.
#[derive(Debug, PartialEq, Eq)]
struct Filled {
    certificate: String,
    authority: String,
    bundles: String,
    issuer: String,
}

impl Filled {
    async fn by_the_operator() -> Result<Self> {
        let get = async |what: &[&str], path: &str| -> Result<String> {
            let path = format!("-o=jsonpath={path}");
            kubectl(&[&["get"], what, &[&path]].concat())
                .await?
                .success()
        };
        let serving = ["secret", "hallpass-serving", "-n", RELEASE];
        let webhooks = [
            "mutatingwebhookconfigurations",
            "-l",
            "app.kubernetes.io/instance=hallpass",
        ];
        let each = "{range .items[*].webhooks[*]}{.name}={.clientConfig.caBundle} {end}";
        let issuer = ["tokenissuers.hallpass.dev", "hallpass"];
        Ok(Self {
            certificate: get(&serving, "{.data}").await?,
            authority: get(&serving, "{.data.ca\\.crt}").await?,
            bundles: get(&webhooks, each).await?,
            issuer: get(&issuer, "{.metadata.uid}").await?,
        })
    }
}

/// What it filled in, once each webhook is called under its CA.
async fn trusted() -> Result<Filled> {
    let filled = Filled::by_the_operator().await?;
    let told: Vec<_> = filled.bundles.split_whitespace().collect();
    let by_us = |told: &&str| {
        told.split_once('=')
            .is_some_and(|(_, ca)| ca == filled.authority)
    };
    if told.len() == 3 && told.iter().all(by_us) {
        Ok(filled)
    } else {
        Err(not_yet(filled.bundles))
    }
}
