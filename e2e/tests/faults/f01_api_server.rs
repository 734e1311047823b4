//! The API server is gone, or stands still, for two minutes; and etcd under it ends.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    apps::{Apps, SHORT},
    asker::{Asker, ROWS},
    daemon::{API_SERVER, ETCD, api_answers},
    flow::Flow,
    minting::Minting,
    operator::Replica,
    process::Process,
    reads::{
        Outcome, Readers,
        verdict::{between, judge},
    },
    remark::remark,
    sidecars::Sidecars,
    wait::{not_yet, until},
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    f02_throttled::AMPLIFIED,
    fixture::{LIFE, MINUTE, PODS, apps, current, lasts, moment},
};

/// Two lives of the short tokens: all of them have to be issued anew meanwhile.
const GONE: Duration = Duration::from_secs(120);

/// How soon after it answers again a service-account token is issued.
const AGAIN: Duration = Duration::from_secs(5);

/// How soon after it goes on, once it stood still: before it answers it works through two minutes of requests that
/// nobody waits for any more.
const WORKED_OFF: Duration = Duration::from_secs(60);

/// So many sidecar processes beside the pods, each of which is read once in this time.
const BESIDE: usize = 200;
const ROUND: Duration = Duration::from_secs(2);

/// In such steps the requests after the return are counted.
const STEP: Duration = Duration::from_secs(10);

/// How many more of them there are than in the quiet at most, in each step but the first.
const PEAK: f64 = 1.5;

/// How many more there are until the end of the first step, besides those for tokens, which are due: all that is
/// watched is read anew, by both replicas. It was 1.7 to 2.3 times as many, and with those for tokens 3.1 to 3.2.
const READ_ANEW: f64 = 3.0;

#[tokio::test]
async fn f01_every_read_is_served_while_the_api_server_is_gone_for_two_minutes() -> Result<()> {
    without_api_server("apigone", Fault::Killed).await
}

#[tokio::test]
async fn f01_every_read_is_served_while_the_api_server_stands_still_for_two_minutes() -> Result<()>
{
    without_api_server("apistill", Fault::Stopped).await
}

#[tokio::test]
async fn f01_every_read_is_served_while_etcd_ends_and_starts_again() -> Result<()> {
    let Some(apps) = apps("etcdgone", PODS, LIFE).await? else {
        return Ok(());
    };
    ETCD.process()?.kill().await?;
    lasts(MINUTE / 2).await;
    ETCD.start().await?;
    until(MINUTE, "the API server is ready", api_answers).await?;
    current().await?;
    lasts(MINUTE / 2).await;
    let (_, verdict) = apps.end("etcd ended")?;
    verdict.all_served()
}

#[derive(Clone, Copy)]
enum Fault {
    Killed,
    Stopped,
}

async fn without_api_server(test: &str, fault: Fault) -> Result<()> {
    let Some(apps) = apps(test, PODS, LIFE).await? else {
        return Ok(());
    };
    let crowd = Crowd::start(&apps).await?;
    let asker = Asker::start(&apps.shop).await?;
    let mut apis = Vec::new();
    let replicas = current().await?;
    for replica in &replicas {
        let api = replica.api().await?;
        until(MINUTE, "it knows the policy", || asker.ask(&api, 0)).await?;
        apis.push(api);
    }
    let counter = Counter::open(&replicas).await?;
    let quiet = counter.steps(counter.now().await?).await?;
    let offered = quiet.iter().map(|step| step.all).sum::<f64>() / MINUTE.div_duration_f64(STEP);

    let before = counter.now().await?;
    let process = API_SERVER.process()?;
    let (since, begun) = (Instant::now(), moment());
    let goes_on = fault.happens(process).await?;
    let (one, other, back) = tokio::try_join!(
        first_success(&apis[0], &asker),
        first_success(&apis[1], &asker),
        counter.back(fault.counted_before(before)),
    )?;
    let issued = one.max(other);
    remark(&format!(
        "a service-account token is there {:?} and {:?} after it goes on, and it answers after {:?}; in each {STEP:?} \
         before {quiet:?}; {back:?}",
        one - goes_on,
        other - goes_on,
        back.answers - goes_on,
    ));
    drop(counter);
    current().await?;
    crowd.end()?;
    let (reads, verdict) = apps.end("without the API server for two minutes, and after that")?;
    verdict.clean()?;
    // It marks the pods of nodes unready that it did not hear of meanwhile, and takes the operator and the cluster's
    // names from the Services: what a sidecar can reach until that is over is no matter of this test, and each token
    // that was replaced in time outlives the first step.
    let verdict = judge(&between(&reads, begun, back.at + STEP));
    remark(&format!("until {STEP:?} after its return: {verdict}"));
    verdict.all_served()?;
    // each short token was replaced twice at least
    ensure!(verdict.tokens >= 4 * PODS, "{verdict}");
    let after = issued.saturating_duration_since(back.answers);
    ensure!(after <= AGAIN, "the first success came {after:?} after it");
    let took = issued - goes_on;
    ensure!(took <= WORKED_OFF, "{took:?} after it went on");
    let gone = back.answers - since;
    back.hold(offered, offered * gone.div_duration_f64(STEP))
}

