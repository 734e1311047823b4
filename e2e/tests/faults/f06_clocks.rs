//! The wall clock of one process is ten minutes off, and is set while it runs.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    apps::{Apps, SHORT},
    clock::WallClock,
    operator::renewed,
    pod::Answer,
    process::Process,
    silence::Silence,
    wait::until,
};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, moment, replaced};

/// In seconds.
const OFF: i64 = 600;

#[tokio::test]
async fn f06_every_read_is_served_while_the_clock_of_a_sidecar_is_set() -> Result<()> {
    let Some(apps) = apps("clockset", 2, "30s").await? else {
        return Ok(());
    };
    let wall = WallClock::of(apps.pods[0].sidecar()?).await?;
    told(&apps, 0, 0).await?;
    for (jumps, ahead) in (1..).zip([OFF, -OFF, 0]) {
        let since = moment();
        wall.set(ahead)?;
        until(MINUTE, "it tells", || told(&apps, ahead, jumps)).await?;
        // asked for with that clock
        replaced(&apps, since).await?;
        told(&apps, ahead, jumps).await?;
    }
    let (_, verdict) = apps.end("the clock of a sidecar was set")?;
    verdict.all_served()
}

#[tokio::test]
async fn f06_every_read_is_served_while_the_clock_of_one_of_two_replicas_is_off() -> Result<()> {
    let Some(apps) = apps("clockoff", PODS, LIFE).await? else {
        return Ok(());
    };
    let outcome = one_off(&apps).await;
    // one that was ahead and is set back would go on for as long to say in its answers that it is later
    renewed().await?;
    current().await?;
    let (_, verdict) = apps.end("the clock of one of two replicas was off")?;
    let ahead = outcome?;
    drop(ahead);
    verdict.all_served()
}

/// One after the other is off, and the second stays so.
async fn one_off(apps: &Apps) -> Result<WallClock> {
    let behind = wrong(apps, 0, -OFF).await?;
    drop(behind);
    let (replicas, identity) = (current().await?, apps.identity().await?);
    let right = replicas[0].api().await?;
    until(MINUTE / 2, "it issues", || issues(&right, &identity)).await?;
    wrong(apps, 1, OFF).await
}

/// A replica whose clock is so far off makes and judges no tokens, and the pods have theirs from the other.
async fn wrong(apps: &Apps, off: usize, ahead: i64) -> Result<WallClock> {
    let (replicas, identity) = (current().await?, apps.identity().await?);
    let (wrong, right) = (replicas[off].api().await?, replicas[1 - off].api().await?);
    let wall = WallClock::of(Process::of(&replicas[off]).await?).await?;
    // it compares the clocks with each watch: until then it goes by the wrong one, and no pod reaches it
    let silence = Silence::towards_pods(&replicas[off].address).await?;
    wall.set(ahead)?;
    until(MINUTE / 2, "it judges nothing", || {
        judges_nothing(&wrong, &identity)
    })
    .await?;
    drop(silence);
    let since = moment();
    replaced(apps, since).await?;
    judges_nothing(&wrong, &identity).await?;
    issues_nothing(&wrong, &identity).await?;
    until(MINUTE / 2, "the other issues", || issues(&right, &identity)).await?;
    Ok(wall)
}

/// The first pod's sidecar knows how far its clock is ahead, and how often it was set.
async fn told(apps: &Apps, ahead: i64, jumps: u32) -> Result<()> {
    let page = apps.shop.get(&apps.names[0], "app", "/metrics").await?.body;
    let value = |name: &str| -> Result<f64> {
        let name = format!("hallpass_sidecar_clock_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&name));
        Ok(value.with_context(|| format!("no {name}"))?.parse()?)
    };
    let (skew, within) = (value("skew_seconds")?, value("skew_uncertainty_seconds")?);
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    let off = (skew - ahead as f64).abs();
    ensure!(off <= within + 0.1, "{skew} ± {within} is not {ahead}");
    let told = value("jumps_total")?;
    ensure!((told - f64::from(jumps)).abs() < 0.5, "{told} jumps");
    Ok(())
}

/// The replica knows that its clock is so far from the API server's, and judges no token.
async fn judges_nothing(api: &OperatorApi, identity: &str) -> Result<()> {
    let bearer = format!("Authorization: Bearer {identity}");
    let question = ["-H", &bearer, "-d", "token=unknown"];
    let answer = api.ask(&question, "/oauth2/introspect").await?;
    ensure!(answer.status == 503, "{answer:?}");
    tells_why(&answer)
}

/// It issues none either.
async fn issues_nothing(api: &OperatorApi, identity: &str) -> Result<()> {
    let answer = api.tokens(identity, &[SHORT]).await?;
    tells_why(&answer)
}

fn tells_why(answer: &Answer) -> Result<()> {
    let problem = answer.json()?;
    ensure!(problem["code"] == "Unavailable", "{problem}");
    let said = problem["detail"].as_str().unwrap_or_default();
    let apart = said.strip_prefix("the clocks of this replica and of the API server are ");
    let apart = apart.and_then(|rest| rest.strip_suffix(" s apart"));
    let apart: i64 = apart.with_context(|| said.to_owned())?.parse()?;
    ensure!((apart - OFF).abs() <= 2, "{said}");
    Ok(())
}

async fn issues(api: &OperatorApi, identity: &str) -> Result<()> {
    let answer = api.tokens(identity, &[SHORT]).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let token = &answer.json()?["tokens"][0]["token"];
    ensure!(token.is_string(), "{answer:?}");
    Ok(())
}
