//! The release's own pods pass Pod Security's level `restricted`.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE, engine},
    command::{Said, kubectl, kubectl_with},
    manifest::pod,
    wait::until,
};

use super::rendered;

const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";

#[tokio::test]
async fn no_pod_of_the_operator_is_in_the_way_of_restricted() -> Result<()> {
    let cluster = Cluster::shared("unrestricted").await?;
    let operators = ["get", "pods", "-o", "name", "-n", RELEASE];
    let operators = kubectl(&operators).await?.success()?;
    ensure!(operators.contains("pod/hallpass-"), "{operators}");
    let warned = wanted(RELEASE).await?;
    ensure!(warned.stderr.is_empty(), "{warned:?}");

    // the API server does say so where a pod is
    cluster.apply(&pod("shape").to_string()).await?;
    let warned = wanted(&cluster.namespace).await?;
    let why = "Warning: existing pods in namespace";
    ensure!(warned.stderr.contains(why), "{warned:?}");
    Ok(())
}

#[tokio::test]
async fn the_charts_test_is_created_where_restricted_is_enforced() -> Result<()> {
    let cluster = Cluster::shared("restricted").await?;
    let label = ["label", "namespace", &cluster.namespace, RESTRICTED];
    kubectl(&label).await?.success()?;
    let why = "violates PodSecurity \"restricted:latest\"";
    until(Duration::from_secs(10), "it is enforced", || async {
        let refused = cluster.create(&pod("shape")).refused().await?;
        ensure!(refused.message.contains(why), "{refused:?}");
        Ok(())
    })
    .await?;

    let only = ["--show-only", "templates/tests/sidecar.yaml"];
    let engine = format!("injection.engine={:?}", engine()?);
    let here = ["-n", &cluster.namespace, "--set", &engine];
    let test = rendered(&[&only[..], &here].concat()).await?;
    // the mark that no pod may bear where pods are injected
    let unmarked = test.replace("hallpass.dev/injected: \"true\"", "");
    ensure!(test != unmarked, "{test}");
    let create = ["create", "--dry-run=server", "-f", "-"];
    kubectl_with(&create, &unmarked).await?.success()?;
    Ok(())
}

/// What the API server would say to the label.
async fn wanted(namespace: &str) -> Result<Said> {
    let label = ["label", "--overwrite", "--dry-run=server", "namespace"];
    let said = kubectl(&[&label[..], &[namespace, RESTRICTED]].concat()).await?;
    ensure!(said.ok, "{said:?}");
    Ok(said)
}