impl Fault {
    /// Lets it last. When the API server goes on.
    async fn happens(self, process: Process) -> Result<Instant> {
        match self {
            Self::Killed => {
                process.kill().await?;
                lasts(GONE).await;
                API_SERVER.start().await?;
            }
            Self::Stopped => {
                let stopped = process.stop().await?;
                lasts(GONE).await;
                drop(stopped);
            }
        }
        Ok(Instant::now())
    }

    /// What the API server that goes on had counted before: one that was started anew counts from 0.
    fn counted_before(self, count: Count) -> Count {
        match self {
            Self::Killed => Count { all: 0.0, ..count },
            Self::Stopped => count,
        }
    }
}

/// Counts what the replicas ask the API server for.
struct Counter {
    flow: Flow,
    minting: Minting,
    replicas: [String; 2],
}

/// So many requests of both, reads, watches and the lease as well, and so many tokens that each asked for.
#[derive(Debug, Clone, Copy)]
struct Count {
    all: f64,
    tokens: [usize; 2],
}

impl Counter {
    async fn open(replicas: &[Replica; 2]) -> Result<Self> {
        let flow = Flow::open().await?;
        // those that began before count as others'
        lasts(STEP).await;
        let replicas = replicas.each_ref().map(|replica| replica.pod.clone());
        let minting = Minting::from_now()?;
        Ok(Self {
            flow,
            minting,
            replicas,
        })
    }

    async fn now(&self) -> Result<Count> {
        let [one, other] = &self.replicas;
        Ok(Count {
            all: self.flow.requests().await?,
            tokens: [self.minting.by(one)?.tokens, self.minting.by(other)?.tokens],
        })
    }

    /// What comes in each step of a minute.
    async fn steps(&self, mut before: Count) -> Result<Vec<Count>> {
        let mut steps = Vec::new();
        while STEP * u32::try_from(steps.len())? < MINUTE {
            lasts(STEP).await;
            let now = self.now().await?;
            steps.push(now.since(before));
            before = now;
        }
        Ok(steps)
    }

    /// Waits until the API server answers again, and counts for a minute.
    async fn back(&self, before: Count) -> Result<Back> {
        until(2 * MINUTE, "the API server is ready", api_answers).await?;
        let (answers, at) = (Instant::now(), moment());
        let now = self.now().await?;
        Ok(Back {
            answers,
            at,
            until_then: now.since(before),
            steps: self.steps(now).await?,
        })
    }
}

/// The return of the API server.
#[derive(Debug)]
struct Back {
    answers: Instant,
    at: Timestamp,
    until_then: Count,
    steps: Vec<Count>,
}

impl Back {
    /// As many requests as in the quiet come in while it is gone, and hardly more after that.
    fn hold(&self, offered: f64, while_gone: f64) -> Result<()> {
        let Self {
            until_then, steps, ..
        } = self;
        ensure!(
            until_then.all <= AMPLIFIED * while_gone,
            "{until_then:?} until it answers, after {while_gone}"
        );
        let (first, later) = steps.split_first().context("a step")?;
        let tokens: usize = [until_then, first]
            .map(|count| count.tokens)
            .iter()
            .flatten()
            .sum();
        let besides = until_then.all + first.all - f64::from(u32::try_from(tokens)?);
        ensure!(
            besides <= READ_ANEW * offered,
            "{besides} after {offered} in the quiet"
        );
        let peak = later.iter().map(|step| step.all).fold(0.0, f64::max);
        ensure!(peak <= PEAK * offered, "{peak} after {offered}");
        Ok(())
    }
}

impl Count {
    fn since(self, before: Self) -> Self {
        let [one, other] = self.tokens;
        let [one_before, other_before] = before.tokens;
        Self {
            all: self.all - before.all,
            tokens: [one - one_before, other - other_before],
        }
    }
}

/// When that replica issues a service-account token for the first time.
async fn first_success(api: &OperatorApi, asker: &Asker) -> Result<Instant> {
    let mut rows = (1..ROWS).cycle();
    until(2 * MINUTE, "a service-account token", || {
        let row = rows.next().unwrap_or_default();
        async move { asker.ask(api, row).await }
    })
    .await?;
    Ok(Instant::now())
}

/// The sidecars beside the pods, and who reads there.
struct Crowd {
    readers: Readers,
    _sidecars: Sidecars,
}

impl Crowd {
    async fn start(apps: &Apps) -> Result<Self> {
        let like = apps.pods[0].sidecar()?;
        let sidecars = Sidecars::start(&apps.shop, "orders", like, BESIDE).await?;
        let sources = sidecars.sources(BESIDE, SHORT);
        for source in &sources {
            until(2 * MINUTE, "each of the crowd is served", || async {
                match source.read().await {
                    read if matches!(read.outcome, Outcome::Served { .. }) => Ok(()),
                    read => Err(not_yet(read)),
                }
            })
            .await?;
        }
        Ok(Self {
            readers: Readers::in_turn(sources, ROUND)?,
            _sidecars: sidecars,
        })
    }

    fn end(self) -> Result<()> {
        let verdict = judge(&self.readers.end()?);
        remark(&format!("the {BESIDE} sidecars beside them: {verdict}"));
        verdict.all_served()?;
        ensure!(verdict.tokens >= 4 * BESIDE, "{verdict}");
        Ok(())
    }
}
