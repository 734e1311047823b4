//! A pod with the sidecar is of the class that it is of without.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    injection::Injection,
    manifest::{Manifest, container, container_with, pod},
};
use serde_json::{Value, json};

/// A class, what leads to it, and the sidecar's resources.
type Class = (&'static str, &'static str, fn() -> Manifest, fn() -> Value);

#[rustfmt::skip]
const CLASSES: &[Class] = &[
    ("Guaranteed", "equal", guaranteed, for_guaranteed),
    ("Guaranteed", "limits alone", || containers(json!([of(json!({}), small())])), for_guaranteed),
    ("Guaranteed", "two spellings", || {
        containers(json!([of(json!({"cpu": "1000m", "memory": "1Gi"}), json!({"cpu": 1, "memory": "1024Mi"}))]))
    }, for_guaranteed),
    ("Guaranteed", "the pod's own", || spec("resources", json!({"requests": small(), "limits": small()})), || json!({})),
    ("Burstable", "requests alone", burstable, for_burstable),
    ("Burstable", "one of two has none", || guaranteed().with("/spec/containers/-", container("b")), for_burstable),
    ("Burstable", "an init container has none", || {
        guaranteed().with("/spec/initContainers", json!([container("init")]))
    }, for_burstable),
    ("Burstable", "the pod's own requests, all used", || burstable().with("/spec/resources", json!({"requests": small()})), || json!({})),
    ("BestEffort", "none", || pod("shape"), || json!({})),
    ("BestEffort", "zeros", || containers(json!([of(json!({"cpu": 0, "memory": 0}), json!({}))])), || json!({})),
];

#[tokio::test]
async fn a_pod_keeps_its_quality_of_service() -> Result<()> {
    let cluster = Cluster::shared("quality").await?;
    for (class, what, shape, resources) in CLASSES {
        let added = Injection::default().resources(resources());
        let seen = added.of(&cluster, &shape()).await;
        let seen = seen.with_context(|| format!("{class}: {what}"))?;
        assert_eq!(seen["status"]["qosClass"], *class, "{what}");
    }
    // and stored
    for (class, pod) in [
        ("Guaranteed", guaranteed()),
        ("Burstable", burstable()),
        ("BestEffort", pod("shape")),
    ] {
        let name = class.to_lowercase();
        cluster
            .apply(
                &pod.with("/metadata/name", json!(name))
                    .injected()
                    .to_string(),
            )
            .await?;
        let path = "jsonpath={.status.qosClass} {.spec.initContainers[0].name}";
        let said = cluster
            .kubectl(&["get", "pod", &name, "-o", path])
            .await?
            .success()?;
        assert_eq!(said, format!("{class} hallpass"));
    }
    Ok(())
}

/// Kubernetes 1.37 and later pass over resources of the pod that are empty. For one before, that knows of such resources,
/// they count, and the pod asks for nothing, whatever its containers ask for.
#[tokio::test]
async fn a_pod_with_empty_resources_of_its_own_keeps_its_class() -> Result<()> {
    let cluster = Cluster::shared("empty").await?;
    let pod = guaranteed().with("/spec/resources", json!({}));
    let plain = pod.clone().label("hallpass.dev/inject", "false");
    let plain = cluster.create(&plain).accepted().await?;
    let added = Injection::default().resources(for_guaranteed());
    let seen = added.of(&cluster, &pod).await?;
    let class = &seen["status"]["qosClass"];
    assert_eq!(*class, plain["status"]["qosClass"]);
    ensure!(
        ["Guaranteed", "BestEffort"]
            .iter()
            .any(|known| class == known),
        "{class}"
    );
    Ok(())
}

fn of(requests: Value, limits: Value) -> Value {
    container_with(
        "app",
        json!({"resources": {"requests": requests, "limits": limits}}),
    )
}

fn small() -> Value {
    json!({"cpu": "100m", "memory": "64Mi"})
}

fn guaranteed() -> Manifest {
    containers(json!([of(small(), small())]))
}

fn burstable() -> Manifest {
    containers(json!([of(small(), json!({}))]))
}

fn for_guaranteed() -> Value {
    json!({"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": "50m", "memory": "16Mi"}})
}

fn for_burstable() -> Value {
    json!({"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"memory": "16Mi"}})
}

fn containers(containers: Value) -> Manifest {
    spec("containers", containers)
}

fn spec(key: &str, value: Value) -> Manifest {
    pod("shape").with(&format!("/spec/{key}"), value)
}
