//! The chart's values, without a cluster: each does something, is written down where people look, and bad ones are refused.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::cluster::{RELEASE, checkout};
use serde_json::Value;

use super::{helm, rendered};

const MONITORING: &str = "--api-versions=monitoring.coreos.com/v1";

/// A value, what is set beside it both times, and what it is set to. It has to make a difference.
type Row = (&'static str, &'static [&'static str], &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("nameOverride", &[], "other"),
    ("fullnameOverride", &[], "other"),
    ("image.registry", &[], "registry.example:5000/a"),
    ("image.repository", &[], "other"),
    ("image.tag", &[], "v1"),
    ("image.digest", &[], "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    ("image.pullPolicy", &[], "Always"),
    ("crds.enabled", &[], "false"),
    ("crds.keep", &[], "false"),
    ("imagePullSecrets", &[], "[{\"name\":\"pull\"}]"),
    ("sidecar.image.registry", &[], "registry.example"),
    ("sidecar.image.repository", &[], "other"),
    ("sidecar.image.tag", &[], "v1"),
    ("sidecar.image.digest", &[], "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    ("sidecar.image.pullPolicy", &[], "Always"),
    ("sidecar.imagePullSecrets", &[], "[{\"name\":\"pull\"}]"),
    ("sidecar.runAsUser", &[], "null"),
    ("sidecar.resources.requests.cpu", &[], "6m"),
    ("sidecar.resources.requests.memory", &[], "9Mi"),
    ("sidecar.resources.limits.cpu", &[], "1"),
    ("sidecar.resources.limits.memory", &[], "17Mi"),
    ("sidecar.guaranteedResources", &[], "{\"cpu\":\"51m\",\"memory\":\"17Mi\"}"),
    ("injection.engine", &[], "Webhook"),
    ("injection.byPolicy", &[], "true"),
    ("injection.evictUninjected", &[], "true"),
    ("injection.after", &[], "[\"linkerd-proxy\"]"),
    ("replicaCount", &[], "3"),
    ("logLevel", &[], "debug"),
    ("kubernetes.apiServerAudiences", &[], "[\"https://api.example\"]"),
    ("issuer.url", &[], "https://id.example"),
    ("issuer.algorithm", &[], "EdDSA"),
    ("issuer.rotateEvery", &[], "7d"),
    ("issuer.spiffeTrustDomain", &[], "prod.example"),
    ("resources.requests", &[], "{\"cpu\":\"1\"}"),
    ("resources.limits", &[], "{\"memory\":\"1Gi\"}"),
    ("nodeSelector", &[], "{\"a\":\"b\"}"),
    ("tolerations", &[], "[{\"key\":\"a\",\"operator\":\"Exists\"}]"),
    ("affinity.nodeAffinity", &[], "{\"a\":{}}"),
    ("affinity.podAffinity", &[], "{\"a\":{}}"),
    ("affinity.podAntiAffinity", &[], "{\"a\":{}}"),
    ("topologySpreadConstraints", &[], "[{\"topologyKey\":\"a\",\"maxSkew\":2,\"whenUnsatisfiable\":\"DoNotSchedule\"}]"),
    ("priorityClassName", &[], "important"),
    ("runtimeClassName", &[], "gvisor"),
    ("podDisruptionBudget.enabled", &[], "false"),
    ("podDisruptionBudget.minAvailable", &[], "1"),
    ("podDisruptionBudget.maxUnavailable", &[], "\"50%\""),
    ("podDisruptionBudget.unhealthyPodEvictionPolicy", &[], "IfHealthyBudget"),
    ("podAnnotations", &[], "{\"a\":\"b\"}"),
    ("podLabels", &[], "{\"team\":\"a\"}"),
    ("commonLabels", &[], "{\"team\":\"a\"}"),
    ("serviceAccount.annotations", &[], "{\"a\":\"b\"}"),
    ("extraArgs", &[], "[\"--metrics-addr=[::]:9403\"]"),
    ("extraEnv", &[], "[{\"name\":\"A\",\"value\":\"b\"}]"),
    ("volumes", &[], "[{\"name\":\"a\",\"emptyDir\":{}}]"),
    ("volumeMounts", &[], "[{\"name\":\"a\",\"mountPath\":\"/a\"}]"),
    ("extraObjects", &[], "[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}]"),
    ("rbac.create", &[], "false"),
    ("rbac.aggregateClusterRoles", &[], "false"),
    ("rbac.tokenRequest.namespaces", &[], "[\"shop\"]"),
    ("networkPolicy.enabled", &[], "true"),
    ("networkPolicy.apiServerPorts", &["networkPolicy.enabled=true"], "[8443]"),
    ("priorityAndFairness.enabled", &[], "false"),
    ("prometheus.serviceMonitor.enabled", &[], "true"),
    ("prometheus.serviceMonitor.interval", &["prometheus.serviceMonitor.enabled=true"], "15s"),
    ("prometheus.serviceMonitor.scrapeTimeout", &["prometheus.serviceMonitor.enabled=true"], "5s"),
    ("prometheus.serviceMonitor.labels", &["prometheus.serviceMonitor.enabled=true"], "{\"a\":\"b\"}"),
    ("prometheus.podMonitor.enabled", &[], "true"),
    ("prometheus.podMonitor.interval", &["prometheus.podMonitor.enabled=true"], "15s"),
    ("prometheus.podMonitor.scrapeTimeout", &["prometheus.podMonitor.enabled=true"], "5s"),
    ("prometheus.podMonitor.labels", &["prometheus.podMonitor.enabled=true"], "{\"a\":\"b\"}"),
    ("prometheus.prometheusRule.enabled", &[], "true"),
    ("prometheus.prometheusRule.labels", &["prometheus.prometheusRule.enabled=true"], "{\"a\":\"b\"}"),
    ("prometheus.prometheusRule.runbookURL", &["prometheus.prometheusRule.enabled=true"], "https://git.example/a/"),
    ("prometheus.grafanaDashboard.enabled", &[], "true"),
    ("prometheus.grafanaDashboard.labels", &["prometheus.grafanaDashboard.enabled=true"], "{\"a\":\"b\"}"),
    ("prometheus.grafanaDashboard.annotations", &["prometheus.grafanaDashboard.enabled=true"], "{\"a\":\"b\"}"),
];

/// The objects of the Prometheus operator that depend on what the cluster has.
const MONITORS: [(&str, &str); 3] = [
    ("serviceMonitor", "ServiceMonitor"),
    ("podMonitor", "PodMonitor"),
    ("prometheusRule", "PrometheusRule"),
];

/// `--set-json` takes only JSON.
fn json(value: &str) -> String {
    match serde_json::from_str::<Value>(value) {
        Ok(_) => value.to_owned(),
        Err(_) => Value::from(value).to_string(),
    }
}

#[tokio::test]
async fn every_value_makes_a_difference() -> Result<()> {
    for (path, beside, value) in ROWS {
        let mut args = vec![MONITORING];
        for set in *beside {
            args.extend(["--set", set]);
        }
        let without = rendered(&args).await?;
        let set = format!("{path}={}", json(value));
        args.extend(["--set-json", &set]);
        let with = rendered(&args).await.with_context(|| set.clone())?;
        ensure!(without != with, "{set} changes nothing");
    }
    Ok(())
}

/// Every value that the schema knows, as a path.
fn values() -> Result<BTreeSet<String>> {
    let schema = std::fs::read(checkout().join("charts/hallpass/values.schema.json"))?;
    let schema: Value = serde_json::from_slice(&schema)?;
    let mut found = BTreeSet::new();
    descend(&schema, &schema, "", &mut found)?;
    Ok(found)
}

fn descend(schema: &Value, at: &Value, path: &str, found: &mut BTreeSet<String>) -> Result<()> {
    let at = match at["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.trim_start_matches('#');
            schema
                .pointer(pointer)
                .with_context(|| reference.to_owned())?
        }
        None => at,
    };
    let Some(properties) = at["properties"].as_object() else {
        found.insert(path.to_owned());
        return Ok(());
    };
    ensure!(
        at["additionalProperties"] == false,
        "\"{path}\" takes what nothing reads"
    );
    for (key, below) in properties {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        descend(schema, below, &path, found)?;
    }
    Ok(())
}

#[test]
fn every_value_is_tried_and_written_down() -> Result<()> {
    let chart = checkout().join("charts/hallpass");
    let (readme, defaults) = (
        std::fs::read_to_string(chart.join("README.md"))?,
        std::fs::read_to_string(chart.join("values.yaml"))?,
    );
    let tried: BTreeSet<_> = ROWS.iter().map(|(path, ..)| (*path).to_owned()).collect();
    // what makes a difference only where the cluster lacks something has a test of its own
    let apart = values()?
        .into_iter()
        .filter(|path| !path.ends_with(".renderMode"));
    assert_eq!(tried, apart.collect());
    for path in values()? {
        ensure!(
            readme.contains(&format!("`{path}`"))
                || readme.contains(&format!("`{}`", parent(&path))),
            "the chart's README has no {path}"
        );
        let key = path.rsplit('.').next().context("a key")?;
        ensure!(
            defaults.contains(&format!("{key}:"))
                || defaults.contains(&format!("{}:", parent(&path))),
            "values.yaml has no {path}"
        );
    }
    Ok(())
}

/// The value that this is a part of, as `affinity` of `affinity.nodeAffinity`.
fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(parent, _)| parent)
}

