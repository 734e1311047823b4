//! The programs of the node end, one after the other; and all of it at once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::Apps,
    cluster::RELEASE,
    daemon::{NODE, api_answers, reboot},
    manifest::pod,
    operator::renewed,
    pod_log::PodLog,
    reads::verdict::{between, judge},
    remark::remark,
    state,
    wait::until,
};
use jiff::Timestamp;

use crate::{
    f14_disk::{held, nowhere},
    fixture::{LIFE, MINUTE, PODS, apps, current, lasts, moment, served_again},
};

/// How long each of them is away.
const AWAY: Duration = Duration::from_secs(15);

/// How long a pod waits for its tokens at most when all that they need is there.
const WAITED: Duration = Duration::from_secs(1);

#[tokio::test]
async fn f14_every_read_is_served_while_the_programs_of_the_node_end_and_start_again() -> Result<()>
{
    let Some(apps) = apps("nodeparts", PODS, LIFE).await? else {
        return Ok(());
    };
    for daemon in NODE {
        daemon.process()?.kill().await?;
        lasts(AWAY).await;
        daemon.start().await?;
        lasts(AWAY).await;
    }
    let late = pod("late").injected().under("orders");
    apps.shop.apply(&late.to_string()).await?;
    apps.shop.running("late", 2 * MINUTE).await?;
    current().await?;
    let (_, verdict) = apps.end("the programs of the node ended")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 3 * PODS, "{verdict}");
    Ok(())
}

#[tokio::test]
async fn f14_after_a_reboot_pods_come_back_by_themselves_and_read_tokens_of_theirs() -> Result<()> {
    let Some(apps) = apps("reboot", PODS, LIFE).await? else {
        return Ok(());
    };
    let state = state::folder("a reboot").context("another's cluster")?;
    let held = held(&apps, &state).await?;
    reboot().await?;
    // nothing of before answers any more
    let since = moment();
    until(MINUTE, "the API server is ready", api_answers).await?;
    let took = served_again(&apps, since).await?;
    remark(&format!("all are served {took:?} after the power is back"));
    let longest = waited(&apps, since).await?;
    nowhere(&state, &held).await?;
    let again = moment();
    lasts(MINUTE).await;
    let end = moment();
    current().await?;
    renewed().await?;
    let (reads, _) = apps.end("the node was rebooted")?;
    judge(&between(&reads, again, end)).all_served()?;
    let expired = judge(&reads).violations.into_iter().filter(|found| {
        matches!(
            found.fault,
            hallpass_e2e::reads::verdict::Fault::Expired { .. }
        )
    });
    let expired: Vec<_> = expired.collect();
    ensure!(expired.is_empty(), "{expired:?}");
    ensure!(longest <= WAITED, "one waited {longest:?} for its tokens");
    Ok(())
}

/// How long a pod waited at most for its tokens after its own sidecar listened and the operator was reached by anybody.
/// What comes before is the cluster's: the kubelet starts the containers of all pods one after the other and finds the
/// replicas ready, and the Service leads to them again.
async fn waited(apps: &Apps, since: Timestamp) -> Result<Duration> {
    let after = |time: Timestamp| time.duration_since(since).as_secs_f32();
    for replica in current().await? {
        let log = PodLog::latest(RELEASE, &replica.pod, "operator")?;
        for serves in log.times("serving certificate in use").iter().take(1) {
            remark(&format!("a replica serves after {:.2} s", after(*serves)));
        }
    }
    let mut pods = Vec::new();
    for name in &apps.names {
        let log = PodLog::latest(&apps.shop.namespace, name, "hallpass")?;
        let first = |text: &str| log.times(text).first().copied();
        let listens = first("\"listening\"").context("a sidecar that listens")?;
        let answered = first("\"the operator answers\"").context("an answer")?;
        let received = log.times("\"token received\"");
        pods.push((listens, answered, *received.get(1).context("two tokens")?));
    }
    let reached = pods.iter().map(|(_, answered, _)| *answered).min();
    let reached = reached.context("a pod")?;
    let mut longest = Duration::ZERO;
    for (listens, _, received) in pods {
        remark(&format!(
            "a sidecar listens after {:.2} s, the operator is reached after {:.2} s, it has its tokens after {:.2} s",
            after(listens),
            after(reached),
            after(received)
        ));
        let waited = received.duration_since(listens.max(reached));
        longest = longest.max(Duration::try_from(waited).unwrap_or_default());
    }
    Ok(longest)
}
