//! A sidecar that is not the chart's is no sidecar: an injected pod that was changed before it was
//! stored is refused, whoever changed it, with what is wrong.

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    injection::printed,
    manifest::{Manifest, container, pod},
};
use serde_json::{Value, json};

/// What was done to an injected pod before it was created, and what the API server says about it.
type Tampered = (&'static str, fn(Manifest) -> Manifest, &'static str);

const POLICY: &str = "hallpass-injected";
/// What every one of these refusals ends with.
const CAUSE: &str = "a mutating webhook after injection changed it";
const ARGS: &str = "init container hallpass must have args: [serve]";
const ENVIRONMENT: &str = "the variables HALLPASS_ of init container hallpass are not those";
const PROBE: &str = "the startupProbe of init container hallpass is not the one";
const SECURITY: &str = "the securityContext of init container hallpass is not the one";
const USER: &str = "init container hallpass must have runAsUser and runAsGroup 65532";
const MOUNTS: &str = "the mounts of volumes hallpass- in init container hallpass are not those";
const COVERED: &str = "a mount in init container hallpass takes a path of the sidecar";
const IDENTITY: &str = "volume hallpass-identity is not one that injection adds";
const APP: &str = "container app does not mount the tokens that the sidecar keeps for it";

#[rustfmt::skip]
const SIDECAR: &[Tampered] = &[
    ("another command", |pod| ours(pod, "command", json!(["/bin/sh"])), "init container hallpass must not have command"),
    ("other arguments", |pod| ours(pod, "args", json!(["serve", "--verbose"])), ARGS),
    ("no arguments", |pod| pod.without(&sidecar("args")), ARGS),
    ("a hook", |pod| {
        ours(pod, "lifecycle", json!({"postStart": {"exec": {"command": ["/hallpass-sidecar"]}}}))
    }, "init container hallpass must not have lifecycle"),
    ("a liveness probe", |pod| {
        ours(pod, "livenessProbe", json!({"exec": {"command": ["/hallpass-sidecar"]}}))
    }, "init container hallpass must not have livenessProbe"),
    ("a port of its node", |pod| {
        ours(pod, "ports", json!([{"containerPort": 1, "hostPort": 1}]))
    }, "init container hallpass must not have ports"),
    ("variables from elsewhere", |pod| {
        ours(pod, "envFrom", json!([{"configMapRef": {"name": "x"}}]))
    }, "init container hallpass must not have envFrom"),
    ("another operator", |pod| ours(pod, "env/0/value", json!("evil.example:443")), ENVIRONMENT),
    ("no replicas", |pod| pod.without(&sidecar("env/1")), ENVIRONMENT),
    ("a variable twice", |pod| ours(pod, "env/-", json!({"name": "HALLPASS_OPERATOR", "value": "evil.example:443"})), ENVIRONMENT),
    ("one more of our variables", |pod| ours(pod, "env/-", json!({"name": "HALLPASS_LOG", "value": "trace"})), ENVIRONMENT),
    ("no startup probe", |pod| pod.without(&sidecar("startupProbe")), PROBE),
    ("an impatient startup probe", |pod| ours(pod, "startupProbe/failureThreshold", json!(3)), PROBE),
    ("another startup probe", |pod| ours(pod, "startupProbe/exec/command", json!(["/hallpass-sidecar"])), PROBE),
    ("privileges", |pod| {
        ours(pod, "securityContext/privileged", json!(true)).without(&sidecar("securityContext/allowPrivilegeEscalation"))
    }, SECURITY),
    ("a writable root", |pod| ours(pod, "securityContext/readOnlyRootFilesystem", json!(false)), SECURITY),
    ("a capability", |pod| ours(pod, "securityContext/capabilities/add", json!(["SYS_PTRACE"])), SECURITY),
    ("all capabilities", |pod| pod.without(&sidecar("securityContext/capabilities")), SECURITY),
    ("no seccomp", |pod| ours(pod, "securityContext/seccompProfile/type", json!("Unconfined")), SECURITY),
    ("no security at all", |pod| pod.without(&sidecar("securityContext")), SECURITY),
    ("another user", |pod| ours(pod, "securityContext/runAsUser", json!(1)), USER),
    ("another group", |pod| pod.without(&sidecar("securityContext/runAsGroup")), USER),
];

