//! Other injectors before and after ours: where the sidecar stands among their containers, and what
//! they may not do to it.

mod injector;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    injection::Injection,
    manifest::{Manifest, container, container_with, pod},
};
use serde_json::{Value, json};

use injector::{Change, Injector};

const POLICY: &str = "hallpass-injected";
const BEHIND: &str =
    "init container hallpass must come after istio-proxy, which carries the pod's traffic";

/// A pod with an init container, so that the other injector has a list to add to.
fn shape() -> Manifest {
    pod("shape").with("/spec/initContainers", json!([container("migrate")]))
}

fn inits(pod: &Value) -> Vec<&str> {
    let inits = pod["spec"]["initContainers"].as_array();
    inits
        .into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .collect()
}

#[tokio::test]
async fn the_sidecar_comes_right_after_the_mesh_that_is_there() -> Result<()> {
    let cluster = Cluster::shared("behind").await?;
    let native = |name: &str| container_with(name, json!({"restartPolicy": "Always"}));
    for (before, inits) in [
        (1, json!([native("istio-proxy"), container("migrate")])),
        (
            2,
            json!([
                container("istio-init"),
                native("istio-proxy"),
                container("migrate")
            ]),
        ),
        (
            3,
            json!([
                native("linkerd-proxy"),
                container("migrate"),
                native("istio-proxy")
            ]),
        ),
        // the same names, but nothing that goes on running
        (0, json!([container("istio-proxy"), container("migrate")])),
        (0, json!([native("envoy"), container("migrate")])),
    ] {
        let pod = pod("shape").with("/spec/initContainers", inits.clone());
        let seen = Injection::default().after(before).of(&cluster, &pod).await;
        seen.with_context(|| inits.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn an_injector_after_ours_may_put_its_sidecar_in_front() -> Result<()> {
    let cluster = Cluster::shared("after").await?;
    let Some(mesh) = Injector::new(&cluster, &[Change::ProxyAt("0")]).await? else {
        return Ok(());
    };
    let seen = mesh.seen(&cluster, &shape().injected()).await?;
    let expected = ["istio-proxy", "hallpass", "migrate"];
    ensure!(inits(&seen) == expected, "{:?}", inits(&seen));
    // ours was called again after that, and added nothing twice
    let ours = |list: &str| {
        let list = seen["spec"][list].as_array().into_iter().flatten();
        let names = list.filter_map(|v| v["name"].as_str());
        names.filter(|name| name.starts_with("hallpass")).count()
    };
    ensure!(
        (ours("initContainers"), ours("volumes")) == (1, 4),
        "{seen}"
    );
    mesh.gone().await
}

#[tokio::test]
async fn an_injector_after_ours_may_not_put_its_sidecar_behind() -> Result<()> {
    let cluster = Cluster::shared("wrong").await?;
    let Some(mesh) = Injector::new(&cluster, &[Change::ProxyAt("-")]).await? else {
        return Ok(());
    };
    mesh.refused(&cluster, &shape().injected(), POLICY, &[BEHIND])
        .await?;
    mesh.gone().await
}

#[tokio::test]
async fn t27_an_injector_after_ours_may_not_damage_the_sidecar() -> Result<()> {
    let cluster = Cluster::shared("damage").await?;
    let damage = Change::Remove("/spec/initContainers/0/startupProbe");
    let Some(mesh) = Injector::new(&cluster, &[damage]).await? else {
        return Ok(());
    };
    let why = [
        "the startupProbe of init container hallpass",
        "a mutating webhook after injection changed it",
    ];
    mesh.refused(&cluster, &shape().injected(), POLICY, &why)
        .await?;
    mesh.gone().await
}

/// What is taken out altogether is put in again: our policy, or the operator, is asked once more.
#[tokio::test]
async fn t27_an_injector_after_ours_that_drops_the_sidecar_has_it_put_in_again() -> Result<()> {
    let cluster = Cluster::shared("drop").await?;
    let undo = [
        "/spec/initContainers/0",
        "/spec/volumes",
        "/spec/containers/0/volumeMounts",
        "/spec/initContainers/0/volumeMounts",
    ];
    let Some(mesh) = Injector::new(&cluster, &undo.map(Change::Remove)).await? else {
        return Ok(());
    };
    let pod = shape()
        .injected()
        .with("/spec/automountServiceAccountToken", json!(false));
    let seen = mesh.seen(&cluster, &pod).await?;
    ensure!(
        inits(&seen) == ["hallpass", "migrate"],
        "{:?}",
        inits(&seen)
    );
    mesh.gone().await
}
