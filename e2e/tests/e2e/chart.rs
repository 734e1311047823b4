//! The chart: rendered twice it is the same, all of it is valid, and installing it again changes nothing.

mod expressions;
mod helms;
mod monitoring;
mod network;
mod restricted;
mod values;
mod webhooks;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE, checkout, engine},
    command::{Said, kubectl, kubectl_with, run},
};
use serde_json::Value;

/// `helm COMMAND… CHART ARGS…`.
async fn helm(command: &[&str], args: &[&str]) -> Result<Said> {
    let chart = checkout().join("charts/hallpass");
    let chart = chart.to_str().context("a path in UTF-8")?;
    run("helm", &[command, &[chart], args].concat(), None).await
}

/// The chart with its default values, or with others.
async fn rendered(args: &[&str]) -> Result<String> {
    helm(
        &["template", "hallpass"],
        &[&["-n", RELEASE], args].concat(),
    )
    .await?
    .success()
}

#[tokio::test]
async fn the_chart_rendered_twice_is_identical() -> Result<()> {
    let _cluster = Cluster::shared("twice").await?;
    let everything = checkout().join("charts/hallpass/values-ha.yaml");
    let everything = ["-f", everything.to_str().context("a path in UTF-8")?];
    for args in [&[][..], &everything] {
        assert_eq!(rendered(args).await?, rendered(args).await?);
    }
    helm(&["lint", "--strict"], &[]).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn every_template_renders_an_object() -> Result<()> {
    let _cluster = Cluster::shared("template").await?;
    let templates = checkout().join("charts/hallpass/templates");
    let mut expected = BTreeSet::new();
    for folder in ["", "admission", "tests"].map(|folder| templates.join(folder)) {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let path = path.strip_prefix(checkout().join("charts"))?;
                expected.insert(path.to_string_lossy().into_owned());
            }
        }
    }
    let mut sources = BTreeSet::new();
    // all that is off by default, in two parts, since the monitors exclude each other, and so do the engines
    for (monitor, engine) in [
        ("serviceMonitor", "AdmissionPolicy"),
        ("podMonitor", "Webhook"),
    ] {
        let on = format!(
            "injection.engine={engine},injection.byPolicy=true,networkPolicy.enabled=true,priorityClassName=system-cluster-critical,\
            prometheus.{monitor}.enabled=true,prometheus.prometheusRule.enabled=true,prometheus.grafanaDashboard.enabled=true"
        );
        let object =
            r#"extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}]"#;
        let kinds = "--api-versions=monitoring.coreos.com/v1";
        let chart = rendered(&["--set", &on, "--set-json", object, kinds]).await?;
        let lines = chart
            .lines()
            .filter_map(|line| line.strip_prefix("# Source: "));
        sources.extend(lines.map(str::to_owned));
    }
    assert_eq!(sources, expected);
    Ok(())
}

#[tokio::test]
async fn every_object_but_the_definitions_says_what_it_belongs_to() -> Result<()> {
    let mut seen = BTreeSet::new();
    for monitor in ["serviceMonitor", "podMonitor"] {
        let on = format!(
            "injection.byPolicy=true,networkPolicy.enabled=true,priorityClassName=system-cluster-critical,\
            prometheus.{monitor}.enabled=true,prometheus.prometheusRule.enabled=true,prometheus.grafanaDashboard.enabled=true"
        );
        let kinds = "--api-versions=monitoring.coreos.com/v1";
        let chart = rendered(&["--set", &on, kinds]).await?;
        for object in chart.split("\n---\n") {
            let mut lines = object.lines();
            let label = "    app.kubernetes.io/component: ";
            let said = lines.find_map(|line| line.strip_prefix(label));
            let definition = object.contains("kind: CustomResourceDefinition");
            ensure!(said.is_some() != definition, "{object}");
            seen.extend(said.map(str::to_owned));
        }
        // what is there cannot be selected by anything else
        let selector = "  selector:\n    matchLabels:\n      app.kubernetes.io/name: hallpass\n      \
            app.kubernetes.io/instance: hallpass\n  template:\n";
        ensure!(chart.contains(selector), "{chart}");
    }
    let named = ["admission", "metrics", "operator", "test"];
    assert_eq!(seen, named.map(str::to_owned).into());
    Ok(())
}

