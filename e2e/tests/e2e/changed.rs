//! What may be changed of a pod that is there: nothing of ours but the sidecar's image, and that only
//! to the one that is injected.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    attempt::{Attempt, Caller},
    cluster::{Cluster, Engine, engine, upgrade},
    command::{Said, kubectl, run},
    manifest::pod,
    remark::remark,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const POLICY: &str = "ValidatingAdmissionPolicy 'hallpass-injected-changed'";

/// A pod that nobody schedules, with the sidecar and a label and an annotation of ours.
async fn waiting(cluster: &Cluster, name: &str) -> Result<()> {
    let pod = pod(name)
        .injected()
        .label("hallpass.dev/role", "reader")
        .label("app", "x")
        .annotation("hallpass.dev/start", "Immediate")
        .with("/spec/schedulerName", json!("nobody"));
    cluster.apply(&pod.to_string()).await?;
    Ok(())
}

fn refused(what: &str, said: Said, why: &str) -> Result<()> {
    let said = said.failure().with_context(|| what.to_owned())?;
    ensure!(
        said.contains(POLICY) && said.contains(why),
        "{what}: {said}"
    );
    Ok(())
}

#[tokio::test]
async fn t27_labels_and_annotations_of_ours_stay_as_they_were() -> Result<()> {
    let cluster = Cluster::shared("marks").await?;
    waiting(&cluster, "marks").await?;
    let before = marks(&cluster).await?;
    for subresource in ["", "status", "resize"] {
        for (what, metadata, why) in [
            (
                "a mark taken",
                json!({"labels": {"hallpass.dev/injected": null}}),
                "label hallpass.dev/injected cannot be changed",
            ),
            (
                "a mark changed",
                json!({"labels": {"hallpass.dev/injected": "no"}}),
                "label hallpass.dev/injected cannot be changed",
            ),
            (
                "an opt-out",
                json!({"labels": {"hallpass.dev/inject": "false"}}),
                "label hallpass.dev/inject cannot be changed",
            ),
            (
                "another role",
                json!({"labels": {"hallpass.dev/role": "admin"}}),
                "label hallpass.dev/role cannot be changed",
            ),
            (
                "one more label",
                json!({"labels": {"hallpass.dev/more": "x"}}),
                "label hallpass.dev/more cannot be changed",
            ),
            (
                "another account",
                json!({"annotations": {"hallpass.dev/service-account": "admin"}}),
                "annotation hallpass.dev/service-account cannot be changed",
            ),
            (
                "an annotation taken",
                json!({"annotations": {"hallpass.dev/start": null}}),
                "annotation hallpass.dev/start cannot be changed",
            ),
        ] {
            let what = format!("{what}, by {subresource:?}");
            let patch = json!({"metadata": metadata});
            let said = patched(&cluster, "marks", subresource, &patch).await?;
            // what a subresource does not take of a pod is left as it was
            if said.ok && subresource == "resize" {
                ensure!(marks(&cluster).await? == before, "{what}");
                continue;
            }
            refused(&what, said, why)?;
        }
        // the twin: what is not ours is not our business
        let patch = json!({"metadata": {"labels": {"app": format!("y{subresource}")}}});
        patched(&cluster, "marks", subresource, &patch)
            .await?
            .success()?;
    }
    Ok(())
}

/// The labels and annotations of ours.
async fn marks(cluster: &Cluster) -> Result<Value> {
    let mut metadata = state(cluster, "marks").await?["metadata"].take();
    if let Some(labels) = metadata["labels"].as_object_mut() {
        labels.remove("app");
    }
    Ok(json!([metadata["labels"], metadata["annotations"]]))
}

/// A pod without the sidecar cannot be made to look as if it had one.
#[tokio::test]
async fn t27_a_pod_cannot_be_marked_afterwards() -> Result<()> {
    let cluster = Cluster::shared("forged").await?;
    let bare = pod("bare").with("/spec/schedulerName", json!("nobody"));
    cluster.apply(&bare.to_string()).await?;
    for label in ["hallpass.dev/injected=true", "hallpass.dev/inject=true"] {
        let said = cluster.kubectl(&["label", "pod", "bare", label]).await?;
        refused(
            label,
            said,
            "cannot be changed on a pod that is there: set it in the template",
        )?;
    }
    cluster
        .kubectl(&["label", "pod", "bare", "app=y"])
        .await?
        .success()?;
    Ok(())
}

