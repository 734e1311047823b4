//! The two engines of injection: of each pod they make the same, or refuse it in the same words.

use anyhow::{Context as _, Result, bail, ensure};
use hallpass_e2e::{
    cluster::{Cluster, Engine, RELEASE, checkout, engine},
    command::run,
    comparable::{comparable, tidy},
    create::Verdict,
    generated_pods::generated_pods,
    manifest::Manifest,
    remark::remark,
};
use hallpass_operator::inject::{Asked, Injection, Patch, Pod, Settings, inject};
use serde_json::{Value, json};

#[tokio::test]
async fn the_webhook_makes_of_each_pod_what_the_api_server_makes_of_it() -> Result<()> {
    if engine()? == Engine::Webhook {
        remark("skipped on a cluster that has no MutatingAdmissionPolicies: both engines on it");
        return Ok(());
    }
    let cluster = Cluster::shared("engines").await?;
    let settings = settings().await?;
    let (mut same, mut refused, mut invalid) = (0, 0, 0);
    for pod in generated_pods(20_261_127, PODS) {
        let pod = Manifest::from(pod).label("hallpass.dev/inject", "true");
        let ours = decided(pod.json(), &cluster.namespace, &settings)?;
        let context = || format!("{}", pod.json());
        match (cluster.create(&pod).verdict().await?, ours) {
            (Verdict::Accepted(seen), Injection::Inject(patch)) => {
                let patched = Manifest::from(as_policy_does(patched(pod.json(), &patch)?)?);
                let again = cluster.create(&patched).accepted().await;
                let again = again.with_context(context)?;
                let (seen, again) = (ordered(&seen)?, ordered(&again)?);
                ensure!(
                    seen == again,
                    "of {}\nthe policy makes {seen}\nthe webhook makes {again}",
                    pod.json()
                );
                same += 1;
            }
            (Verdict::Refused(status), Injection::Deny(denial)) => {
                ensure!(
                    status.message.contains(&denial.message),
                    "of {}\nthe policy says {}\nthe webhook says {}",
                    pod.json(),
                    status.message,
                    denial.message
                );
                refused += 1;
            }
            (Verdict::Refused(status), Injection::Inject(patch)) => {
                // what is no valid pod either way is refused by the API server itself, after both
                let patched = Manifest::from(as_policy_does(patched(pod.json(), &patch)?)?);
                let again = cluster.create(&patched).refused().await;
                let again = again.with_context(context)?;
                ensure!(
                    !again.message.contains("hallpass"),
                    "{}\nbeside {}",
                    again.message,
                    status.message
                );
                invalid += 1;
            }
            (verdict, ours) => bail!(
                "of {}\nthe policy makes {verdict:?}\nthe webhook {ours:?}",
                pod.json()
            ),
        }
    }
    // the claim is about all three
    ensure!(
        same > PODS / 3 && refused > PODS / 20,
        "{same} the same, {refused} refused, {invalid} no pods"
    );
    remark(&format!(
        "of {PODS} pods both engines injected {same} alike and refused {refused} alike; {invalid} are no valid pods"
    ));
    Ok(())
}

/// The README says which Kubernetes has which engine; a wrong one is refused before anything is installed.
#[tokio::test]
async fn an_engine_that_a_cluster_cannot_have_is_refused() -> Result<()> {
    let cluster = Cluster::shared("versions").await?;
    let chart = checkout().join("charts/hallpass");
    let chart = chart.to_str().context("a path in UTF-8")?;
    let with = async |command: &str, engine: &str, more: &str| {
        let engine = format!("injection.engine={engine}");
        let args = ["-n", &cluster.namespace, "--set", &engine, more];
        run(
            "helm",
            &[&[command, "other", chart], &args[..]].concat(),
            None,
        )
        .await
    };
    let of_policies = |version: &str| {
        format!(
            "injection.engine AdmissionPolicy needs Kubernetes 1.37 or later, and this cluster is {version}: set injection.engine to Webhook"
        )
    };
    for (engine, version) in [
        ("AdmissionPolicy", "v1.37.0"),
        ("Webhook", "v1.31.0"),
        ("Webhook", "v1.37.0"),
    ] {
        let version = format!("--kube-version={version}");
        let said = with("template", engine, &version).await?.success();
        said.with_context(|| format!("{engine} {version}"))?;
    }
    for (engine, version, why) in [
        ("AdmissionPolicy", "v1.36.9", of_policies("v1.36.9")),
        ("Webhook", "v1.30.9", "kubeVersion: >=1.31.0-0".to_owned()),
    ] {
        let said = with("template", engine, &format!("--kube-version={version}"))
            .await?
            .failure()?;
        ensure!(said.contains(&why), "{engine} {version}: {said}");
    }
    // and for the version of this one
    let version = cluster.client.apiserver_version().await?;
    let minor = version.minor.trim_end_matches('+').parse::<u32>()?;
    if minor < 37 {
        let said = with("install", "AdmissionPolicy", "--dry-run=server")
            .await?
            .failure()?;
        ensure!(said.contains(&of_policies(&version.git_version)), "{said}");
    }
    Ok(())
}

