//! Keys change, and the replica that changes them is killed, while pods read and what they read is verified.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    apps::{Apps, SHORT},
    command::kubectl,
    key_set::KeySet,
    operator::{Replica, leader, renewed},
    payments::ISSUER,
    process::Process,
    remark::remark,
    token::claims,
    wait::{not_yet, now, until},
};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts};

/// How often in a row.
const ROUNDS: usize = 2;

/// After that long nobody serves a token of before any more: it has a life of a minute.
const OVER: Duration = Duration::from_secs(62);

#[tokio::test]
async fn f04_every_read_is_served_and_verified_while_keys_rotate_and_their_leader_is_killed()
-> Result<()> {
    let Some(apps) = apps("rotated", PODS, LIFE).await? else {
        return Ok(());
    };
    let mut signed = BTreeSet::new();
    for round in 0..ROUNDS {
        let replicas = current().await?;
        let before = published(&replicas[0].api().await?).await?;
        let process = leading(&replicas).await?;
        let time = format!("hallpass.dev/rotate-now={}", now());
        let issuer = ["tokenissuers.hallpass.dev", "hallpass", &time];
        let annotate = [&["annotate", "--overwrite"], &issuer[..]].concat();
        kubectl(&annotate).await?.success()?;
        // each time at another step of the rotation
        lasts(STEP * u32::try_from(round)?).await;
        process.kill().await?;
        let since = Instant::now();
        let replicas = current().await?;
        for replica in &replicas {
            let api = replica.api().await?;
            until(
                MINUTE,
                "both replicas publish the same, others than before",
                || async {
                    let now = published(&api).await?;
                    let others = published(&replicas[0].api().await?).await?;
                    let most = (2..=MOST).contains(&now.len());
                    if now == others && now != before && most {
                        Ok(())
                    } else {
                        Err(not_yet((now, &before)))
                    }
                },
            )
            .await?;
        }
        remark(&format!(
            "the keys were rotated {:?} after their leader was killed",
            since.elapsed()
        ));
        lasts(OVER).await;
        signed.extend(verified(&apps).await?);
    }
    renewed().await?;
    let (_, verdict) = apps.end("keys were rotated and their leader killed")?;
    verdict.all_served()?;
    ensure!(signed.len() >= ROUNDS, "all signed with {signed:?}");
    Ok(())
}

/// The process of the one of them that leads.
pub(crate) async fn leading(replicas: &[Replica]) -> Result<Process> {
    let leader = until(MINUTE, "a replica leads", || async {
        let leader = leader().await?;
        let found = replicas.iter().find(|replica| replica.pod == leader);
        found.context("it has ended")
    });
    Process::of(leader.await?).await
}

/// The keys that signed the tokens that all pods have: both replicas publish each.
async fn verified(apps: &Apps) -> Result<BTreeSet<String>> {
    let mut signed = BTreeSet::new();
    for replica in current().await? {
        let keys = KeySet::of(&replica.api().await?, "").await?;
        for name in &apps.names {
            let token = apps.shop.token(name, "app", SHORT).await?;
            let token = token["access_token"].as_str().context("a token")?;
            let audience = claims(token)?;
            let audience = audience["aud"].as_str().context("an audience")?;
            let signer = keys.signer(token, ISSUER, audience);
            signed.insert(signer.with_context(|| name.clone())?);
        }
    }
    Ok(signed)
}

async fn published(api: &OperatorApi) -> Result<BTreeSet<String>> {
    Ok(KeySet::of(api, "").await?.names())
}

/// What grows is forgotten. Four and not three: beside the key that signs and the next one, two that signed within the
/// last hour, which is the longest life of a token. So who asks for a second rotation within an hour need not wait for
/// the end of the first; who asks for a third has to.
pub(crate) const MOST: usize = 4;

pub(crate) const STEP: Duration = Duration::from_millis(150);