#[tokio::test]
async fn a_monitor_is_rendered_where_the_cluster_has_its_kind_or_as_it_is_told() -> Result<()> {
    for (value, kind) in MONITORS {
        let enabled = format!("prometheus.{value}.enabled=true");
        let object = format!("kind: {kind}\n");
        let mode = |mode: &str| format!("prometheus.{value}.renderMode={mode}");
        let skipped = rendered(&["--set", &enabled]).await?;
        ensure!(!skipped.contains(&object), "{kind} is not skipped");
        let there = rendered(&["--set", &enabled, MONITORING]).await?;
        ensure!(there.contains(&object), "{kind} is missing");
        let always = ["--set", &enabled, "--set", &mode("alwaysRender")];
        ensure!(
            rendered(&always).await?.contains(&object),
            "{kind} is not rendered always"
        );
        let fails = mode("failIfMissing");
        let args = ["-n", RELEASE, "--set", &enabled, "--set", &fails];
        let refused = helm(&["template", "hallpass"], &args).await?.failure()?;
        let why = format!("this cluster has no monitoring.coreos.com/v1, so no {kind}");
        ensure!(refused.contains(&why), "{refused}");
        let there = ["--set", &enabled, "--set", &fails, MONITORING];
        ensure!(rendered(&there).await?.contains(&object), "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn values_that_contradict_each_other_or_the_chart_are_refused() -> Result<()> {
    for (values, said) in [
        (
            "prometheus.serviceMonitor.enabled=true,prometheus.podMonitor.enabled=true",
            "both enabled",
        ),
        (
            "podDisruptionBudget.minAvailable=1,podDisruptionBudget.maxUnavailable=1",
            "podDisruptionBudget",
        ),
        ("podDisruptionBudget.maxUnavailable=101%", "maxUnavailable"),
        (
            "podDisruptionBudget.unhealthyPodEvictionPolicy=Never",
            "unhealthyPodEvictionPolicy",
        ),
        ("commonLabels.app\\.kubernetes\\.io/name=x", "commonLabels"),
        ("podLabels.hallpass\\.dev/injected=x", "podLabels"),
        ("extraEnv[0].name=POD_NAME", "extraEnv"),
        (
            "topologySpreadConstraints[0].topologyKey=a",
            "topologySpreadConstraints",
        ),
        ("rbac.tokenRequest.namespaces[0]=A", "namespaces"),
        ("rbac.tokenRequest.name=x", "tokenRequest"),
        ("networkPolicy.apiServerPorts[0]=0", "apiServerPorts"),
        ("networkPolicy.apiServerPorts=null", "apiServerPorts"),
        ("prometheus.podMonitor.renderMode=never", "renderMode"),
        ("prometheus.podMonitor.interval=30", "interval"),
        (
            "prometheus.prometheusRule.runbookURL=https://git.example",
            "runbookURL",
        ),
        ("prometheus.enabled=true", "enabled"),
        ("serviceAccount.name=x", "serviceAccount"),
    ] {
        let args = ["-n", RELEASE, "--set", values];
        let refused = helm(&["template", "hallpass"], &args).await?.failure()?;
        ensure!(refused.contains(said), "{values}: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_would_request_more_than_its_limit_is_not_rendered() -> Result<()> {
    let template = async |request: &str, limit: &str| {
        let values = format!(
            "sidecar.resources.requests.memory={request},sidecar.resources.limits.memory={limit}"
        );
        let args = ["-n", RELEASE, "--set", &values];
        helm(&["template", "hallpass"], &args).await
    };
    for (request, limit) in [
        ("17Mi", "16Mi"),
        ("1G", "999M"),
        ("16777217", "16Mi"),
        ("1Ki", "1k"),
        ("1.5Gi", "1500M"),
        ("2", "1500m"),
        ("1Ei", "1E"),
    ] {
        let refused = template(request, limit).await?.failure()?;
        let why = format!(
            "sidecar.resources.requests.memory, {request}, is above sidecar.resources.limits.memory, {limit}: \
            Kubernetes would refuse every pod with such a sidecar"
        );
        ensure!(refused.contains(&why), "{request} of {limit}: {refused}");
    }
    for (request, limit) in [
        ("16Mi", "16Mi"),
        ("16Mi", "16777216"),
        ("0.5Gi", "512Mi"),
        ("999M", "1G"),
        ("1k", "1Ki"),
        ("1500m", "1.5"),
    ] {
        let rendered = template(request, limit).await?.success();
        rendered.with_context(|| format!("{request} of {limit}"))?;
    }
    // each resource of its own kind, and none where one of the two is left out
    let values = "sidecar.resources.requests.cpu=2,sidecar.resources.limits.cpu=1";
    let args = ["-n", RELEASE, "--set", values];
    let refused = helm(&["template", "hallpass"], &args).await?.failure()?;
    ensure!(
        refused.contains("sidecar.resources.requests.cpu, 2, is above"),
        "{refused}"
    );
    rendered(&["--set", "sidecar.resources.requests.cpu=2"]).await?;
    Ok(())
}

#[tokio::test]
async fn the_values_for_availability_spread_three_replicas_and_let_one_go() -> Result<()> {
    let values = checkout().join("charts/hallpass/values-ha.yaml");
    let values = values.to_str().context("a path in UTF-8")?;
    let chart = rendered(&["-f", values]).await?;
    for said in [
        "replicas: 3\n",
        "maxUnavailable: 1\n",
        "whenUnsatisfiable: DoNotSchedule\n",
        "priorityClassName: system-cluster-critical\n",
        "kind: ResourceQuota\n",
    ] {
        ensure!(chart.contains(said), "{said}");
    }
    let lint = ["--strict", "-f", values];
    helm(&["lint"], &lint).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn the_right_to_mint_is_bound_where_it_is_given_and_nowhere_else() -> Result<()> {
    let binding = |kind: &str| format!("kind: {kind}\nmetadata:\n  name: hallpass-token-request\n");
    let everywhere = rendered(&[]).await?;
    ensure!(everywhere.contains(&binding("ClusterRoleBinding")));
    ensure!(!everywhere.contains(&binding("RoleBinding")));
    let two = "rbac.tokenRequest.namespaces={shop,bank}";
    let two = rendered(&["--set", two]).await?;
    ensure!(!two.contains(&binding("ClusterRoleBinding")));
    for namespace in ["shop", "bank"] {
        let bound = format!("{}  namespace: {namespace}\n", binding("RoleBinding"));
        ensure!(two.contains(&bound), "{namespace}");
    }
    Ok(())
}

#[tokio::test]
async fn templates_in_further_objects_are_rendered() -> Result<()> {
    let text = r#"extraObjects=["kind: ConfigMap\napiVersion: v1\nmetadata: {name: {{ include \"hallpass.fullname\" . }}-text}",
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-object"}}]"#;
    let chart = rendered(&["--set-json", text]).await?;
    ensure!(chart.contains("hallpass-text") && chart.contains("hallpass-object"));
    Ok(())
}
