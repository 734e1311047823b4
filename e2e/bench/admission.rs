//! B12: what injection costs the creation of a pod, by the size of the pod, and what policies cost the API server.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE, checkout},
    command::{kubectl, run},
    manifest::{Manifest, pod, policy},
    state,
    wait::{not_yet, until},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    creation::{Pairs, create},
    kernel::Memory,
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
/// How many pods are created beside so many policies.
const CREATES: usize = 40;
const SMALLEST: usize = 2 << 10;
const LARGEST: usize = 1 << 20;
const CONDITIONS: &str = "dry-run creates over one connection, pairs that take turns, difference of the medians; the pod is large by its environment";

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let cluster = Cluster::shared("admission").await?;
    let pods = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    engine(report, &pods, BUILT_IN).await?;
    policies(report, &cluster, &pods).await?;
    with_webhook(report, &pods).await
}

/// The same with the other engine, where the chart has one; afterwards it is as it was.
#[expect(clippy::print_stderr, reason = "who reads the figures has to know")]
async fn with_webhook(report: &mut Report, pods: &Api<Pod>) -> Result<()> {
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
    switch(pods, WEBHOOK).await?;
    let outcome = engine(report, pods, WEBHOOK).await;
    switch(pods, BUILT_IN).await?;
    outcome
}

async fn switch(pods: &Api<Pod>, engine: &str) -> Result<()> {
    let chart = checkout().join("charts/hallpass");
    let chart = chart.to_str().context("a path in UTF-8")?;
    let value = format!("injection.engine={engine}");
    let args = [
        "upgrade",
        "hallpass",
        chart,
        "-n",
        RELEASE,
        "--reuse-values",
        "--set",
        &value,
    ];
    run("helm", &args, None).await?.success()?;
    let done = [
        "rollout",
        "status",
        "deployment/hallpass",
        "-n",
        RELEASE,
        "--timeout=120s",
    ];
    kubectl(&done).await?.success()?;
    let probe = of_size("probe", SMALLEST).injected();
    // what the chart took away is still in force for a while, and what it brought is not yet
    let (within, mut times) = (Duration::from_secs(60), 0);
    until(within, "a labelled pod is injected", || {
        let probe = probe.clone();
        times += 1;
        async move {
            let made = create(pods, &probe, (times, &dry_run())).await?.1;
            let mut init = made
                .spec
                .iter()
                .flat_map(|spec| spec.init_containers.iter().flatten());
            let injected = init.any(|container| container.name == "hallpass");
            if injected && times > LONG_ENOUGH {
                Ok(())
            } else {
                Err(not_yet("a bare pod"))
            }
        }
    })
    .await
}

#[expect(clippy::print_stderr, reason = "who reads the figures has to know")]
async fn engine(report: &mut Report, pods: &Api<Pod>, engine: &str) -> Result<()> {
    for (bytes, size, pairs) in SIZES {
        let (without, with) = match compared(pods, bytes, pairs).await {
            Ok(compared) => compared,
            // the API server bounds what an expression may cost
            Err(why) if bytes == LARGEST => {
                eprintln!("not run: {engine}, {size}: {why:#}");
                continue;
            }
            Err(why) => return Err(why.context(format!("{engine}, {size}"))),
        };
        let metric = format!("{engine}, {size}: create, p50");
        report.add("B12", &metric, (with, "ms"), CONDITIONS);
        report.beside("the same pod without the label", without);
        let metric = format!("{engine}, {size}: injection");
        report.add("B12", &metric, (with - without, "ms"), CONDITIONS);
        if bytes == SMALLEST {
            report.bar(Bar::Value(3.0));
        }
    }
    Ok(())
}

/// The medians without the label and with it, in milliseconds.
async fn compared(pods: &Api<Pod>, bytes: usize, pairs: usize) -> Result<(f64, f64)> {
    let plain = of_size("plain", bytes);
    let labelled = of_size("labelled", bytes).injected();
    let mut made = Pairs::default();
    let dry = (pairs, &dry_run());
    made.create(pods, (&plain, &labelled), dry).await?;
    Ok(made.medians())
}

/// What policies in one namespace cost the API server.
async fn policies(report: &mut Report, cluster: &Cluster, pods: &Api<Pod>) -> Result<()> {
    let Some(state) = state::folder("the API server's memory") else {
        return Ok(());
    };
    let pid = fs::read_to_string(state.join("run/kube-apiserver.pid"))?;
    let pid: u32 = pid.trim().parse()?;
    let plain = of_size("plain", SMALLEST);
    let conditions = "VmRSS, and dry-run creates of an unlabelled pod of 2 KB, with so many policies in its namespace";
    let mut there = 0;
    for count in [0, 1, 32, 256] {
        let more: Vec<String> = (there..count)
            .map(|number| a_policy(number).to_string())
            .collect();
        if !more.is_empty() {
            cluster.apply(&more.join("\n---\n")).await?;
        }
        there = count;
        let mut millis = Vec::with_capacity(CREATES);
        for number in 0..CREATES {
            let dry = (number, &dry_run());
            millis.push(create(pods, &plain, dry).await?.0);
        }
        let metric = format!("API server with {count} policies");
        report.add(
            "B12",
            &metric,
            (Memory::of(pid)?.resident, "MiB"),
            conditions,
        );
        let metric = format!("create with {count} policies, p50");
        report.add(
            "B12",
            &metric,
            (Sample::new(millis).median(), "ms"),
            conditions,
        );
    }
    // who comes next counts those that are ready
    let delete = ["delete", "tokenpolicies", "--all"];
    cluster.kubectl(&delete).await?.success()?;
    Ok(())
}

fn a_policy(number: usize) -> Manifest {
    let (name, account) = (format!("p-{number}"), format!("a-{number}"));
    policy(&name, &account, &[("vault", "https://vault.example")])
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

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

/// How often a pod is injected before it is believed that it is so for good.
const LONG_ENOUGH: usize = 25;
