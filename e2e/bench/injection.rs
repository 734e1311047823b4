//! What injection costs the creation of a pod.

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
    creation::{Pairs, create},
    report::{Bar, Report},
    stats::Sample,
};

const ROUNDS: usize = 5;
const CREATES: usize = 200;
const CONDITIONS: &str =
    "real creates over one connection, 1,000 pairs that take turns, no scheduler";

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
    let plain = unscheduled(pod("plain"));
    for _ in 0..ROUNDS {
        for number in 0..CREATES {
            let real = (number, &PostParams::default());
            millis.push(create(&pods, &plain, real).await?.0);
        }
        clear(&pods).await?;
    }
    report.add(
        "create",
        "plain pod, no chart, p50",
        (Sample::new(millis).median(), "ms"),
        "1,000 real creates over one connection, no scheduler",
    );
    Ok(())
}

pub(crate) async fn with_chart(report: &mut Report) -> Result<()> {
    let cluster = Cluster::shared("create").await?;
    let pods = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let plain = unscheduled(pod("plain"));
    let labelled = unscheduled(pod("labelled").injected());
    let mut pairs = Pairs::default();
    for _ in 0..ROUNDS {
        let real = (CREATES, &PostParams::default());
        pairs.create(&pods, (&plain, &labelled), real).await?;
        clear(&pods).await?;
    }
    let (plain, labelled) = pairs.samples();
    let p99 = (plain.quantile(0.99), labelled.quantile(0.99));
    let (plain, labelled) = (plain.median(), labelled.median());
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
    report.add("create", "labelled pod, p99", (p99.1, "ms"), CONDITIONS);
    report.beside("the same pod without the label", p99.0);
    Ok(())
}

/// A pod that no scheduler takes up, so that no kubelet works beside the creations.
fn unscheduled(pod: Manifest) -> Manifest {
    pod.with("/spec/schedulerName", json!("none"))
}

/// Ends all pods, and waits until none is left.
async fn clear(pods: &Api<Pod>) -> Result<()> {
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
    .await
}
