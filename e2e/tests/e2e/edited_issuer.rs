//! The issuer that the operator makes follows the chart's values until a person edits it. Then it is theirs.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE, checkout},
    command::{kubectl, run},
    operator::{leader, replicas},
    wait::{not_yet, until},
};
use tempfile::TempDir;

const MINUTE: Duration = Duration::from_secs(60);
const ISSUER: &str = "tokenissuers.hallpass.dev/hallpass";

#[tokio::test]
async fn the_charts_issuer_is_left_alone_once_a_person_has_edited_it() -> Result<()> {
    let _cluster = Cluster::alone("edited").await?;
    let chart = checkout().join("charts/hallpass");
    let chart = chart.to_str().context("a path in UTF-8")?;
    // a field that changes nothing for weeks
    ensure!(rotates_every().await? == "30d", "the chart's default");
    let value = ["--reuse-values", "--set", "issuer.rotateEvery=28d"];
    let followed = async {
        helm(&[&["upgrade", "hallpass", chart], &value[..]].concat()).await?;
        until(MINUTE, "the issuer follows the chart", || is("28d")).await?;
        edit("rotateEvery: 28d", "rotateEvery: 29d").await?;
        is("29d").await
    };
    let followed = followed.await;
    helm(&["rollback", "hallpass"]).await?;
    let kept = match followed {
        Ok(()) => kept("29d").await,
        Err(why) => Err(why),
    };

    // made again as the chart says, it goes on with its keys
    kubectl(&["delete", ISSUER]).await?.success()?;
    until(MINUTE, "the issuer is the chart's again", || async {
        is("30d").await?;
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let ready = kubectl(&["get", ISSUER, "-o", path]).await?.success()?;
        ensure!(ready == "True", "it is not ready: {ready}");
        Ok(())
    })
    .await?;
    kept
}

/// The leader, whose chart says something else, has looked and let it be.
async fn kept(every: &str) -> Result<()> {
    until(MINUTE, "the leader has looked at the issuer", || async {
        let leader = leader().await?;
        let mut replicas = replicas().await?.into_iter();
        ensure!(
            replicas.any(|r| r.pod == leader),
            "{leader} is on its way out"
        );
        let log = kubectl(&["logs", &leader, "-n", RELEASE]).await?;
        let looked = log.success()?.contains("the issuer was edited");
        if looked || rotates_every().await? != every {
            Ok(())
        } else {
            Err(not_yet("no word of it"))
        }
    })
    .await?;
    is(every).await
}

async fn is(every: &str) -> Result<()> {
    let found = rotates_every().await?;
    ensure!(found == every, "keys are rotated every {found}");
    Ok(())
}

async fn rotates_every() -> Result<String> {
    let path = "jsonpath={.spec.hallpass.rotateEvery}";
    kubectl(&["get", ISSUER, "-o", path]).await?.success()
}

/// `kubectl edit`, with an editor that replaces one text.
async fn edit(old: &str, new: &str) -> Result<()> {
    let folder = TempDir::new()?;
    let editor = folder.path().join("editor");
    fs::write(
        &editor,
        format!("#!/bin/sh\nsed -i 's/{old}/{new}/' \"$1\"\n"),
    )?;
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700))?;
    let editor = format!("KUBE_EDITOR={}", editor.display());
    let said = run("env", &[&editor, "kubectl", "edit", ISSUER], None).await?;
    let said = said.success()?;
    ensure!(said.contains("edited"), "{said}");
    Ok(())
}

/// `helm ARGS…`, and waits until the replicas are those of that revision.
async fn helm(args: &[&str]) -> Result<()> {
    let said = run("helm", &[args, &["-n", RELEASE]].concat(), None).await?;
    said.success()?;
    let rollout = ["rollout", "status", "deployment/hallpass", "-n", RELEASE];
    kubectl(&[&rollout[..], &["--timeout=120s"]].concat())
        .await?
        .success()?;
    Ok(())
}
