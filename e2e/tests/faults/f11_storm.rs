//! Many pods are started again at once, beside many sidecars that go on.

use std::{os::unix::fs::symlink, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::{Apps, SHORT, VAULT},
    manifest::pod,
    minting::{Asked, Minting},
    operator::Replica,
    process::Process,
    reads::{
        Outcome, Readers, Source,
        verdict::{Verdict, between, judge},
    },
    remark::remark,
    sidecars::Sidecars,
    state,
    wait::{not_yet, until},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, apps, current, lasts, moment};

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

/// What a replica has resident at most, in bytes.
const RESIDENT: u64 = 64_000_000;

/// How many tokens a replica has the API server mint at once at most (`docs/reference.md`). There is no other limit:
/// how many that are a second is up to the API server.
const AT_ONCE: usize = 32;

#[tokio::test]
async fn f11_sixty_pods_that_start_again_at_once_are_served_and_three_hundred_sidecars_go_on()
-> Result<()> {
    let Some(apps) = apps("storm", 2, LIFE).await? else {
        return Ok(());
    };
    let like = apps.pods[0].sidecar()?;
    let crowd = Sidecars::start(&apps.shop, "orders", like, BESIDE).await?;
    let sources = crowd.sources(BESIDE, SHORT);
    served(&sources).await?;
    let beside = Readers::in_turn(sources, ROUND)?;
    apps.shop.apply(&deployment().to_string()).await?;
    started(&apps, &[], is_ready).await?;
    let watched = Watched::begin(current().await?).await?;

    let (pods, of_them) = start_again(&apps).await?;
    let waited: Result<Vec<Duration>> = pods.iter().map(|pod| waited(&apps, pod)).collect();
    let mut waited = waited?;
    waited.sort_unstable();
    let (median, longest) = (waited[STARTED / 2], waited[STARTED - 1]);
    remark(&format!(
        "their sidecars have all tokens after {median:?} in the median, the slowest after {longest:?}"
    ));
    let verdict = judge(&beside.end()?);
    remark(&format!("the {BESIDE} sidecars beside them: {verdict}"));
    let watched = watched.end()?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 2 * BESIDE, "{verdict}");
    drop(crowd);
    let (_, verdict) = apps.end("sixty pods started again at once")?;
    verdict.all_served()?;
    of_them.hold()?;
    for (resident, asked) in watched {
        ensure!(resident < RESIDENT, "a replica had {resident} bytes");
        ensure!(asked.at_once <= AT_ONCE, "a replica {asked:?}");
    }
    ensure!(
        median <= MEDIAN && longest <= LONGEST,
        "they waited for their tokens for {median:?} in the median, and one for {longest:?}"
    );
    Ok(())
}

/// What was read in the pods that started again.
struct Reading {
    /// From before they could answer, as an application does that is faster than its sidecar.
    all: Verdict,
    /// From when all of them were ready.
    once_ready: Verdict,
}

impl Reading {
    /// Nothing expired, nothing failed that had been served once, and nothing at all once they were ready.
    fn hold(&self) -> Result<()> {
        self.all.clean()?;
        self.once_ready.all_served()?;
        // both tokens of each, and one more of those that live a minute
        let tokens = self.once_ready.tokens;
        ensure!(tokens >= 3 * STARTED, "{tokens} tokens");
        Ok(())
    }
}

/// Starts them all again, and reads their tokens until each of those that live a minute was replaced.
async fn start_again(apps: &Apps) -> Result<(Vec<Value>, Reading)> {
    let before = uids(apps).await?;
    let since = Instant::now();
    let delete = ["delete", "pods", "-l", "app=storm", "--now", "--wait=false"];
    apps.shop.kubectl(&delete).await?.success()?;
    let links = TempDir::new()?;
    let pods = started(apps, &before, |_| true).await?;
    let readers = Readers::in_turn(sources(&links, &pods)?, ROUND)?;
    let pods = started(apps, &before, is_ready).await?;
    let (took, ready) = (since.elapsed(), moment());
    current().await?;
    lasts(MINUTE).await;
    let reads = readers.end()?;
    let reading = Reading {
        all: judge(&reads),
        once_ready: judge(&between(&reads, ready, moment())),
    };
    let Reading { all, once_ready } = &reading;
    remark(&format!(
        "{STARTED} pods run {took:?} after they were deleted: {all}; once all were ready: {once_ready}"
    ));
    Ok((pods, reading))
}

/// Both tokens of each pod; what reads them needs the links, as the path of a socket has at most 107 bytes.
fn sources(links: &TempDir, pods: &[Value]) -> Result<Vec<Source>> {
    let state = state::folder("a pod's socket").context("another's cluster")?;
    let mut sources = Vec::new();
    for pod in pods {
        let text = |of: &str| pod["metadata"][of].as_str().context("a pod's metadata");
        let (name, uid) = (text("name")?, text("uid")?);
        let link = links.path().join(name);
        let volumes = state.join("kubelet/pods").join(uid).join("volumes");
        symlink(volumes.join("kubernetes.io~empty-dir/hallpass-c0"), &link)?;
        sources.extend([SHORT, VAULT].map(|token| Source {
            name: format!("{name}/{token}").into(),
            socket: link.join("hallpass.sock"),
            token: token.to_owned(),
        }));
    }
    Ok(sources)
}

/// The replicas, while memory and requests of theirs are looked at.
struct Watched {
    replicas: Vec<(Replica, Process)>,
    minting: Minting,
}

impl Watched {
    async fn begin(of: [Replica; 2]) -> Result<Self> {
        let mut replicas = Vec::new();
        for replica in of {
            let process = Process::of(&replica).await?;
            replicas.push((replica, process));
        }
        let minting = Minting::from_now()?;
        Ok(Self { replicas, minting })
    }

    /// What each had resident at most, and what it asked the API server for.
    fn end(self) -> Result<Vec<(u64, Asked)>> {
        let mut seen = Vec::new();
        for (replica, process) in &self.replicas {
            let (resident, asked) = (process.peak()?, self.minting.by(&replica.pod)?);
            remark(&format!(
                "{} had {resident} bytes at most, {asked:?}",
                replica.pod
            ));
            seen.push((resident, asked));
        }
        // one token of each pod is the API server's
        let tokens: usize = seen.iter().map(|(_, asked)| asked.tokens).sum();
        ensure!(tokens >= STARTED, "{tokens} tokens were asked for");
        Ok(seen)
    }
}

async fn served(sources: &[Source]) -> Result<()> {
    for source in sources {
        until(2 * MINUTE, "each of the crowd is served", || async {
            match source.read().await {
                read if matches!(read.outcome, Outcome::Served { .. }) => Ok(()),
                read => Err(not_yet(read)),
            }
        })
        .await?;
    }
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

/// Those of the Deployment, once all are as wanted, and none of them is one of `before`.
async fn started(
    apps: &Apps,
    before: &[String],
    wanted: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>> {
    until(5 * MINUTE, "all of the Deployment are started", || async {
        let pods = listed(apps).await?;
        let is_it = |pod: &&Value| {
            let new = !before.iter().any(|uid| pod["metadata"]["uid"] == **uid);
            new && wanted(pod)
        };
        let found: Vec<Value> = pods.iter().filter(is_it).cloned().collect();
        if found.len() == STARTED {
            Ok(found)
        } else {
            Err(not_yet(found.len()))
        }
    })
    .await
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
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
