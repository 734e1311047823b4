//! Pods that are refused: a pod that asks for the sidecar has it, or its author reads why not.

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    injection::{check_bare, printed},
    manifest::{Manifest, container, container_with, pod},
};
use serde_json::{Value, json};

/// What is wrong with a pod, the pod, and what the API server says about it.
type Refused = (&'static str, fn() -> Manifest, &'static str);

const POLICY: &str = "hallpass-injected";
const COULD_NOT: &str = "hallpass.dev/inject is \"true\", but the sidecar could not be added: ";
const MOUNTED: &str = "the tokens are mounted at /var/run/hallpass; container other mounts something there already, move it";
const NO_NETWORK: &str =
    "a pod with hostNetwork finds the operator only with dnsPolicy: ClusterFirstWithHostNet";
const NO_LINUX: &str = "the sidecar runs on Linux only, and the pod asks for Windows";
const FORGED: &str = "label hallpass.dev/injected is set by injection only, and this pod is not to be injected; remove the label";
const LABEL: &str = "label hallpass.dev/inject of the pod must be \"true\" or \"false\", not ";

const MARK: &str = "/metadata/labels/hallpass.dev~1injected";
const ACCOUNT: &str = "/metadata/annotations/hallpass.dev~1service-account";
const MARKED: &str =
    "must carry the label hallpass.dev/injected with the value \"true\", as injection sets it";
const NAMED: &str =
    "annotation hallpass.dev/service-account must name the pod's service account, default";
const NATIVE: &str =
    "init container hallpass lacks restartPolicy: Always and so is not the sidecar";
const FOREIGN: &str = "init container hallpass runs image registry.local/demo-app:e2e, but this installation injects ";

#[rustfmt::skip]
const MISFITS: &[Refused] = &[
    ("a container of our name", || spec("containers", json!([container("hallpass")])),
        "the container name hallpass is the name of the sidecar; rename that container"),
    ("a volume of our names", || spec("volumes", json!([{"name": "hallpass-x", "emptyDir": {}}])),
        "volume names that begin with hallpass- are reserved; rename volume hallpass-x"),
    ("a mount of ours", || mounts("containers", "other", "/var/run/hallpass"), MOUNTED),
    ("a mount of ours, with a slash", || mounts("containers", "other", "/var/run/hallpass/"), MOUNTED),
    ("a mount below ours", || mounts("containers", "other", "/run/hallpass/x"), MOUNTED),
    ("a mount of ours, with two slashes", || mounts("containers", "other", "/var//run/hallpass"), MOUNTED),
    ("a mount of ours, with dots", || mounts("containers", "other", "/var/./run/./hallpass"), MOUNTED),
    ("a mount of ours, relative", || mounts("containers", "other", "var/run/hallpass"), MOUNTED),
    ("a mount of ours in an init container", || mounts("initContainers", "early", "/run/hallpass"),
        "container early mounts something there already, move it"),
    ("the network of its node", || spec("hostNetwork", json!(true)), NO_NETWORK),
    ("the DNS of its node", || spec("dnsPolicy", json!("Default")), "leave it out"),
    ("Windows", || spec("os", json!({"name": "windows"})), NO_LINUX),
    ("Windows nodes", || spec("nodeSelector", json!({"kubernetes.io/os": "windows"})), NO_LINUX),
];

#[rustfmt::skip]
const MISTAKES: &[Refused] = &[
    ("an init container of our name", || spec("initContainers", json!([container("hallpass")])).injected(), NATIVE),
    ("a foreign sidecar of our name", || {
        spec("initContainers", json!([container_with("hallpass", json!({"restartPolicy": "Always"}))])).injected()
    }, FOREIGN),
    ("the mark of injection", || pod("shape").label("hallpass.dev/injected", "true"), FORGED),
    ("the mark of injection and an opt-out", || {
        pod("shape").label("hallpass.dev/injected", "true").label("hallpass.dev/inject", "false")
    }, FORGED),
    ("a label that says yes", || pod("shape").label("hallpass.dev/inject", "yes"), LABEL),
    ("a label that says nothing", || pod("shape").label("hallpass.dev/inject", ""), LABEL),
    ("a start in lower case", || {
        pod("shape").injected().annotation("hallpass.dev/start", "immediate")
    }, "annotation hallpass.dev/start must be \"Immediate\" or absent, not \"immediate\""),
];