#[rustfmt::skip]
const MOUNTED: &[Tampered] = &[
    ("the way to the API token", |pod| pod.without(&sidecar("volumeMounts/4")), MOUNTS),
    ("a writable identity", |pod| pod.without(&sidecar("volumeMounts/3/readOnly")), MOUNTS),
    ("a part of a volume", |pod| ours(pod, "volumeMounts/5/subPath", json!("x")), MOUNTS),
    ("no cache", |pod| pod.without(&sidecar("volumeMounts/5")), MOUNTS),
    ("the program covered", |pod| foreign(pod, "/hallpass-sidecar"), COVERED),
    ("the identity covered", |pod| foreign(pod, "/var/run/secrets/hallpass.dev/ca.pem"), COVERED),
    ("a directory covered", |pod| foreign(pod, "/run/hallpass"), COVERED),
    ("a path that goes back", |pod| foreign(pod, "/x/../var/cache/hallpass"), COVERED),
    ("a path with two slashes", |pod| foreign(pod, "/var//cache/hallpass"), COVERED),
    ("everything covered", |pod| foreign(pod, "/"), COVERED),
    ("a directory on the disk", |pod| pod.with("/spec/volumes/0/emptyDir", json!({})), "volume hallpass-c0 is not one that injection adds"),
    ("a directory of the node", |pod| {
        pod.without("/spec/volumes/0/emptyDir").with("/spec/volumes/0/hostPath", json!({"path": "/tmp"}))
    }, "volume hallpass-c0 is not one that injection adds"),
    ("a cache without a bound", |pod| {
        pod.without("/spec/volumes/4/emptyDir/sizeLimit")
    }, "volume hallpass-cache is not one that injection adds"),
    ("another audience", |pod| {
        pod.with("/spec/volumes/3/projected/sources/0/serviceAccountToken/audience", json!("https://vault.example"))
    }, IDENTITY),
    ("a forged authority", |pod| {
        // the engine Webhook has no source of it there
        pod.without("/spec/volumes/3/projected/sources/1")
            .with("/spec/volumes/3/projected/sources/-", json!({"configMap": {"name": "x", "items": [{"key": "x", "path": "ca.pem"}]}}))
    }, IDENTITY),
    ("one more volume", |pod| {
        pod.with("/spec/volumes/-", json!({"name": "hallpass-more", "emptyDir": {}}))
    }, "volume hallpass-more is not one that injection adds"),
];

#[rustfmt::skip]
const OTHERS: &[Tampered] = &[
    ("the identity", |pod| mounted(pod, "hallpass-identity", "/x"), APP),
    ("the cache", |pod| mounted(pod, "hallpass-cache", "/x"), APP),
    ("a sibling's directory", |pod| mounted(pod, "hallpass-c1", "/x"), APP),
    ("a sibling's directory instead", |pod| app(pod, "name", json!("hallpass-c1")), APP),
    ("its directory to write", |pod| pod.without("/spec/containers/0/volumeMounts/0/readOnly"), APP),
    ("its directory elsewhere", |pod| app(pod, "mountPath", json!("/x")), APP),
    ("a part of its directory", |pod| app(pod, "subPath", json!("tokens")), APP),
    ("a part named by a variable", |pod| app(pod, "subPathExpr", json!("tokens")), APP),
    ("nothing", |pod| pod.without("/spec/containers/0/volumeMounts"), APP),
    ("tokens of its own making", |pod| {
        let pod = pod.with("/spec/volumes/-", json!({"name": "data", "emptyDir": {}}));
        mounted(pod, "data", "/var/run/hallpass/tokens")
    }, APP),
    ("an init container without", |pod| {
        pod.without("/spec/initContainers/1/volumeMounts")
    }, "container early does not mount the tokens"),
    ("one container less", |pod| {
        pod.without("/spec/containers/1")
    }, "init container hallpass keeps tokens for a container that is not in the pod"),
];

