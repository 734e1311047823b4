//! B12: what injection costs the creation of a pod, by the size of the pod.

use std::{fs, time::Duration};

use anyhow::Result;
use hallpass_e2e::{
    cluster::{Cluster, checkout, upgrade},
    manifest::{Manifest, pod},
    wait::{not_yet, until},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    by_policy,
    creation::{Pairs, create},
    report::{Bar, Report},
    stats::Sample,
};

/// What injects where nothing else is said.
const BUILT_IN: &str = "AdmissionPolicy";
const WEBHOOK: &str = "Webhook";
/// The size of a pod as a request, what it is called, and how many pairs are created.
const SIZES: [(usize, &str, usize); 3] = [
    (SMALLEST, "2 KB", 1000),
    (64 << 10, "64 KB", 100),
    (LARGEST, "1 MB", 20),
];
pub(crate) const SMALLEST: usize = 2 << 10;
const LARGEST: usize = 1 << 20;
const CONDITIONS: &str = "dry-run creates over one connection, pairs that take turns, difference of the medians; the pod is large by its environment";

const AT_ONCE: &str =
    "dry-run creates by 16 at once, each of whom makes pairs that take turns, 992 pairs in all";

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let cluster = Cluster::shared("admission").await?;
    let pods = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    engine(report, &pods, BUILT_IN).await?;
    by_policy::measure(report, (&cluster, &pods), BUILT_IN).await?;
    with_webhook(report, &cluster, &pods).await
}

/// The same with the other engine, where the chart has one; afterwards it is as it was.
#[expect(clippy::print_stderr, reason = "who reads the figures has to know")]
async fn with_webhook(report: &mut Report, cluster: &Cluster, pods: &Api<Pod>) -> Result<()> {
    let schema = fs::read(checkout().join("charts/hallpass/values.schema.json"))?;
    let schema: Value = serde_json::from_slice(&schema)?;
    let engines = &schema["properties"]["injection"]["properties"]["engine"]["enum"];
    let offered = engines
        .as_array()
        .is_some_and(|all| all.contains(&json!(WEBHOOK)));
    if !offered {
        eprintln!("not run: the chart has no engine {WEBHOOK}");
        return Ok(());
    }
    let probe = of_size("probe", SMALLEST).injected();
    let of = |engine| format!("injection.engine={engine}");
    switch(pods, &of(WEBHOOK), (&probe, true)).await?;
    let mut outcome = engine(report, pods, WEBHOOK).await;
    if outcome.is_ok() {
        outcome = by_policy::measure(report, (cluster, pods), WEBHOOK).await;
    }
    switch(pods, &of(BUILT_IN), (&probe, true)).await?;
    outcome
}

/// Changes a value of the chart and waits until that holds for `probe`: injected, or not.
pub(crate) async fn switch(
    pods: &Api<Pod>,
    value: &str,
    (probe, expected): (&Manifest, bool),
) -> Result<()> {
    upgrade(value).await?;
    // what the chart took away is still in force for a while, and what it brought is not yet
    let (within, mut times) = (Duration::from_secs(60), 0);
    let what = format!("pods are as they are to be with {value}");
    until(within, &what, || {
        times += 1;
        async move {
            let made = create(pods, probe, (times, &dry_run())).await?.1;
            let mut init = made
                .spec
                .iter()
                .flat_map(|spec| spec.init_containers.iter().flatten());
            let injected = init.any(|container| container.name == "hallpass");
            if injected == expected && times > LONG_ENOUGH {
                Ok(())
            } else {
                Err(not_yet(format!("injected: {injected}")))
            }
        }
    })
    .await
}

#[expect(clippy::print_stderr, reason = "who reads the figures has to know")]
async fn engine(report: &mut Report, pods: &Api<Pod>, engine: &str) -> Result<()> {
    for (bytes, size, pairs) in SIZES {
        let (without, with) = match compared(pods, bytes, (pairs, 1)).await {
            Ok(compared) => compared,
            // the API server bounds what an expression may cost
            Err(why) if bytes == LARGEST => {
                eprintln!("not run: {engine}, {size}: {why:#}");
                continue;
            }
            Err(why) => return Err(why.context(format!("{engine}, {size}"))),
        };
        let p50 = (without.median(), with.median());
        let metric = format!("{engine}, {size}: create, p50");
        report.add("B12", &metric, (p50.1, "ms"), CONDITIONS);
        report.beside(PEER, p50.0);
        let metric = format!("{engine}, {size}: injection");
        report.add("B12", &metric, (p50.1 - p50.0, "ms"), CONDITIONS);
        if bytes == SMALLEST {
            report.bar(Bar::Value(3.0));
            let metric = format!("{engine}, {size}: create, p99");
            report.add("B12", &metric, (with.quantile(0.99), "ms"), CONDITIONS);
            report.beside(PEER, without.quantile(0.99));
        }
    }
    at_once(report, pods, engine).await
}

/// Where many create pods at once.
async fn at_once(report: &mut Report, pods: &Api<Pod>, engine: &str) -> Result<()> {
    let (without, with) = compared(pods, SMALLEST, (1000, CREATORS)).await?;
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let metric = format!("{engine}, 2 KB, {CREATORS} at once: create, {name}");
        report.add("B12", &metric, (with.quantile(part), "ms"), AT_ONCE);
        report.beside(PEER, without.quantile(part));
    }
    Ok(())
}

/// Milliseconds without the label and with it.
async fn compared(
    pods: &Api<Pod>,
    bytes: usize,
    (pairs, creators): (usize, usize),
) -> Result<(Sample, Sample)> {
    let plain = of_size("plain", bytes);
    let labelled = of_size("labelled", bytes).injected();
    let mut made = Pairs::default();
    let dry = (pairs, &dry_run());
    made.at_once(pods, (&plain, &labelled), dry, creators)
        .await?;
    Ok(made.samples())
}

/// A pod that is about that large.
pub(crate) fn of_size(name: &str, bytes: usize) -> Manifest {
    let bare = pod(name);
    let variable =
        |number: usize| json!({"name": format!("VARIABLE_{number:06}"), "value": "v".repeat(64)});
    let one = variable(0).to_string().len() + 1;
    let count = bytes.saturating_sub(bare.to_string().len()) / one;
    let variables: Vec<Value> = (0..count).map(variable).collect();
    bare.with("/spec/containers/0/env", json!(variables))
}

/// Nothing is stored.
pub(crate) fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

/// How many create pods at once where many do.
const CREATORS: usize = 16;
const PEER: &str = "the same pod without the label";
/// How often a pod is injected before it is believed that it is so for good.
const LONG_ENOUGH: usize = 25;