/// What was done to an injected pod before it was created, and what the API server says about it.
type Tampered = (&'static str, fn(Manifest) -> Manifest, &'static str);

#[rustfmt::skip]
const TAMPERED: &[Tampered] = &[
    ("the restart policy dropped", |pod| {
        pod.without("/spec/initContainers/0/restartPolicy").without("/spec/initContainers/0/startupProbe")
    }, NATIVE),
    ("the image changed", |pod| pod.with("/spec/initContainers/0/image", json!("registry.local/demo-app:e2e")), FOREIGN),
    ("the mark dropped", |pod| pod.without(MARK), MARKED),
    ("the mark changed", |pod| pod.with(MARK, json!("yes")), MARKED),
    ("the service account dropped", |pod| pod.without(ACCOUNT), NAMED),
    ("the service account changed", |pod| pod.with(ACCOUNT, json!("admin")), NAMED),
];

#[tokio::test]
async fn a_pod_that_cannot_have_the_sidecar_is_told_why() -> Result<()> {
    let cluster = Cluster::shared("misfit").await?;
    for (what, shape, why) in MISFITS {
        let pod = shape().injected();
        let refused = cluster
            .create(&pod)
            .refused_by(POLICY, &[COULD_NOT, why])
            .await;
        refused.with_context(|| (*what).to_owned())?;
        // the twin: without the label none of this is our business
        let plain = cluster.create(&shape()).accepted().await;
        check_bare(&plain.with_context(|| format!("unlabelled: {what}"))?)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_that_claims_to_be_injected_or_mistypes_its_wish_is_refused() -> Result<()> {
    let cluster = Cluster::shared("mistake").await?;
    for (what, shape, why) in MISTAKES {
        let pod = shape();
        let refused = cluster.create(&pod).refused_by(POLICY, &[why]).await;
        refused.with_context(|| (*what).to_owned())?;
    }
    let right = pod("shape")
        .injected()
        .annotation("hallpass.dev/start", "Immediate");
    cluster.create(&right).accepted().await?;
    Ok(())
}

#[tokio::test]
async fn an_injected_pod_that_was_tampered_with_is_refused() -> Result<()> {
    let cluster = Cluster::shared("tampered").await?;
    let injected = cluster.create(&pod("shape").injected()).accepted().await?;
    let injected = printed(&injected);
    cluster
        .create(&injected)
        .accepted()
        .await
        .context("as it was printed")?;
    let unlabelled = injected
        .clone()
        .without("/metadata/labels/hallpass.dev~1inject");
    cluster
        .create(&unlabelled)
        .accepted()
        .await
        .context("without the wish")?;
    for (what, tamper, why) in TAMPERED {
        let pod = tamper(injected.clone());
        let refused = cluster.create(&pod).refused_by(POLICY, &[why]).await;
        refused.with_context(|| (*what).to_owned())?;
    }
    Ok(())
}

fn spec(key: &str, value: Value) -> Manifest {
    pod("shape").with(&format!("/spec/{key}"), value)
}

/// A pod with a second container that mounts a volume there.
fn mounts(list: &str, name: &str, path: &str) -> Manifest {
    let mount = json!({"volumeMounts": [{"name": "data", "mountPath": path}]});
    let other = container_with(name, mount);
    let pod = spec("volumes", json!([{"name": "data", "emptyDir": {}}]));
    let pod = if list == "containers" {
        pod
    } else {
        pod.with("/spec/initContainers", json!([]))
    };
    pod.with(&format!("/spec/{list}/-"), other)
}
