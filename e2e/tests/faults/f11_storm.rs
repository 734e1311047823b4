//! Many pods are started again at once, beside many sidecars that go on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::{Apps, SHORT},
    manifest::pod,
    reads::{Outcome, Readers, verdict::judge},
    remark::remark,
    sidecars::Sidecars,
    state,
    wait::{not_yet, until},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, apps, current, lasts};

/// So many of a Deployment.
const STARTED: usize = 60;

/// So many sidecar processes beside them.
const BESIDE: usize = 300;

/// In that time each of those is read once: as many reads in all as of thirty that are read five times a second.
/// Who reads must not be what they wait for.
const ROUND: Duration = Duration::from_secs(2);

/// How soon after it listens a sidecar has all of its tokens: in the median, and the slowest. On two cores that start
/// 180 containers meanwhile it was 0.2 to 1.6 s, and 0.8 to 4.5 s. It is beyond where each look-up of the operator's
/// name, or each request, is given up after 5 s and made again.
const MEDIAN: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(10);

#[tokio::test]
async fn f11_sixty_pods_that_start_again_at_once_are_served_and_three_hundred_sidecars_go_on()
-> Result<()> {
    let Some(apps) = apps("storm", 2, LIFE).await? else {
        return Ok(());
    };
    let like = apps.pods[0].sidecar()?;
    let crowd = Sidecars::start(&apps.shop, "orders", like, BESIDE).await?;
    let sources = crowd.sources(BESIDE, SHORT);
    for source in &sources {
        until(2 * MINUTE, "each of the crowd is served", || async {
            match source.read().await {
                read if matches!(read.outcome, Outcome::Served { .. }) => Ok(()),
                read => Err(not_yet(read)),
            }
        })
        .await?;
    }
    let beside = Readers::in_turn(sources, ROUND)?;
    apps.shop.apply(&deployment().to_string()).await?;
    ready(&apps, &[]).await?;
    let before = uids(&apps).await?;

    let since = Instant::now();
    let delete = ["delete", "pods", "-l", "app=storm", "--now", "--wait=false"];
    apps.shop.kubectl(&delete).await?.success()?;
    let pods = ready(&apps, &before).await?;
    let took = since.elapsed();
    current().await?;
    // the tokens of all of them are replaced meanwhile
    lasts(MINUTE).await;
    let waited: Result<Vec<Duration>> = pods.iter().map(|pod| waited(&apps, pod)).collect();
    let mut waited = waited?;
    waited.sort_unstable();
    let (median, longest) = (waited[STARTED / 2], waited[STARTED - 1]);
    remark(&format!(
        "{STARTED} pods run {took:?} after they were deleted; their sidecars have all tokens after {median:?} in the \
         median, the slowest after {longest:?}"
    ));
    let verdict = judge(&beside.end()?);
    remark(&format!("the {BESIDE} sidecars beside them: {verdict}"));
    verdict.all_served()?;
    ensure!(verdict.tokens >= 2 * BESIDE, "{verdict}");
    drop(crowd);
    let (_, verdict) = apps.end("sixty pods started again at once")?;
    verdict.all_served()?;
    ensure!(
        median <= MEDIAN && longest <= LONGEST,
        "they waited for their tokens for {median:?} in the median, and one for {longest:?}"
    );
    Ok(())
}

fn deployment() -> Value {
    let pod: Value = serde_json::from_str(&pod("storm").injected().under("orders").to_string())
        .unwrap_or_default();
    let labels = json!({"app": "storm", "hallpass.dev/inject": "true"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "storm"},
        "spec": {
            "replicas": STARTED, "selector": {"matchLabels": {"app": "storm"}},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
        },
    })
}

/// Those of the Deployment, once all are ready and none of them is one of `before`.
async fn ready(apps: &Apps, before: &[String]) -> Result<Vec<Value>> {
    until(5 * MINUTE, "all of the Deployment are ready", || async {
        let pods = listed(apps).await?;
        let ready = |pod: &&Value| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let new = !before.iter().any(|uid| pod["metadata"]["uid"] == **uid);
            new && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
        };
        let ready: Vec<Value> = pods.iter().filter(ready).cloned().collect();
        if ready.len() == STARTED {
            Ok(ready)
        } else {
            Err(not_yet(ready.len()))
        }
    })
    .await
}

async fn listed(apps: &Apps) -> Result<Vec<Value>> {
    let get = ["get", "pods", "-l", "app=storm", "-o", "json"];
    let mut pods: Value = serde_json::from_str(&apps.shop.kubectl(&get).await?.success()?)?;
    let Value::Array(pods) = pods["items"].take() else {
        return Ok(Vec::new());
    };
    Ok(pods)
}

async fn uids(apps: &Apps) -> Result<Vec<String>> {
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().map(str::to_owned);
    Ok(listed(apps).await?.iter().filter_map(uid).collect())
}

/// From the moment at which its sidecar listens until it has both tokens, as its log tells.
fn waited(apps: &Apps, pod: &Value) -> Result<Duration> {
    let text = |of: &str| pod["metadata"][of].as_str().context("a pod's metadata");
    let folder = format!("{}_{}_{}", apps.shop.namespace, text("name")?, text("uid")?);
    let state = state::folder("a pod's log").context("another's cluster")?;
    let log = state.join("pod-logs").join(folder).join("hallpass/0.log");
    let log = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let at = |line: &str| -> Result<Timestamp> {
        let time = line.split(' ').next().context("a time")?;
        Ok(time.parse()?)
    };
    let began = log.lines().find(|line| line.contains("\"listening\""));
    let received = |line: &&str| line.contains("\"token received\"");
    let second = log.lines().filter(received).nth(1);
    let (began, second) = (began.context("a beginning")?, second.context("two tokens")?);
    Ok(Duration::try_from(at(second)?.duration_since(at(began)?))?)
}
