//! A consent that is withdrawn is withdrawn on every replica, within a second.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::Cluster,
    manifest::audience_policy,
    operator::replicas,
    payments::{Payments, READ},
    remark::remark,
    wait::{not_yet, until},
};
use serde_json::json;
use tokio::time::Instant;

/// Each round asks for a token of its own, since one is issued twice at once and then once in 10 s.
const ROUNDS: usize = 10;
const SECOND: Duration = Duration::from_secs(1);
const WHILE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_withdrawn_consent_counts_on_every_replica_within_a_second() -> Result<()> {
    let payments = Payments::new(Cluster::shared("withdrawn").await?, |a| a).await?;
    let (shop, owner) = (&payments.shop, &payments.api);
    let mut policy = audience_policy("orders", "payments", &owner.namespace, &[READ])
        .with("/metadata/name", json!("rounds"))
        .with("/spec/tokens", json!([]));
    for round in 0..ROUNDS {
        let token = json!({
            "name": format!("t{round}"), "scopes": [READ], "required": false,
            "audienceRef": {"namespace": owner.namespace, "name": "payments"},
        });
        policy = policy.with("/spec/tokens/-", token);
    }
    shop.apply(&policy.to_string()).await?;
    let identity = shop.identity(&payments.pod, "orders").await?;
    let [one, other] = &replicas().await?[..] else {
        anyhow::bail!("two replicas are what the chart installs");
    };
    let apis = [one.api().await?, other.api().await?];

    let (allowing, silent) = (
        payments.audience.to_string(),
        payments.audience.clone().without("/spec/allow").to_string(),
    );
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        let name = format!("t{round}");
        owner.apply(&allowing).await?;
        for api in &apis {
            until(WHILE, "the consent counts", || async {
                match said(api, &identity, &name).await? {
                    (200, _) => Ok(()),
                    said => Err(not_yet(said)),
                }
            })
            .await?;
        }
        owner.apply(&silent).await?;
        let withdrawn = Instant::now();
        let (one, other) = tokio::try_join!(
            refused(&apis[0], &identity, &name, withdrawn),
            refused(&apis[1], &identity, &name, withdrawn),
        )?;
        slowest = slowest.max(one).max(other);
        // and neither falls back behind that
        for api in &apis {
            refuses(&said(api, &identity, &name).await?)?;
        }
    }
    remark(&format!(
        "a withdrawn consent counts on both replicas {} ms after kubectl's return at the latest of {ROUNDS} times",
        slowest.as_millis()
    ));
    ensure!(slowest <= SECOND, "it took {slowest:?}");
    Ok(())
}

/// How long after that time the replica had refused.
async fn refused(
    api: &OperatorApi,
    identity: &str,
    name: &str,
    since: Instant,
) -> Result<Duration> {
    loop {
        let said = said(api, identity, name).await?;
        match refuses(&said) {
            Ok(()) => return Ok(since.elapsed()),
            Err(why) if since.elapsed() > WHILE => return Err(why),
            // a token more, or too many of them
            Err(_) => {}
        }
    }
}

fn refuses(said: &(u16, String)) -> Result<()> {
    ensure!(*said == (403, "SubjectNotAllowed".to_owned()), "{said:?}");
    Ok(())
}

/// The status and the code of a replica's answer to a request for that token.
async fn said(api: &OperatorApi, identity: &str, name: &str) -> Result<(u16, String)> {
    let answer = api.tokens(identity, &[name]).await?;
    let code = match answer.status {
        200 => String::new(),
        _ => {
            let problem = answer.json()?;
            let code = problem["code"].as_str().context("a code")?;
            code.to_owned()
        }
    };
    Ok((answer.status, code))
}