/// Whoever assigns a pod to a node has the API server merge labels and annotations into it, by either of two
/// paths, in the place of what is there.
#[tokio::test]
async fn t27_who_assigns_a_pod_to_a_node_cannot_mark_it() -> Result<()> {
    let cluster = Cluster::shared("assigned").await?;
    let bare = pod("assigned").with("/spec/schedulerName", json!("nobody"));
    cluster.apply(&bare.to_string()).await?;
    let namespace = format!("/api/v1/namespaces/{}", cluster.namespace);
    let scheduler = Caller {
        user: "scheduler",
        groups: &["system:masters"],
    };
    for path in ["pods/assigned/binding", "bindings"] {
        let bind = async |mut metadata: Value| {
            metadata["name"] = json!("assigned");
            let target = json!({"kind": "Node", "name": "node0"});
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target});
            let attempt = Attempt::post(&format!("{namespace}/{path}"), binding);
            cluster.attempt(scheduler, &attempt).await
        };
        for (field, what) in [("labels", "label"), ("annotations", "annotation")] {
            for key in ["hallpass.dev/injected", "hallpass.dev/role"] {
                let why = format!("{what} {key} cannot be changed on a pod that is there");
                let said = bind(json!({field: {key: "true"}})).await?;
                said.against_policy("hallpass-injected-changed", &why)
                    .with_context(|| path.to_owned())?;
            }
            // the twin: what is not ours is not our business
            let other = bind(json!({field: {"topology.kubernetes.io/zone": "a"}})).await?;
            other.allowed().with_context(|| path.to_owned())?;
        }
        let nothing = bind(json!({})).await?;
        nothing.allowed().with_context(|| path.to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn t27_an_ephemeral_container_has_no_part_in_the_sidecar() -> Result<()> {
    let cluster = Cluster::shared("ephemeral").await?;
    waiting(&cluster, "debugged").await?;
    let image = "registry.local/demo-app:e2e";
    let debug = async |name: &str, members: Value| {
        let mut container = json!({"name": name, "image": image});
        if let (Value::Object(all), Value::Object(more)) = (&mut container, members) {
            all.extend(more);
        }
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        patched(&cluster, "debugged", "ephemeralcontainers", &patch).await
    };
    let said = debug("a", json!({"targetContainerName": "hallpass"})).await?;
    refused(
        "the target",
        said,
        "an ephemeral container cannot target container hallpass",
    )?;
    for volume in ["hallpass-identity", "hallpass-cache", "hallpass-c0"] {
        let mount = json!({"volumeMounts": [{"name": volume, "mountPath": "/x"}]});
        let why = "an ephemeral container cannot mount volumes that begin with hallpass-";
        refused(volume, debug("b", mount).await?, why)?;
    }
    let target = json!({"targetContainerName": "app"});
    debug("c", target).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn the_sidecars_image_can_only_become_the_charts() -> Result<()> {
    let cluster = Cluster::shared("image").await?;
    waiting(&cluster, "image").await?;
    let patch = |container: &str, image: &str| {
        let list = if container == "app" {
            "containers"
        } else {
            "initContainers"
        };
        json!({"spec": {list: [{"name": container, "image": image}]}})
    };
    let foreign = patch("hallpass", "registry.local/demo-app:e2e");
    let said = patched(&cluster, "image", "", &foreign).await?;
    let why = "the image of container hallpass can only be changed to the one that this installation injects, registry.local/hallpass-sidecar";
    refused("a foreign image", said, why)?;
    let own = patch("app", "registry.local/busybox:e2e");
    patched(&cluster, "image", "", &own).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn an_upgrade_of_the_sidecar_in_place_leaves_the_application_running() -> Result<()> {
    let cluster = Cluster::alone("in-place").await?;
    cluster.orders().await?;
    let pod = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;
    let before = state(&cluster, &pod).await?;
    let old = before["spec"]["initContainers"][0]["image"]
        .as_str()
        .context("an image")?
        .to_owned();
    let next = format!("{}:next", old.rsplit_once(':').context("a tag")?.0);
    let tag = ["images", "tag", "--force", &old, &next];
    run("ctr", &tag, None).await?.success()?;
    upgrade("sidecar.image.tag=next").await?;
    let patch = json!({"spec": {"initContainers": [{"name": "hallpass", "image": next}]}});
    let changed = until(
        Duration::from_secs(30),
        "the new image is allowed",
        || async { patched(&cluster, &pod, "", &patch).await?.success() },
    )
    .await;
    let restarted = until(
        Duration::from_secs(60),
        "the sidecar runs the new image",
        || async {
            let now = state(&cluster, &pod).await?;
            let sidecar = &now["status"]["initContainerStatuses"][0];
            let ready = sidecar["started"] == true && sidecar["restartCount"].as_u64() > Some(0);
            if ready {
                Ok(now)
            } else {
                Err(not_yet(sidecar))
            }
        },
    )
    .await;
    // as it was for the other tests, whatever came of it
    upgrade("sidecar.image.tag=").await?;
    injects(&cluster, &old).await?;
    changed?;
    let after = restarted?;
    let app = |pod: &Value| pod["status"]["containerStatuses"][0]["containerID"].clone();
    assert_eq!(app(&before), app(&after), "the application was restarted");
    cluster
        .token_within(Duration::from_secs(30), &pod, "app", "vault")
        .await?;
    Ok(())
}

/// With a replica of before and one of after it: each injects its own version.
#[tokio::test]
async fn no_pod_is_refused_while_an_upgrade_changes_the_sidecars_image() -> Result<()> {
    if engine()? == Engine::AdmissionPolicy {
        remark(
            "skipped where the API server injects: it reads the two policies one after the other",
        );
        return Ok(());
    }
    let cluster = Cluster::alone("upgrade").await?;
    let there = while_upgrading(&cluster, "next").await;
    // as it was for the other tests, whatever came of it
    let back = while_upgrading(&cluster, "").await;
    there?;
    back
}

/// Creates labelled pods from before an upgrade until they get the new version. None may be refused.
async fn while_upgrading(cluster: &Cluster, tag: &str) -> Result<()> {
    let value = format!("sidecar.image.tag={tag}");
    let upgraded = upgrade(&value);
    let create = async || -> Result<String> {
        let seen = cluster.create(&pod("shape").injected()).accepted().await?;
        let image = seen["spec"]["initContainers"][0]["image"].as_str();
        Ok(image.context("an image")?.to_owned())
    };
    let before = create().await?;
    let mut created = 0;
    let creating = async {
        while create()
            .await
            .with_context(|| format!("after {created} pods"))?
            == before
        {
            created += 1;
        }
        // as long as a replica of before still answers
        for _ in 0..200 {
            create().await.context("after the first of the new ones")?;
        }
        anyhow::Ok(())
    };
    // helm is not interrupted: it would leave the release locked
    let both = tokio::time::timeout(3 * MINUTE, async { tokio::join!(upgraded, creating) });
    let (upgraded, created) = both.await.context("the new version is injected")?;
    upgraded?;
    created
}

const MINUTE: Duration = Duration::from_secs(60);

/// Waits until pods that are created get that image.
async fn injects(cluster: &Cluster, image: &str) -> Result<()> {
    until(Duration::from_secs(30), image, || async {
        let seen = cluster.create(&pod("image").injected()).accepted().await?;
        let injected = &seen["spec"]["initContainers"][0]["image"];
        if injected == image {
            Ok(())
        } else {
            Err(not_yet(injected))
        }
    })
    .await
}

async fn state(cluster: &Cluster, pod: &str) -> Result<Value> {
    let said = cluster.kubectl(&["get", "pod", pod, "-o", "json"]).await?;
    Ok(serde_json::from_str(&said.success()?)?)
}

/// A strategic merge patch of the pod or of one of its subresources.
async fn patched(cluster: &Cluster, pod: &str, subresource: &str, patch: &Value) -> Result<Said> {
    let patch = patch.to_string();
    let sub = format!("--subresource={subresource}");
    let mut args = vec!["-n", &cluster.namespace, "patch", "pod", pod, "-p", &patch];
    if !subresource.is_empty() {
        args.push(&sub);
    }
    kubectl(&args).await
}
