//! Pods of many shapes through the real API server: with the sidecar they are what they are without,
//! and what injection adds is the same for all.

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    command::kubectl,
    create::namespace_says,
    injection::Injection,
    manifest::{Manifest, container, container_with, pod, service_account},
};
use serde_json::{Value, json};

type Shape = (&'static str, fn() -> Manifest);

#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    ("one container", || pod("shape")),
    ("two containers", || containers(json!([container("a"), container("b")]))),
    ("init containers", || inits(json!([container("migrate"), on_data("warm", &["/data"])])).with("/spec/volumes", data())),
    ("another native sidecar", || {
        inits(json!([container_with("proxy", json!({"restartPolicy": "Always"})), container("migrate")]))
    }),
    ("no API token", || spec("automountServiceAccountToken", json!(false))),
    ("volumes and mounts of its own", || containers(json!([on_data("app", &["/data"])])).with("/spec/volumes", data())),
    ("variables of its own", || {
        containers(json!([container_with("app", json!({"env": [{"name": "A", "value": "$(HALLPASS_SOCKET)"}]}))]))
    }),
    ("names of 63 characters", || {
        inits(json!([container(&"b".repeat(63))])).with("/spec/containers", json!([container(&"a".repeat(63))]))
    }),
    ("a generated name", || pod("shape").without("/metadata/name").with("/metadata/generateName", json!("shape-"))),
    ("annotations", || pod("shape").annotation("a.example/b_c", "x")),
    ("the network of its node", || {
        spec("hostNetwork", json!(true)).with("/spec/dnsPolicy", json!("ClusterFirstWithHostNet"))
    }),
    ("forged marks", || {
        pod("shape").label("hallpass.dev/injected", "no").annotation("hallpass.dev/service-account", "admin")
    }),
    ("sixty containers", || {
        let many = |letter, count| (0..count).map(|i| container(&format!("{letter}{i}"))).collect();
        containers(many('c', 40)).with("/spec/initContainers", many('i', 20))
    }),
    ("volumes that may go", || evictable("scratch,data")),
    ("volumes of ours that may go", || evictable("hallpass-cache,scratch,hallpass-c0")),
    ("no volume that may go", || evictable("")),
    ("one process namespace", || {
        spec("shareProcessNamespace", json!(true)).with("/spec/securityContext", json!({"fsGroup": 2000, "runAsUser": 1}))
    }),
    ("root", || spec("securityContext", json!({"runAsUser": 0, "runAsNonRoot": false}))),
    ("names like ours", || {
        containers(json!([container("hallpass-app"), container("my-hallpass")]))
            .with("/spec/volumes", json!([{"name": "hallpass", "emptyDir": {}}, {"name": "my-hallpass-c0", "emptyDir": {}}]))
    }),
    ("mounts like ours", || {
        containers(json!([on_data("app", &["/run", "/var/run/hallpassed", "/srv/run/hallpass"])])).with("/spec/volumes", data())
    }),
    ("Linux", || spec("os", json!({"name": "linux"})).with("/spec/nodeSelector", json!({"kubernetes.io/os": "linux"}))),
];

#[tokio::test]
async fn a_pod_of_any_shape_gets_the_sidecar_and_is_else_untouched() -> Result<()> {
    let cluster = Cluster::shared("shapes").await?;
    for (what, shape) in SHAPES {
        let seen = Injection::default().of(&cluster, &shape()).await;
        seen.with_context(|| format!("the pod with {what}"))?;
    }
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    let orders = pod("shape").under("orders");
    let added = Injection::default().under("orders");
    added.of(&cluster, &orders).await.context("orders")?;
    let immediate = pod("shape").annotation("hallpass.dev/start", "Immediate");
    let added = Injection::default().immediate();
    added.of(&cluster, &immediate).await.context("immediate")?;
    let elsewhere = json!([{"name": "HALLPASS_SOCKET", "value": "/elsewhere.sock"}]);
    let own = containers(json!([
        container_with("a", json!({"env": elsewhere})),
        container_with("b", json!({"env": [{"name": "X", "value": "1"}]})),
        container("c"),
    ]));
    let added = Injection::default().own_socket(&["a"]);
    added.of(&cluster, &own).await.context("own socket")?;
    Ok(())
}

