//! Ways around the sidecar, for who may create pods in a namespace that asks for it: each of them is
//! refused with a reason, or the pod has the sidecar.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, Engine, engine},
    create::namespace_says,
    injection::printed,
    manifest::{Manifest, container, container_with, pod},
    operator::uninjected,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

/// A way around, the pod, and what the API server says about it; nothing where it is injected.
type Way = (&'static str, fn() -> Manifest, Option<&'static str>);

const POLICY: &str = "hallpass-injected";

#[rustfmt::skip]
const WAYS: &[Way] = &[
    ("an opt-out that is none", || pod("shape").label("hallpass.dev/inject", "False"), Some("must be \"true\" or \"false\", not \"False\"")),
    ("an empty opt-out", || pod("shape").label("hallpass.dev/inject", ""), Some("must be \"true\" or \"false\", not \"\"")),
    ("an opt-out as annotation", || pod("shape").annotation("hallpass.dev/inject", "false"), Some("annotation hallpass.dev/inject means nothing")),
    ("the mark, as if it had been injected", || pod("shape").label("hallpass.dev/injected", "true"), None),
    ("another mark", || pod("shape").label("hallpass.dev/injected", "false"), None),
    ("the mark and an opt-out", || {
        pod("shape").label("hallpass.dev/injected", "true").label("hallpass.dev/inject", "false")
    }, Some("label hallpass.dev/injected is set by injection only")),
    ("the network of its node", || spec("hostNetwork", json!(true)), Some("finds the operator only with dnsPolicy: ClusterFirstWithHostNet")),
    ("the DNS of its node", || spec("dnsPolicy", json!("Default")), Some("finds the operator only by the cluster's DNS")),
    ("what only a node may mean, and a misfit", || {
        forged_mirror().with("/spec/hostNetwork", json!(true))
    }, Some("finds the operator only with dnsPolicy: ClusterFirstWithHostNet")),
    ("Windows", || spec("os", json!({"name": "windows"})), Some("the sidecar runs on Linux only")),
    ("a container of the sidecar's name", || spec("containers", json!([container("hallpass")])), Some("the container name hallpass is the name of the sidecar")),
    ("an init container of its name", || spec("initContainers", json!([container("hallpass")])), Some("lacks restartPolicy: Always")),
    ("a sidecar of its name", || {
        spec("initContainers", json!([container_with("hallpass", json!({"restartPolicy": "Always"}))]))
    }, Some("runs image registry.local/demo-app:e2e")),
    ("the sidecar's image alone", || spec("initContainers", json!([bare_sidecar()])), Some("init container hallpass must have args: [serve]")),
    ("the sidecar's image and the marks", || {
        spec("initContainers", json!([bare_sidecar()])).label("hallpass.dev/injected", "true")
            .annotation("hallpass.dev/service-account", "default")
    }, Some("init container hallpass must have args: [serve]")),
    ("a volume of ours", || spec("volumes", json!([{"name": "hallpass-c0", "emptyDir": {}}])), Some("volume names that begin with hallpass- are reserved")),
    ("a mount of ours", || {
        let app = container_with("app", json!({"volumeMounts": [{"name": "data", "mountPath": "/var//run/./hallpass"}]}));
        spec("volumes", json!([{"name": "data", "emptyDir": {}}])).with("/spec/containers", json!([app]))
    }, Some("the tokens are mounted at /var/run/hallpass")),
    ("a node of its own choice", || spec("nodeName", json!("node0")), None),
    ("no API token", || spec("automountServiceAccountToken", json!(false)), None),
    ("a scheduler of its own", || spec("schedulerName", json!("mine")), None),
    ("a name that is generated", || pod("shape").without("/metadata/name").with("/metadata/generateName", json!("x-")), None),
    ("one process namespace", || spec("shareProcessNamespace", json!(true)), None),
    ("no labels at all", || pod("shape").without("/metadata/labels"), None),
];

#[tokio::test]
async fn t27_every_way_around_the_sidecar_is_refused_or_leads_to_it() -> Result<()> {
    let cluster = Cluster::shared("bypass").await?;
    namespace_says(&cluster, "true").await?;
    for (what, way, why) in WAYS {
        let pod = way();
        let created = cluster.create(&pod);
        let judged = match why {
            Some(why) => created.refused_by(POLICY, &[why]).await,
            None => created
                .accepted()
                .await
                .and_then(|seen| has_the_sidecar(&seen)),
        };
        judged.with_context(|| (*what).to_owned())?;
    }
    // what a test before this one took the sidecar from is gone soon
    let while_ending = Duration::from_secs(120);
    until(while_ending, "no pod lacks the sidecar", || async {
        let count = uninjected().await?;
        ensure!(count == 0.0, not_yet(count));
        Ok(())
    })
    .await
}

