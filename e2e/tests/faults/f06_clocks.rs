//! The wall clock of one process is ten minutes off, and is set while it runs.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    apps::{Apps, SHORT},
    clock::WallClock,
    pod::Answer,
    process::Process,
    wait::until,
};
use jiff::fmt::rfc2822::DateTimeParser;

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, moment, replaced};

const PARSER: DateTimeParser = DateTimeParser::new();

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
async fn f06_every_read_is_served_while_the_clock_of_one_of_two_replicas_is_set() -> Result<()> {
    let Some(apps) = apps("clockoff", PODS, LIFE).await? else {
        return Ok(());
    };
    for (replica, ahead) in [-OFF, OFF].into_iter().enumerate() {
        set(&apps, replica, ahead).await?;
    }
    let (_, verdict) = apps.end("the clock of one of two replicas was set")?;
    verdict.all_served()
}

/// A replica whose clock is set so far off makes and judges no tokens from then on, and the pods have theirs from
/// the other. As soon as it is set right it does.
async fn set(apps: &Apps, which: usize, ahead: i64) -> Result<()> {
    let (replicas, identity) = (current().await?, apps.identity().await?);
    let (off, right) = (
        replicas[which].api().await?,
        replicas[1 - which].api().await?,
    );
    let wall = WallClock::of(Process::of(&replicas[which]).await?).await?;
    judges(&off, &identity).await?;
    let since = moment();
    wall.set(ahead)?;
    // by what it noticed before: it compares its clock with that of the API server every few seconds
    issues_nothing(&off, &identity).await?;
    judges_nothing(&off, &identity, ahead).await?;
    replaced(apps, since).await?;
    issues_nothing(&off, &identity).await?;
    judges_nothing(&off, &identity, ahead).await?;
    until(MINUTE / 2, "the other issues", || issues(&right, &identity)).await?;
    let since = moment();
    drop(wall);
    judges(&off, &identity).await?;
    // its sidecar may have been given two a moment ago
    until(MINUTE / 2, "it issues", || issues(&off, &identity)).await?;
    replaced(apps, since).await?;
    judges(&off, &identity).await
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

/// What the replica says of a token that nobody made, at a time by its own clock that is so far ahead.
async fn asked(api: &OperatorApi, identity: &str, ahead: i64) -> Result<Answer> {
    let bearer = format!("Authorization: Bearer {identity}");
    let question = ["-H", &bearer, "-d", "token=unknown"];
    let reply = api.reply(&question, "/oauth2/introspect").await?;
    let date = reply.header("date").context("no date")?;
    let date = PARSER.parse_timestamp(date)?;
    let off = date.duration_since(moment()).as_secs() - ahead;
    ensure!(off.abs() <= 3, "{off} s off: {reply:?}");
    Ok(reply.answer)
}

/// The replica judges tokens.
async fn judges(api: &OperatorApi, identity: &str) -> Result<()> {
    let answer = asked(api, identity, 0).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// The replica knows that its clock is so far from the API server's, and judges no token.
async fn judges_nothing(api: &OperatorApi, identity: &str, ahead: i64) -> Result<()> {
    let answer = asked(api, identity, ahead).await?;
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
