//! Namespaces that bound what their pods may ask for: the sidecar counts as one more container, and its annotations answer.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    manifest::{Manifest, container_with, pod},
    wait::{not_yet, until},
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_quota_on_limits_refuses_a_pod_until_its_sidecar_has_one() -> Result<()> {
    let cluster = Cluster::shared("quota").await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "processors"},
        "spec": {"hard": {"limits.cpu": "2"}},
    });
    cluster.apply(&quota.to_string()).await?;
    let pod = app(json!({
        "requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "100m"},
    }));
    let why = "failed quota: processors: must specify limits.cpu for: hallpass";
    refused(&cluster, &pod.clone().injected(), why).await?;
    // nothing is wrong with the pod itself
    cluster.create(&pod).accepted().await?;

    let annotated = pod.clone().annotation("hallpass.dev/cpu-limit", "50m");
    let resources = json!({
        "requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"cpu": "50m", "memory": "16Mi"},
    });
    given(&cluster, &annotated.injected(), &resources).await?;

    // and so does a default of the namespace
    limit(&cluster, json!({"default": {"cpu": "200m"}})).await?;
    let resources = json!({
        "requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"cpu": "200m", "memory": "16Mi"},
    });
    given(&cluster, &pod.injected(), &resources).await
}

#[tokio::test]
async fn a_least_of_the_namespace_refuses_a_pod_until_its_sidecar_asks_for_as_much() -> Result<()> {
    let cluster = Cluster::shared("least").await?;
    limit(&cluster, json!({"min": {"memory": "32Mi"}})).await?;
    let pod = app(json!({"requests": {"cpu": "50m", "memory": "64Mi"}}));
    let why = "minimum memory usage per Container is 32Mi, but request is 8Mi";
    refused(&cluster, &pod.clone().injected(), why).await?;
    // nothing is wrong with the pod itself
    cluster.create(&pod).accepted().await?;

    let annotated = pod
        .annotation("hallpass.dev/memory-request", "32Mi")
        .annotation("hallpass.dev/memory-limit", "48Mi");
    let resources = json!({
        "requests": {"cpu": "5m", "memory": "32Mi"}, "limits": {"memory": "48Mi"},
    });
    given(&cluster, &annotated.injected(), &resources).await
}

/// Waits until the pod is refused for that: admission reads quotas and limits from a watch of the API server's own, and a
/// quota counts once its controller has looked at it.
async fn refused(cluster: &Cluster, pod: &Manifest, why: &str) -> Result<()> {
    until(SOON, why, || async {
        let refused = cluster.create(pod).refused().await?;
        ensure!(refused.message.contains(why), "{refused:?}");
        Ok(())
    })
    .await
}

/// Waits until the pod is created with a sidecar of exactly these resources.
async fn given(cluster: &Cluster, pod: &Manifest, resources: &Value) -> Result<()> {
    until(SOON, "the sidecar's resources", || async {
        let seen = cluster.create(pod).accepted().await?;
        let sidecar = &seen["spec"]["initContainers"][0];
        ensure!(sidecar["name"] == "hallpass", "no sidecar: {seen}");
        if sidecar["resources"] == *resources {
            Ok(())
        } else {
            Err(not_yet(&sidecar["resources"]))
        }
    })
    .await
}

/// Bounds each container of the namespace.
async fn limit(cluster: &Cluster, mut bounds: Value) -> Result<()> {
    bounds["type"] = json!("Container");
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "containers"},
        "spec": {"limits": [bounds]},
    });
    cluster.apply(&range.to_string()).await?;
    Ok(())
}

fn app(resources: Value) -> Manifest {
    let app = container_with("app", json!({"resources": resources}));
    pod("shape").with("/spec/containers", json!([app]))
}

const SOON: Duration = Duration::from_secs(30);
