//! The API server is gone, or stands still, for two minutes; and etcd under it ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    asker::{Asker, ROWS},
    daemon::{API_SERVER, ETCD, api_answers},
    remark::remark,
    wait::{not_yet, until},
};
use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts};

/// Two lives of the short tokens: all of them have to be issued anew meanwhile.
const GONE: Duration = Duration::from_secs(120);

/// How soon after its return a service-account token is issued again.
const AGAIN: Duration = Duration::from_secs(5);

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
    let asker = Asker::start(&apps.shop).await?;
    let mut apis = Vec::new();
    for replica in current().await? {
        let api = replica.api().await?;
        until(MINUTE, "it knows the policy", || asker.ask(&api, 0)).await?;
        apis.push(api);
    }

    let process = API_SERVER.process()?;
    let returned = match fault {
        Fault::Killed => {
            process.kill().await?;
            lasts(GONE).await;
            API_SERVER.start().await?;
            until(MINUTE, "the API server is ready", api_answers).await?;
            Instant::now()
        }
        Fault::Stopped => {
            let stopped = process.stop().await?;
            lasts(GONE).await;
            drop(stopped);
            let continued = Instant::now();
            // it works through two minutes of requests that nobody waits for any more
            until(MINUTE, "the API server is ready", api_answers).await?;
            remark(&format!("it answers {:?} later", continued.elapsed()));
            Instant::now()
        }
    };
    let (one, other) = tokio::try_join!(
        first_success(&apis[0], &asker, returned),
        first_success(&apis[1], &asker, returned),
    )?;
    remark(&format!(
        "a service-account token {one:?} and {other:?} after the API server's return"
    ));
    current().await?;
    let (_, verdict) = apps.end("without the API server for two minutes")?;
    verdict.all_served()?;
    // each short token was replaced twice at least
    ensure!(verdict.tokens >= 4 * PODS, "{verdict}");
    let took = one.max(other);
    ensure!(took <= AGAIN, "the first success came {took:?} after it");
    Ok(())
}

/// How long after `since` that replica issued a service-account token.
async fn first_success(api: &OperatorApi, asker: &Asker, since: Instant) -> Result<Duration> {
    let mut why = not_yet("nothing was asked for");
    for row in 1..ROWS {
        match asker.ask(api, row).await {
            Ok(()) => return Ok(since.elapsed()),
            Err(refused) => why = refused,
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Err(why.context(format!("nothing {:?} after the return", since.elapsed())))
}