/// Volumes that are there only once the pod is injected: the sidecar's own, and the directory of another container.
#[tokio::test]
async fn t27_no_author_mounts_what_injection_adds() -> Result<()> {
    let cluster = Cluster::shared("mounted").await?;
    for volume in ["hallpass-identity", "hallpass-cache", "hallpass-c1"] {
        let mount = json!({"volumeMounts": [{"name": volume, "mountPath": "/mnt"}]});
        let both = json!([container_with("app", mount), container("other")]);
        let pod = spec("containers", both).injected();
        let why = match engine()? {
            // the pod is left alone, and then there is no such volume
            Engine::AdmissionPolicy => format!("Not found: \"{volume}\""),
            Engine::Webhook => "container app mounts something there already".to_owned(),
        };
        let refused = cluster.create(&pod).refused().await.context(volume)?;
        ensure!(refused.message.contains(&why), "{}", refused.message);
    }
    Ok(())
}

/// It gets the sidecar like any other pod, and Kubernetes itself refuses what claims to be a mirror and has an identity.
#[tokio::test]
async fn t27_a_pod_that_claims_to_mirror_a_file_of_a_node_does_not_start_bare() -> Result<()> {
    let cluster = Cluster::shared("forged").await?;
    namespace_says(&cluster, "true").await?;
    let why = "a mirror pod may not use ServiceAccountToken volume projections";
    for pod in [forged_mirror().injected(), forged_mirror()] {
        let refused = cluster.create(&pod).refused().await?;
        ensure!(refused.message.contains(why), "{refused:?}");
    }
    Ok(())
}

/// `kubectl debug --copy-to` leaves the labels out, and keeps the containers.
#[tokio::test]
async fn t27_a_copy_of_an_injected_pod_without_its_marks_is_refused() -> Result<()> {
    let cluster = Cluster::shared("copy").await?;
    namespace_says(&cluster, "true").await?;
    let injected = cluster.create(&pod("shape")).accepted().await?;
    has_the_sidecar(&injected)?;
    let copy = printed(&injected).without("/metadata/labels");
    let why = "a pod with the sidecar must carry the label hallpass.dev/injected";
    cluster.create(&copy).refused_by(POLICY, &[why]).await
}

/// Not even one of the sidecar's own versions, some of which may have had faults.
#[tokio::test]
async fn t27_no_author_chooses_the_image_of_the_sidecar() -> Result<()> {
    let cluster = Cluster::shared("versions").await?;
    let injected = cluster.create(&pod("shape").injected()).accepted().await?;
    let place = "/spec/initContainers/0/image";
    let ours = injected.pointer(place).and_then(Value::as_str);
    let ours = ours.context("the sidecar's image")?;
    let repository = ours.rsplit_once(':').context("a tag")?.0;
    let with = |image: String| printed(&injected).with(place, json!(image));
    let why = "init container hallpass runs image";
    for other in ["-evil:0.1.0", ":5000/evil", ":5000/evil:0.1.0"] {
        let pod = with(format!("{repository}{other}"));
        let refused = cluster.create(&pod).refused_by(POLICY, &[why]).await;
        refused.with_context(|| other.to_owned())?;
    }
    for other in [
        "",
        ":0.0.1",
        "@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let pod = with(format!("{repository}{other}"));
        let created = cluster.create(&pod);
        match engine()? {
            Engine::AdmissionPolicy => created.refused_by(POLICY, &[why]).await?,
            // an image of before, as far as the policy knows: the operator gave it its own
            Engine::Webhook => {
                let seen = created.accepted().await?;
                ensure!(seen.pointer(place) == Some(&json!(ours)), "{other}: {seen}");
            }
        }
        // what the operator does not see is taken as it is injected, and not otherwise
        let unseen = pod.label("hallpass.dev/inject", "false");
        cluster.create(&unseen).refused_by(POLICY, &[why]).await?;
    }
    Ok(())
}

/// A namespace whose label was changed to something else does not let its pods go.
#[tokio::test]
async fn t27_a_label_of_the_namespace_that_means_nothing_refuses_its_pods() -> Result<()> {
    let cluster = Cluster::shared("mistyped").await?;
    namespace_says(&cluster, "True").await?;
    let why = "must be \"true\" or \"false\", not \"True\"; until then its pods need a label of their own";
    cluster
        .create(&pod("shape"))
        .refused_by(POLICY, &[why])
        .await?;
    let asked = cluster.create(&pod("shape").injected()).accepted().await?;
    has_the_sidecar(&asked)
}

fn has_the_sidecar(pod: &Value) -> Result<()> {
    let sidecar = &pod["spec"]["initContainers"][0];
    let mark = &pod["metadata"]["labels"]["hallpass.dev/injected"];
    ensure!(
        sidecar["name"] == "hallpass" && sidecar["args"] == json!(["serve"]) && mark == "true",
        "no sidecar: {pod}"
    );
    Ok(())
}

/// What a person could copy out of another pod.
fn bare_sidecar() -> Value {
    json!({
        "name": "hallpass", "image": "registry.local/hallpass-sidecar:0.1.0", "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
    })
}

fn forged_mirror() -> Manifest {
    spec("nodeName", json!("node0")).annotation("kubernetes.io/config.mirror", "x")
}

fn spec(key: &str, value: Value) -> Manifest {
    pod("shape").with(&format!("/spec/{key}"), value)
}
