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

use injector::{CASES, Change, Injector, Kind, Order};

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
async fn an_injector_before_or_after_ours_may_put_its_sidecar_in_front() -> Result<()> {
    let cluster = Cluster::shared("front").await?;
    let pod = shape().injected();
    for case in CASES {
        let Some(mesh) = Injector::new(&cluster, case, &[Change::ProxyAt("0")]).await? else {
            continue;
        };
        let seen = mesh.seen(&cluster, &pod).await;
        let seen = seen.with_context(|| format!("{case:?}"))?;
        let expected = ["istio-proxy", "hallpass", "migrate"];
        ensure!(inits(&seen) == expected, "{case:?}: {:?}", inits(&seen));
        added_once(&seen).with_context(|| format!("{case:?}"))?;
        let proxy = &seen["spec"]["initContainers"][0]["volumeMounts"];
        let has = directory(proxy).is_some();
        let first = mesh.comes_first()?;
        ensure!(
            first.is_none_or(|first| first == has),
            "{case:?}: it has tokens where it was there already: {proxy}"
        );
        mesh.gone(&cluster, &pod).await?;
    }
    Ok(())
}

/// Ours may have been called twice: a directory for each container that it saw, and two volumes of the sidecar's own.
fn added_once(pod: &Value) -> Result<()> {
    let list = |list: &str| pod["spec"][list].as_array().cloned().unwrap_or_default();
    let ours = |named: &&Value| {
        let name = named["name"].as_str().unwrap_or_default();
        name.starts_with("hallpass")
    };
    let (inits, volumes) = (list("initContainers"), list("volumes"));
    ensure!(inits.iter().filter(ours).count() == 1, "{inits:?}");
    let others = inits.iter().filter(|init| init["name"] != "hallpass");
    let containers = list("containers");
    let mounts = others
        .chain(&containers)
        .filter_map(|container| directory(&container["volumeMounts"]));
    ensure!(
        volumes.iter().filter(ours).count() == mounts.count() + 2,
        "{volumes:?}"
    );
    Ok(())
}

/// The mount by which a container reads its tokens.
fn directory(mounts: &Value) -> Option<&Value> {
    let mut mounts = mounts.as_array().into_iter().flatten();
    mounts.find(|mount| mount["mountPath"] == "/var/run/hallpass")
}

/// Ours comes behind one that is there; one that is not there yet may not come behind ours.
#[tokio::test]
async fn an_injector_may_not_put_its_sidecar_behind_ours() -> Result<()> {
    let cluster = Cluster::shared("wrong").await?;
    let pod = shape().injected();
    for case in CASES {
        let Some(mesh) = Injector::new(&cluster, case, &[Change::ProxyAt("-")]).await? else {
            continue;
        };
        let context = || format!("{case:?}");
        let first = mesh.comes_first()?;
        let refused = async || mesh.refused(&cluster, &pod, POLICY, &[BEHIND]).await;
        match first {
            Some(false) => refused().await.with_context(context)?,
            None if refused().await.is_ok() => {}
            Some(true) | None => {
                let seen = mesh.seen(&cluster, &pod).await.with_context(context)?;
                let expected = ["migrate", "istio-proxy", "hallpass"];
                ensure!(inits(&seen) == expected, "{case:?}: {:?}", inits(&seen));
                added_once(&seen).with_context(context)?;
            }
        }
        mesh.gone(&cluster, &pod).await?;
    }
    Ok(())
}

#[tokio::test]
async fn t27_an_injector_after_ours_may_not_damage_the_sidecar() -> Result<()> {
    let cluster = Cluster::shared("damage").await?;
    let pod = shape().injected();
    let damage = Change::Remove("/spec/initContainers/0/startupProbe");
    let why = [
        "the startupProbe of init container hallpass",
        "a mutating webhook after injection changed it",
    ];
    for case in after_ours() {
        let Some(mesh) = Injector::new(&cluster, case, &[damage]).await? else {
            continue;
        };
        let refused = mesh.refused(&cluster, &pod, POLICY, &why).await;
        refused.with_context(|| format!("{case:?}"))?;
        mesh.gone(&cluster, &pod).await?;
    }
    Ok(())
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
    let pod = shape()
        .injected()
        .with("/spec/automountServiceAccountToken", json!(false));
    for case in after_ours() {
        let Some(mesh) = Injector::new(&cluster, case, &undo.map(Change::Remove)).await? else {
            continue;
        };
        let seen = mesh.seen(&cluster, &pod).await;
        let seen = seen.with_context(|| format!("{case:?}"))?;
        ensure!(
            inits(&seen) == ["hallpass", "migrate"],
            "{case:?}: {:?}",
            inits(&seen)
        );
        mesh.gone(&cluster, &pod).await?;
    }
    Ok(())
}

fn after_ours() -> impl Iterator<Item = (Kind, Order)> {
    CASES
        .into_iter()
        .filter(|(_, order)| *order == Order::After)
}