#[tokio::test]
async fn every_object_is_valid_under_every_name() -> Result<()> {
    let cluster = Cluster::shared("valid").await?;
    let long = "x".repeat(63);
    let available = checkout().join("charts/hallpass/values-ha.yaml");
    let available = available.to_string_lossy();
    // what is in it cannot be tried before it is there
    let keys = format!("{}-keys", cluster.namespace);
    kubectl(&["create", "namespace", &keys]).await?.success()?;
    for args in [
        &[][..],
        &["--set", "nameOverride=other"],
        &["--set", "fullnameOverride=other"],
        &["--set", &format!("fullnameOverride={long}")],
        &[
            "--set",
            "logLevel=debug,replicaCount=1,imagePullSecrets[0].name=pull",
        ],
        &["-f", &available],
        &[
            "--set",
            "networkPolicy.enabled=true,prometheus.grafanaDashboard.enabled=true,runtimeClassName=a,podLabels.team=a",
        ],
        &["--set", "rbac.tokenRequest.namespaces={default}"],
        &[
            "--set",
            "issuer.url=https://id.example/a,issuer.algorithm=EdDSA,issuer.spiffeTrustDomain=a.example",
        ],
        &[
            "--set",
            "injection.byPolicy=true,injection.evictUninjected=true,sidecar.runAsUser=null,sidecar.imagePullSecrets[0].name=pull",
            "--set-json",
            "injection.after=[]",
        ],
        &[
            "--set",
            "sidecar.resources.limits=null,sidecar.guaranteedResources.cpu=1,sidecar.guaranteedResources.memory=16777216",
        ],
        &[
            "--set",
            "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ],
    ] {
        // under another release, so that nothing of it is there yet but the definitions; its test pod is for a
        // namespace in which this one injects nothing
        let release = ["template", "other", "--skip-tests"];
        let engine = format!("injection.engine={:?}", engine()?);
        let fixed = ["-n", &cluster.namespace, "--set", &engine];
        let chart = helm(&release, &[&fixed[..], args].concat())
            .await?
            .success()?;
        valid(&chart).await.with_context(|| format!("{args:?}"))?;
    }
    let delete = ["delete", "namespace", &keys, "--wait=false"];
    kubectl(&delete).await?.success()?;
    Ok(())
}

/// The API server would take all of it.
async fn valid(chart: &str) -> Result<()> {
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    ];
    kubectl_with(&apply, chart).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn a_value_that_nothing_reads_or_that_means_nothing_is_refused() -> Result<()> {
    let _cluster = Cluster::shared("values").await?;
    for (value, said) in [
        ("nothing=1", "nothing"),
        ("image.name=x", "name"),
        ("sidecar.resources.claims=x", "claims"),
        ("sidecar.resources.limits.disk=1", "disk"),
        ("sidecar.resources.limits.cpu=much", "cpu"),
        (
            "sidecar.guaranteedResources.cpu=null",
            "guaranteedResources",
        ),
        ("sidecar.runAsUser=0", "runAsUser"),
        ("sidecar.imagePullSecrets[0]=x", "imagePullSecrets"),
        ("injection.engine=Magic", "engine"),
        ("injection.after[0]=Istio", "after"),
        ("injection.byPolicy=yes", "byPolicy"),
        ("injection.evictUninjected=yes", "evictUninjected"),
        ("kubernetes.audiences[0]=x", "audiences"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("logLevel=loud", "logLevel"),
        ("replicaCount=-1", "replicaCount"),
        ("replicaCount=two", "replicaCount"),
        ("kubernetes.apiServerAudiences=null", "apiServerAudiences"),
        ("kubernetes.apiServerAudiences[0]=a b", "apiServerAudiences"),
        ("fullnameOverride=Hall_Pass", "fullnameOverride"),
        ("issuer.url=http://id.example", "url"),
        ("issuer.url=https://id.example/", "url"),
        ("issuer.algorithm=HS256", "algorithm"),
        ("issuer.rotateEvery=1d12h", "rotateEvery"),
        ("issuer.name=x", "name"),
    ] {
        let refused = helm(&["template", "hallpass"], &["-n", RELEASE, "--set", value])
            .await?
            .failure()?;
        ensure!(
            refused.contains("schema") && refused.contains(said),
            "{value}: {refused}"
        );
    }
    rendered(&[
        "--set",
        "image.pullPolicy=Always,logLevel=debug,replicaCount=3",
    ])
    .await?;
    Ok(())
}

#[tokio::test]
async fn the_charts_own_test_is_answered_by_the_operator() -> Result<()> {
    let _cluster = Cluster::shared("helmtest").await?;
    let test = ["test", "hallpass", "-n", RELEASE, "--timeout", "120s"];
    let said = run("helm", &test, None).await?.success()?;
    ensure!(said.contains("Succeeded"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_same_upgrade_changes_nothing() -> Result<()> {
    let _cluster = Cluster::shared("upgrade").await?;
    let objects = async || -> Result<Vec<Value>> {
        let release = ["get", "manifest", "hallpass", "-n", RELEASE];
        let manifest = run("helm", &release, None).await?.success()?;
        let said = kubectl_with(&["get", "-o", "json", "-f", "-"], &manifest).await?;
        let mut list: Value = serde_json::from_str(&said.success()?)?;
        Ok(list["items"]
            .as_array_mut()
            .context("a list")?
            .drain(..)
            .collect())
    };
    let before = objects().await?;
    let upgrade = ["upgrade", "--install", "hallpass"];
    helm(&upgrade, &["-n", RELEASE, "--reuse-values"])
        .await?
        .success()?;
    let after = objects().await?;
    ensure!(
        before.len() == after.len() && before.len() > 20,
        "{} objects",
        before.len()
    );
    for (before, after) in before.iter().zip(&after) {
        let what = format!("{} {}", before["kind"], before["metadata"]["name"]);
        for member in ["uid", "generation"] {
            assert_eq!(
                before["metadata"][member], after["metadata"][member],
                "{member} of {what}"
            );
        }
        // the operator's, which the chart leaves alone
        assert_eq!(before["data"], after["data"], "{what}");
    }
    let args = [
        "get",
        "secret",
        "hallpass-serving",
        "-n",
        RELEASE,
        "-o",
        "jsonpath={.data}",
    ];
    let keys = kubectl(&args).await?.success()?;
    ensure!(
        keys.contains("ca.crt"),
        "the Secret of the operator is empty"
    );
    Ok(())
}