/// What the chart tells the operator to add, where that is what injects.
async fn settings() -> Result<Settings> {
    let chart = checkout().join("charts/hallpass");
    let chart = chart.to_str().context("a path in UTF-8")?;
    let values = "image.registry=registry.local,injection.engine=Webhook";
    let args = [
        "template",
        "hallpass",
        chart,
        "-n",
        RELEASE,
        "--show-only",
        "templates/deployment.yaml",
        "--set",
        values,
    ];
    let rendered = run("helm", &args, None).await?.success()?;
    let mut lines = rendered.lines().map(str::trim);
    lines
        .find(|line| *line == "- --injection")
        .context("the flag")?;
    let text = lines.next().context("its value")?;
    let text: String = serde_json::from_str(text.trim_start_matches("- "))?;
    Ok(Settings::parse(&text)?)
}

fn decided(pod: &Value, namespace: &str, settings: &Settings) -> Result<Injection> {
    let pod: Pod = serde_json::from_value(pod.clone())?;
    Ok(inject(&pod, namespace, Asked::ByPod, settings, Some("CA")))
}

/// The pod after the patch (RFC 6902 §4.1).
fn patched(pod: &Value, patch: &Patch) -> Result<Value> {
    let mut pod = pod.clone();
    let patch = serde_json::to_value(patch)?;
    for operation in patch.as_array().into_iter().flatten() {
        let (path, value) = (&operation["path"], operation["value"].clone());
        let path = path.as_str().context("a path")?;
        let (parent, last) = path.rsplit_once('/').context("a pointer")?;
        match pod.pointer_mut(parent).with_context(|| path.to_owned())? {
            Value::Object(members) => {
                let key = last.replace("~1", "/").replace("~0", "~");
                members.insert(key, value);
            }
            Value::Array(list) if last == "-" => list.push(value),
            Value::Array(list) => list.insert(last.parse()?, value),
            other => bail!("nothing to add {path} to, but {other}"),
        }
    }
    Ok(pod)
}

/// The engines differ in how the sidecar gets its CA, and in nothing else.
fn as_policy_does(mut pod: Value) -> Result<Value> {
    let inits = pod["spec"]["initContainers"].as_array_mut();
    let sidecar = inits
        .into_iter()
        .flatten()
        .find(|c| c["name"] == "hallpass");
    let env = sidecar.context("the sidecar")?["env"].as_array_mut();
    let env = env.context("its variables")?;
    let ca = env.pop().context("a variable")?;
    ensure!(ca == json!({"name": "HALLPASS_CA", "value": "CA"}), "{ca}");
    let volumes = pod["spec"]["volumes"].as_array_mut();
    let mut volumes = volumes.into_iter().flatten();
    let identity = volumes.find(|v| v["name"] == "hallpass-identity");
    let sources = identity.context("the identity")?["projected"]["sources"].as_array_mut();
    sources.context("its sources")?.push(json!({"clusterTrustBundle": {
        "signerName": "hallpass.dev/serving", "path": "ca.pem", "optional": true, "labelSelector": {},
    }}));
    Ok(pod)
}

/// Volumes and mounts have no order among themselves: the pod's API token comes before or after ours.
fn ordered(pod: &Value) -> Result<Value> {
    let mut pod = comparable(pod)?;
    tidy(&mut pod);
    if let Some(volumes) = pod["spec"]["volumes"].as_array_mut() {
        volumes.sort_by_key(ToString::to_string);
    }
    Ok(pod)
}

/// Pods that are compared.
const PODS: usize = 300;
