//! B12: what injection by policy alone costs the creation of a pod and the API server, by how many policies are in the
//! namespace of the pod.

use anyhow::Result;
use hallpass_e2e::{
    cluster::Cluster,
    manifest::{Manifest, policy, service_account},
    state,
};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use crate::{
    admission::{SMALLEST, dry_run, of_size, switch},
    creation::{Pairs, create},
    kernel::Memory,
    report::Report,
    stats::Sample,
};

const CONDITIONS: &str = "dry-run creates of pods of 2 KB without a label over one connection, pairs that take turns; each policy is for another service account";

/// With no policy, 1, 32 and 256; afterwards pods are injected by their label alone, as before.
pub(crate) async fn measure(
    report: &mut Report,
    (cluster, pods): (&Cluster, &Api<Pod>),
    engine: &str,
) -> Result<()> {
    let all: Vec<String> = (0..MOST)
        .map(|number| service_account(&account(number)).to_string())
        .collect();
    cluster.apply(&all.join("\n---\n")).await?;
    let other = of_size("other", SMALLEST);
    let selected = of_size("selected", SMALLEST).under(&account(0));
    let without = alone(pods, &other).await?;
    report.add(
        "B12",
        &format!("{engine}, by policy, off"),
        (without, "ms"),
        CONDITIONS,
    );
    cluster.apply(&a_policy(0).to_string()).await?;
    let (on, off) = ("injection.byPolicy=true", "injection.byPolicy=false");
    switch(pods, on, (&selected, true)).await?;
    let outcome = each(
        report,
        (cluster, pods),
        (&other, &selected),
        engine,
        without,
    )
    .await;
    // who comes next counts those that are ready
    let delete = ["delete", "tokenpolicies", "--all"];
    cluster.kubectl(&delete).await?.success()?;
    switch(pods, off, (&selected, false)).await?;
    outcome
}

async fn each(
    report: &mut Report,
    (cluster, pods): (&Cluster, &Api<Pod>),
    pair: (&Manifest, &Manifest),
    engine: &str,
    without: f64,
) -> Result<()> {
    let mut there = 1;
    for count in [1, 32, MOST] {
        let more: Vec<String> = (there..count)
            .map(|number| a_policy(number).to_string())
            .collect();
        if !more.is_empty() {
            cluster.apply(&more.join("\n---\n")).await?;
        }
        there = count;
        let mut made = Pairs::default();
        made.create(pods, pair, (PAIRS, &dry_run())).await?;
        let (other, selected) = made.medians();
        let mut row = |who: &str, value: f64| {
            let metric = format!("{engine}, {count} policies: {who}");
            report.add("B12", &metric, (value, "ms"), CONDITIONS);
            report.beside("with injection by policy off", without);
        };
        row("a pod of none", other);
        row("a pod of one", selected);
        if let Some(resident) = resident()? {
            let metric = format!("{engine}, {count} policies: API server");
            report.add("B12", &metric, (resident, "MiB"), "VmRSS");
        }
    }
    Ok(())
}

/// The median of that pod alone, in milliseconds.
async fn alone(pods: &Api<Pod>, pod: &Manifest) -> Result<f64> {
    let mut millis = Vec::with_capacity(PAIRS);
    for number in 0..PAIRS {
        millis.push(create(pods, pod, (number, &dry_run())).await?.0);
    }
    Ok(Sample::new(millis).median())
}

/// The API server's memory, where it runs on this machine.
fn resident() -> Result<Option<f64>> {
    let Some(state) = state::folder("the API server's memory") else {
        return Ok(None);
    };
    let pid = std::fs::read_to_string(state.join("run/kube-apiserver.pid"))?;
    Ok(Some(Memory::of(pid.trim().parse()?)?.resident))
}

fn a_policy(number: usize) -> Manifest {
    let name = format!("p-{number}");
    policy(
        &name,
        &account(number),
        &[("vault", "https://vault.example")],
    )
}

fn account(number: usize) -> String {
    format!("a-{number}")
}

const MOST: usize = 256;
const PAIRS: usize = 200;