#[tokio::test]
async fn t27_a_sidecar_that_is_not_the_charts_is_refused_with_what_is_wrong() -> Result<()> {
    refuses("sidecar", SIDECAR).await
}

#[tokio::test]
async fn t27_the_sidecars_volumes_and_mounts_are_as_injection_makes_them() -> Result<()> {
    refuses("mounted", MOUNTED).await
}

#[tokio::test]
async fn t28_no_container_mounts_what_is_anothers_or_the_sidecars() -> Result<()> {
    refuses("others", OTHERS).await
}

/// A cloud's identity, a log level of a library: none of it is ours.
#[tokio::test]
async fn what_does_not_concern_the_sidecar_may_be_added_to_it() -> Result<()> {
    let cluster = Cluster::shared("additions").await?;
    let injected = injected(&cluster).await?;
    let token = json!({"name": "cloud", "mountPath": "/var/run/secrets/cloud.example/token", "readOnly": true});
    let added = injected
        .clone()
        .with(
            &sidecar("env/-"),
            json!({"name": "CLOUD_ROLE", "value": "x"}),
        )
        .with(&sidecar("volumeMounts/-"), token)
        .with(
            &sidecar("securityContext/seLinuxOptions"),
            json!({"level": "s0:c1,c2"}),
        )
        .with(&sidecar("resources"), json!({"limits": {"memory": "32Mi"}}))
        .with("/spec/volumes/-", json!({"name": "cloud", "emptyDir": {}}))
        .with("/spec/containers/-", container("late"));
    cluster.create(&added).accepted().await?;
    Ok(())
}

async fn refuses(test: &str, tampered: &[Tampered]) -> Result<()> {
    let cluster = Cluster::shared(test).await?;
    let injected = injected(&cluster).await?;
    cluster
        .create(&injected)
        .accepted()
        .await
        .context("as it was printed")?;
    for (what, tamper, why) in tampered {
        let pod = tamper(injected.clone());
        let refused = cluster.create(&pod).refused_by(POLICY, &[why, CAUSE]).await;
        refused.with_context(|| (*what).to_owned())?;
    }
    Ok(())
}

/// A pod with the sidecar, an init container and two others, as it is printed.
async fn injected(cluster: &Cluster) -> Result<Manifest> {
    let pod = pod("shape")
        .injected()
        .with("/spec/automountServiceAccountToken", json!(false))
        .with("/spec/initContainers", json!([container("early")]))
        .with("/spec/containers/-", container("side"));
    Ok(printed(&cluster.create(&pod).accepted().await?))
}

fn sidecar(member: &str) -> String {
    format!("/spec/initContainers/0/{member}")
}

fn ours(pod: Manifest, member: &str, value: Value) -> Manifest {
    pod.with(&sidecar(member), value)
}

/// The sidecar mounts a volume that is not ours.
fn foreign(pod: Manifest, path: &str) -> Manifest {
    let pod = pod.with("/spec/volumes/-", json!({"name": "data", "emptyDir": {}}));
    ours(
        pod,
        "volumeMounts/-",
        json!({"name": "data", "mountPath": path}),
    )
}

/// The mount of ours in the first container has another member.
fn app(pod: Manifest, member: &str, value: Value) -> Manifest {
    pod.with(
        &format!("/spec/containers/0/volumeMounts/0/{member}"),
        value,
    )
}

/// The first container mounts that as well.
fn mounted(pod: Manifest, volume: &str, path: &str) -> Manifest {
    let mount = json!({"name": volume, "mountPath": path, "readOnly": true});
    pod.with("/spec/containers/0/volumeMounts/-", mount)
}
