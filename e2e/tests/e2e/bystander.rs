//! Pods that do not ask for the sidecar are left alone, and namespaces ask for theirs.

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE},
    command::kubectl,
    create::namespace_says,
    injection::check_bare,
    manifest::{Manifest, pod},
};
use serde_json::json;

const POLICY: &str = "hallpass-injected";

#[tokio::test]
async fn a_pod_that_does_not_ask_is_left_alone() -> Result<()> {
    let cluster = Cluster::shared("bare").await?;
    for pod in [pod("shape"), opted_out()] {
        check_bare(&cluster.create(&pod).accepted().await?)?;
    }
    for namespace in ["kube-system", RELEASE] {
        let pod = pod("shape").injected();
        check_bare(&cluster.create(&pod).inside(namespace).accepted().await?)?;
    }
    Ok(())
}

#[tokio::test]
async fn t27_a_pod_that_only_mirrors_a_file_of_its_node_is_left_alone() -> Result<()> {
    let cluster = Cluster::shared("mirror").await?;
    let path = "jsonpath={.items[0].metadata.name} {.items[0].metadata.uid}";
    let node = kubectl(&["get", "nodes", "-o", path]).await?.success()?;
    let (node, uid) = node.split_once(' ').context("a node")?;
    let owner =
        json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": true});
    let mirror = pod("shape")
        .injected()
        .annotation("kubernetes.io/config.mirror", "x")
        .with("/spec/nodeName", json!(node))
        .with("/metadata/ownerReferences", json!([owner]));
    let kubelet = format!("system:node:{node}");
    let seen = cluster.create(&mirror).by(&kubelet, &["system:nodes"]);
    check_bare(&seen.accepted().await?)
}

#[tokio::test]
async fn a_namespace_asks_for_the_pods_that_say_nothing() -> Result<()> {
    let cluster = Cluster::shared("namespace").await?;
    namespace_says(&cluster, "true").await?;
    check_bare(&cluster.create(&opted_out()).accepted().await?)?;

    let network = pod("shape").with("/spec/hostNetwork", json!(true));
    let why =
        "a pod with hostNetwork finds the operator only with dnsPolicy: ClusterFirstWithHostNet";
    cluster.create(&network).refused_by(POLICY, &[why]).await?;
    let mistyped = pod("shape").label("hallpass.dev/inject", "no");
    let why = "label hallpass.dev/inject of the pod must be \"true\" or \"false\", not \"no\"";
    cluster.create(&mistyped).refused_by(POLICY, &[why]).await
}

#[tokio::test]
async fn a_namespace_that_mistypes_its_wish_has_its_pods_refused() -> Result<()> {
    let cluster = Cluster::shared("mistyped").await?;
    namespace_says(&cluster, "yes").await?;
    let why = format!(
        "label hallpass.dev/inject of namespace {} must be \"true\" or \"false\", not \"yes\"",
        cluster.namespace
    );
    cluster
        .create(&pod("shape"))
        .refused_by(POLICY, &[&why])
        .await?;
    check_bare(&cluster.create(&opted_out()).accepted().await?)
}

fn opted_out() -> Manifest {
    pod("shape").label("hallpass.dev/inject", "false")
}