/// What the API server spends on one pod has a bound; it is far away from what pods look like.
#[tokio::test]
async fn a_pod_of_sixty_containers_and_a_megabyte_is_injected_and_judged() -> Result<()> {
    let cluster = Cluster::shared("large").await?;
    let volumes = (0..50).map(|i| json!({"name": format!("v{i}"), "emptyDir": {}}));
    let mounts = (0..200).map(
        |i| json!({"name": format!("v{}", i % 50), "mountPath": format!("/srv/hallpass/{i}")}),
    );
    let env = (0..60).map(|i| json!({"name": format!("E{i}"), "value": "x".repeat(110)}));
    let (mounts, env): (Vec<_>, Vec<_>) = (mounts.collect(), env.collect());
    let many = |letter, count| -> Value {
        let members = json!({"volumeMounts": mounts, "env": env});
        (0..count)
            .map(|i| container_with(&format!("{letter}{i}"), members.clone()))
            .collect()
    };
    let pod = containers(many('c', 40))
        .with("/spec/initContainers", many('i', 20))
        .with("/spec/volumes", volumes.collect());
    let size = pod.to_string().len();
    assert!(size > 1_000_000, "{size} bytes");
    Injection::default().of(&cluster, &pod).await?;
    Ok(())
}

/// A megabyte in one place each; annotations may have a quarter of that.
#[tokio::test]
async fn a_pod_that_is_large_in_one_place_is_injected_and_judged() -> Result<()> {
    let cluster = Cluster::shared("largest").await?;
    let below = "x".repeat(60);
    let mounts = (0..9500).map(
        |i| json!({"name": "data", "mountPath": format!("/srv/hallpass/{i}"), "subPath": below}),
    );
    let mounts: Vec<_> = mounts.collect();
    let mounted = json!([container_with("app", json!({"volumeMounts": mounts}))]);
    let value = json!([{"name": "LARGE", "value": "x".repeat(1_000_000)}]);
    let annotated = (0..2500).fold(pod("shape"), |pod, i| {
        pod.annotation(&format!("a.example/{i}"), &"x".repeat(80))
    });
    for (what, least, pod) in [
        (
            "mounts of one container",
            1_000_000,
            containers(mounted).with("/spec/volumes", data()),
        ),
        (
            "one value",
            1_000_000,
            containers(json!([container_with("app", json!({"env": value}))])),
        ),
        ("annotations", 240_000, annotated),
        (
            "one annotation",
            240_000,
            pod("shape").annotation("a.example/large", &"x".repeat(250_000)),
        ),
    ] {
        let size = pod.to_string().len();
        assert!(size > least, "{what}: {size} bytes");
        let seen = Injection::default().of(&cluster, &pod).await;
        seen.with_context(|| format!("the pod with {what}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_restricted_namespace_asks_for_its_pods_and_takes_them() -> Result<()> {
    let cluster = Cluster::shared("labelled").await?;
    namespace_says(&cluster, "true").await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&["label", "namespace", &cluster.namespace, label])
        .await?
        .success()?;
    let restricted = json!({"securityContext": {
        "runAsNonRoot": true, "runAsUser": 1, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    }});
    let pod = containers(json!([container_with("app", restricted.clone())])).with(
        "/spec/initContainers",
        json!([container_with("init", restricted)]),
    );
    let plain = pod.clone().label("hallpass.dev/inject", "false");
    let plain = cluster.create(&plain).accepted().await?;
    for pod in [pod.clone().without("/metadata/labels"), pod.injected()] {
        Injection::default().check(&cluster.create(&pod).accepted().await?, &plain)?;
    }
    Ok(())
}

fn on_data(name: &str, paths: &[&str]) -> Value {
    let mount = |path: &&str| json!({"name": "data", "mountPath": path});
    container_with(
        name,
        json!({"volumeMounts": paths.iter().map(mount).collect::<Vec<_>>()}),
    )
}

fn evictable(volumes: &str) -> Manifest {
    let key = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    pod("shape").annotation(key, volumes)
}

fn data() -> Value {
    json!([{"name": "data", "emptyDir": {}}])
}

fn containers(containers: Value) -> Manifest {
    spec("containers", containers)
}

fn inits(inits: Value) -> Manifest {
    spec("initContainers", inits)
}

fn spec(key: &str, value: Value) -> Manifest {
    pod("shape").with(&format!("/spec/{key}"), value)
}
