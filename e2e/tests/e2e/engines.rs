//! The two engines of injection: of each pod they make the same, or refuse it in the same words.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use hallpass_e2e::{
    cluster::{Cluster, Engine, RELEASE, checkout, engine},
    command::run,
    comparable::{comparable, tidy},
    create::{Verdict, namespace_says},
    generated_pods::generated_pods,
    manifest::{Manifest, container_with, pod},
    remark::remark,
    wait::{not_yet, until},
};
use hallpass_operator::inject::{Asked, Injection, Patch, Pod, Settings, inject};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::sidecar_values::under;

/// What both engines made of pods.
#[derive(Default)]
struct Alike {
    injected: usize,
    refused: usize,
    /// No valid pods either way.
    invalid: usize,
}

#[tokio::test]
async fn the_webhook_makes_of_each_pod_what_the_api_server_makes_of_it() -> Result<()> {
    if there_is_one_engine()? {
        return Ok(());
    }
    let cluster = Cluster::shared("engines").await?;
    let settings = settings(&json!({})).await?;
    let pods = generated_pods(SEED, PODS).into_iter().map(asking);
    let alike = alike(&cluster, &settings, Asked::ByPod, pods).await?;
    alike.enough(PODS)
}

#[tokio::test]
async fn the_webhook_makes_the_same_of_pods_of_a_labelled_namespace() -> Result<()> {
    if there_is_one_engine()? {
        return Ok(());
    }
    let cluster = Cluster::shared("engines-labelled").await?;
    namespace_says(&cluster, "true").await?;
    let settings = settings(&json!({})).await?;
    let label = "/metadata/labels/hallpass.dev~1inject";
    let pods = generated_pods(SEED, FEWER).into_iter();
    let pods = pods.map(|pod| Manifest::from(pod).without(label));
    let alike = alike(&cluster, &settings, Asked::ByNamespace, pods).await?;
    alike.enough(FEWER)
}

#[tokio::test]
async fn the_webhook_makes_the_same_of_pods_under_other_values() -> Result<()> {
    if there_is_one_engine()? {
        return Ok(());
    }
    let cluster = Cluster::alone("engines-values").await?;
    let digest = format!("sha256:{}", "0".repeat(64));
    for values in [
        json!({"sidecar": {
            "image": {"digest": digest, "pullPolicy": "Always"},
            "imagePullSecrets": [{"name": "pull"}, {"name": "a"}], "runAsUser": null,
            "guaranteedResources": {"cpu": "51m", "memory": "17Mi"},
        }}),
        json!({
            "sidecar": {"runAsUser": 1000, "resources": {"requests": {"cpu": "20m"}, "limits": null}},
            "injection": {"after": ["linkerd-proxy"]},
        }),
    ] {
        let settings = settings(&values).await?;
        let look = async || {
            let (by, settings) = (Asked::ByPod, &settings);
            until(MINUTE, "the values are in force", || async {
                let seen = alike(&cluster, settings, by, [telling()].into_iter()).await?;
                ensure!(seen.injected == 1, not_yet(seen.refused));
                Ok(())
            })
            .await?;
            let pods = generated_pods(SEED, FEWER).into_iter().map(asking);
            alike(&cluster, settings, by, pods).await?.enough(FEWER)
        };
        let seen = under(&values, look).await;
        seen.with_context(|| values.to_string())?;
    }
    Ok(())
}

fn there_is_one_engine() -> Result<bool> {
    let one = engine()? == Engine::Webhook;
    if one {
        remark("skipped on a cluster that has no MutatingAdmissionPolicies: both engines on it");
    }
    Ok(one)
}

fn asking(pod: Value) -> Manifest {
    Manifest::from(pod).label("hallpass.dev/inject", "true")
}

/// A pod in which each of those values makes a difference.
fn telling() -> Manifest {
    let proxy = container_with("istio-proxy", json!({"restartPolicy": "Always"}));
    let app = json!({"resources": {"requests": {"cpu": "1m"}}});
    pod("telling")
        .injected()
        .with("/spec/initContainers", json!([proxy]))
        .with("/spec/containers", json!([container_with("app", app)]))
}

/// Compares both engines on these pods, or tells of the first that they do not agree on.
async fn alike(
    cluster: &Cluster,
    settings: &Settings,
    asked: Asked,
    pods: impl Iterator<Item = Manifest>,
) -> Result<Alike> {
    let mut alike = Alike::default();
    for pod in pods {
        let ours = decided(pod.json(), &cluster.namespace, asked, settings)?;
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
                alike.injected += 1;
            }
            (Verdict::Refused(status), Injection::Deny(denial)) => {
                ensure!(
                    status.message.contains(&denial.message),
                    "of {}\nthe policy says {}\nthe webhook says {}",
                    pod.json(),
                    status.message,
                    denial.message
                );
                alike.refused += 1;
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
                alike.invalid += 1;
            }
            (verdict, ours) => bail!(
                "of {}\nthe policy makes {verdict:?}\nthe webhook {ours:?}",
                pod.json()
            ),
        }
    }
    Ok(alike)
}

impl Alike {
    /// The claim is about pods of each sort.
    fn enough(&self, of: usize) -> Result<()> {
        let (injected, refused, invalid) = (self.injected, self.refused, self.invalid);
        ensure!(
            injected > of / 3 && refused > of / 20,
            "{injected} injected, {refused} refused, {invalid} no pods"
        );
        remark(&format!(
            "of {of} pods both engines injected {injected} alike and refused {refused} alike; {invalid} are no valid pods"
        ));
        Ok(())
    }
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
async fn settings(values: &Value) -> Result<Settings> {
    let mut file = NamedTempFile::new()?;
    file.write_all(values.to_string().as_bytes())?;
    let file = file.path().to_str().context("a path in UTF-8")?;
    let chart = checkout().join("charts/hallpass");
    let chart = chart.to_str().context("a path in UTF-8")?;
    let fixed = "image.registry=registry.local,injection.engine=Webhook";
    let args = [
        "template",
        "hallpass",
        chart,
        "-n",
        RELEASE,
        "--show-only",
        "templates/deployment.yaml",
        "--set",
        fixed,
        "-f",
        file,
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

fn decided(pod: &Value, namespace: &str, asked: Asked, settings: &Settings) -> Result<Injection> {
    let pod: Pod = serde_json::from_value(pod.clone())?;
    Ok(inject(&pod, namespace, asked, settings, Some("CA")))
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

const SEED: u64 = 20_261_127;
/// Pods that are compared, and those under anything else than the usual.
const PODS: usize = 300;
const FEWER: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);
