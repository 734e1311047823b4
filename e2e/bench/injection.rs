//! What injection costs the creation of a pod.

use std::time::Instant;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    command::kubectl,
    manifest::{Manifest, pod},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::{
    report::{Bar, Report},
    stats::Sample,
};

const ROUNDS: usize = 5;
const CREATES: usize = 200;
const CONDITIONS: &str =
    "real creates over one connection, 5 interleaved rounds of 200, no scheduler";

/// The median without the chart, in milliseconds.
pub(crate) async fn without_chart(report: &mut Report) -> Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        // it was installed already, and there is only this one
    }
    let client = Client::try_default().await?;
    kubectl(&["create", "namespace", "bare"]).await?.success()?;
    hallpass_e2e::wait::until(
        std::time::Duration::from_secs(20),
        "the default service account",
        || async {
            kubectl(&["get", "serviceaccount", "default", "-n", "bare"])
                .await?
                .success()
        },
    )
    .await?;
    let pods = Api::namespaced(client, "bare");
    let mut millis = Vec::new();
    for _ in 0..ROUNDS {
        millis.extend(round(&pods, &pod("plain")).await?);
    }
    report.add(
        "create",
        "plain pod, no chart, p50",
        (Sample::new(millis).median(), "ms"),
        CONDITIONS,
    );
    Ok(())
}

pub(crate) async fn with_chart(report: &mut Report) -> Result<()> {
    let cluster = Cluster::shared("create").await?;
    let pods = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let (mut plain, mut labelled) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.extend(round(&pods, &pod("plain")).await?);
        labelled.extend(round(&pods, &pod("labelled").injected()).await?);
    }
    let (plain, labelled) = (Sample::new(plain).median(), Sample::new(labelled).median());
    let bare = report
        .value("create", "plain pod, no chart, p50")
        .context("measured before")?;
    report.add("create", "plain pod, p50", (plain, "ms"), CONDITIONS);
    report.beside("the same pod, no chart", bare);
    report.add("create", "labelled pod, p50", (labelled, "ms"), CONDITIONS);
    report.beside("the same pod, no chart", bare);
    report.add(
        "create",
        "injection (labelled - plain)",
        (labelled - plain, "ms"),
        CONDITIONS,
    );
    report.bar(Bar::Value(3.0));
    Ok(())
}

/// Milliseconds of each of a round's creates. The pods are never scheduled, and are gone afterwards.
async fn round(pods: &Api<Pod>, manifest: &Manifest) -> Result<Vec<f64>> {
    let mut millis = Vec::with_capacity(CREATES);
    for i in 0..CREATES {
        let name = format!(
            "{}-{i}",
            manifest.json()["metadata"]["name"]
                .as_str()
                .context("a name")?
        );
        let pod = manifest
            .clone()
            .with("/metadata/name", json!(name))
            .with("/spec/schedulerName", json!("none"));
        let pod: Pod = serde_json::from_value(pod.json().clone())?;
        let start = Instant::now();
        pods.create(&PostParams::default(), &pod).await?;
        millis.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let at_once = DeleteParams::default().grace_period(0);
    pods.delete_collection(&at_once, &ListParams::default())
        .await?;
    hallpass_e2e::wait::until(
        std::time::Duration::from_secs(30),
        "the round's pods are gone",
        || async {
            let left = pods
                .list(&ListParams::default().limit(1))
                .await?
                .items
                .len();
            if left == 0 {
                Ok(())
            } else {
                Err(hallpass_e2e::wait::not_yet(left))
            }
        },
    )
    .await?;
    Ok(millis)
}
