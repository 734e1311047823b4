//! A sidecar ends at once while there is no operator that could give it anything: it is killed, or the kernel
//! ends it because it has no more memory.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::Apps,
    cluster::Cluster,
    local::LocalPod,
    memory::Memory,
    operator::scaled,
    process::Process,
    reads::{
        Outcome, Read, Source,
        verdict::{Fault, between, judge},
    },
    remark::remark,
    wait::{not_yet, until},
};
use jiff::Timestamp;
use tokio::{
    io::AsyncWriteExt as _,
    net::UnixStream,
    time::{Instant, interval, timeout},
};

use crate::fixture::{MINUTE, apps, lasts, moment, served_again, started_again};

/// All tokens outlive the fault.
const LIFE: &str = "10m";

/// From the start of the process to the first tokens.
const SERVED: Duration = Duration::from_millis(50);

/// From its end to that: the rest is the kubelet's.
const AWAY: Duration = Duration::from_secs(5);

/// How a sidecar ended, and how it came back.
struct Gap {
    ended: Timestamp,
    back: Timestamp,
    took: Duration,
}

#[tokio::test]
async fn f19_a_killed_sidecar_serves_what_is_valid_again_at_once_while_there_is_no_operator()
-> Result<()> {
    ends("sidecarkilled", "Error", async |_, sidecar| {
        sidecar.kill().await
    })
    .await
}

#[tokio::test]
async fn f19_a_sidecar_that_ran_out_of_memory_serves_what_is_valid_again_at_once() -> Result<()> {
    ends("outofmemory", "OOMKilled", out_of_memory).await
}

/// What its applications see of it when a sidecar ends so.
async fn ends(
    fault: &str,
    reason: &str,
    end: impl AsyncFn(&LocalPod, Process) -> Result<()>,
) -> Result<()> {
    let Some(apps) = apps(fault, 3, LIFE).await? else {
        return Ok(());
    };
    scaled(0).await?;
    let gaps = async {
        let mut gaps = Vec::new();
        for index in [0, 1] {
            gaps.push(gap(&apps.pods[index], &end).await?);
            ended(&apps, index, reason).await?;
        }
        // it has not lost what it came back with
        lasts(MINUTE / 12).await;
        anyhow::Ok(gaps)
    }
    .await;
    let after = moment();
    scaled(2).await?;
    served_again(&apps, after).await?;
    let names = apps.names.clone();
    let (reads, _) = apps.end(reason)?;
    let of = |name: &str| -> Vec<Read> {
        let its = |read: &&Read| read.source.starts_with(name);
        reads.iter().filter(its).cloned().collect()
    };
    judge(&of(&names[2])).all_served()?;
    let gaps = gaps?;
    for (name, gap) in names.iter().zip(&gaps) {
        gap.is_all(&of(name))?;
    }
    // what else the machine has to do is in each of them
    let took = gaps.iter().map(|gap| gap.took).min().context("a gap")?;
    ensure!(took <= SERVED, "served {took:?} after its start");
    Ok(())
}

/// Has the pod's sidecar end so, and waits until the next process serves both tokens.
async fn gap(pod: &LocalPod, end: &impl AsyncFn(&LocalPod, Process) -> Result<()>) -> Result<Gap> {
    let old = pod.sidecar()?;
    let ended = moment();
    end(pod, old).await?;
    let new = started_again(pod, old).await?;
    let since = Instant::now();
    let mut beat = interval(Duration::from_millis(1));
    for source in Source::of("ended", pod) {
        while !matches!(source.read().await.outcome, Outcome::Served { .. }) {
            ensure!(
                since.elapsed() < MINUTE / 2,
                "it does not serve {}",
                source.token
            );
            beat.tick().await;
        }
    }
    let took = since.elapsed();
    ensure!(new.runs(), "it ended again");
    Ok(Gap {
        ended,
        back: moment(),
        took,
    })
}

impl Gap {
    /// Nothing was served that is over, and no read failed before or after.
    fn is_all(&self, reads: &[Read]) -> Result<()> {
        let verdict = judge(reads);
        remark(&format!(
            "served {:?} after its start: {verdict}",
            self.took
        ));
        let expired = |fault: &Fault| matches!(fault, Fault::Expired { .. });
        let mut faults = verdict.violations.iter().map(|found| &found.fault);
        ensure!(!faults.any(expired), "{verdict}");
        ensure!(verdict.longest_without <= AWAY, "{verdict}");
        judge(&between(reads, Timestamp::MIN, self.ended)).all_served()?;
        judge(&between(reads, self.back, Timestamp::MAX)).all_served()
    }
}

/// The kubelet says for what reason that pod's sidecar ended.
async fn ended(apps: &Apps, index: usize, reason: &str) -> Result<()> {
    let path = "jsonpath={.status.initContainerStatuses[?(@.name==\"hallpass\")].lastState.terminated.reason}";
    let get = ["get", "pod", &apps.names[index], "-o", path];
    let shop: &Cluster = &apps.shop;
    until(MINUTE, "the kubelet tells why it ended", || async {
        let said = shop.kubectl(&get).await?.success()?;
        ensure!(said == reason, not_yet(said));
        Ok(())
    })
    .await
}

/// Leaves it no memory, and has it do something that takes some.
async fn out_of_memory(pod: &LocalPod, sidecar: Process) -> Result<()> {
    let (memory, since) = (Memory::of(sidecar)?, Instant::now());
    let mut beat = interval(Duration::from_millis(5));
    let mut clients = Vec::new();
    while pod.sidecar().is_ok_and(|runs| runs == sidecar) {
        beat.tick().await;
        ensure!(since.elapsed() < MINUTE, "it has memory enough");
        // its group goes with it
        drop(memory.squeeze());
        let connect = timeout(MINUTE / 60, UnixStream::connect(pod.socket()));
        if let Ok(Ok(mut client)) = connect.await {
            drop(client.write_all(&[b'x'; 4096]).await);
            clients.push(client);
        }
    }
    Ok(())
}
