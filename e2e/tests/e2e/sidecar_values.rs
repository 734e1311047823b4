//! What the chart's values say of the sidecar, in the pods that get it.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE, checkout},
    command::run,
    injection::Injection,
    manifest::{Manifest, container, container_with, pod},
    operator::settled,
    wait::until,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const MINUTE: Duration = Duration::from_secs(60);
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[tokio::test]
async fn what_the_values_say_of_the_sidecar_is_what_a_pod_gets() -> Result<()> {
    let cluster = Cluster::alone("sidecar-values").await?;
    let values = json!({
        "sidecar": {
            "image": {"digest": DIGEST, "pullPolicy": "Always"},
            "imagePullSecrets": [{"name": "pull"}, {"name": "mirror"}],
            "runAsUser": null,
            "resources": {
                "requests": {"cpu": "6m", "memory": "9Mi"}, "limits": {"cpu": "1", "memory": "17Mi"},
            },
            "guaranteedResources": {"cpu": "51m", "memory": "17Mi"},
        },
        "injection": {"after": []},
    });
    under(&values, async || judged(&cluster).await).await?;
    let plain = pod("shape").with("/spec/imagePullSecrets", json!([{"name": "own"}]));
    until(MINUTE, "the values of before", || async {
        Injection::default().of(&cluster, &plain).await
    })
    .await?;
    Ok(())
}

/// Looks at the release with these values beside the others, while no other test runs.
pub(crate) async fn under(values: &Value, look: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    upgraded(values).await?;
    let seen = look().await;
    // as it was for the other tests, whatever came of it
    run("helm", &["rollback", "hallpass", "-n", RELEASE], None)
        .await?
        .success()?;
    settled().await?;
    seen
}

/// Changes these values and leaves the others. An upgrade that reuses values takes null for one that is not said.
async fn upgraded(values: &Value) -> Result<()> {
    let said = ["get", "values", "hallpass", "-n", RELEASE, "-o", "json"];
    let before = run("helm", &said, None).await?.success()?;
    let (mut changed, mut before_it) = (NamedTempFile::new()?, NamedTempFile::new()?);
    changed.write_all(values.to_string().as_bytes())?;
    before_it.write_all(before.as_bytes())?;
    let chart = checkout().join("charts/hallpass");
    let [chart, before_it, changed] = [chart.as_path(), before_it.path(), changed.path()]
        .map(|path| path.to_str().context("a path in UTF-8"));
    let upgrade = ["upgrade", "hallpass", chart?, "-n", RELEASE];
    let values = ["--reset-values", "-f", before_it?, "-f", changed?];
    run("helm", &[&upgrade[..], &values].concat(), None)
        .await?
        .success()?;
    settled().await
}

async fn judged(cluster: &Cluster) -> Result<()> {
    let image = format!("registry.local/hallpass-sidecar@{DIGEST}");
    let added = || {
        let added = Injection::default().image(&image).running_as(None);
        added.pulled("Always", &["pull", "mirror"])
    };
    // the API server reads what adds and what judges one after the other
    until(MINUTE, "the values are in force", || async {
        added().of(cluster, &pod("shape")).await
    })
    .await?;
    let secrets = |names: &[&str]| {
        let named = names.iter().map(|name| json!({"name": name})).collect();
        pod("shape").with("/spec/imagePullSecrets", named)
    };
    let mesh = json!([
        container_with("istio-proxy", json!({"restartPolicy": "Always"})),
        container("migrate")
    ]);
    let user = pod("shape").annotation("hallpass.dev/run-as-user", "1000");
    let same = json!({"cpu": "51m", "memory": "17Mi"});
    for (what, pod, added) in [
        ("a secret of the same name", secrets(&["mirror"]), added()),
        ("secrets of other names", secrets(&["own", "other"]), added()),
        ("secrets of both", secrets(&["own", "pull"]), added()),
        (
            "a mesh that nobody comes after",
            pod("shape").with("/spec/initContainers", mesh),
            added().after(0),
        ),
        ("a user of its own", user, added().running_as(Some(1000))),
        (
            "a request",
            with_resources(json!({"requests": {"cpu": "1m"}})),
            added().resources(json!({
                "requests": {"cpu": "6m", "memory": "9Mi"}, "limits": {"cpu": "1", "memory": "17Mi"},
            })),
        ),
        (
            "guaranteed resources",
            with_resources(json!({"limits": {"cpu": "100m", "memory": "32Mi"}})),
            added().resources(json!({"requests": same, "limits": same})),
        ),
    ] {
        let seen = added.of(cluster, &pod).await;
        seen.with_context(|| format!("the pod with {what}"))?;
    }
    Ok(())
}

fn with_resources(resources: Value) -> Manifest {
    let app = container_with("app", json!({"resources": resources}));
    pod("shape").with("/spec/containers", json!([app]))
}
