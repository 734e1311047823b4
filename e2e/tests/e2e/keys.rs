//! The keys of the issuer: what is published, and what an emergency rotation leaves of it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::{Cluster, RELEASE},
    command::kubectl,
    operator::{leader, replicas},
    payments::{ISSUER, Payments},
    token,
    wait::{not_yet, now, until},
};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);

/// The `kid` that the token names.
fn kid(served: &Value) -> Result<String> {
    token::kid(served["access_token"].as_str().context("a token")?)
}

async fn kids(api: &OperatorApi) -> Result<BTreeSet<String>> {
    let answer = api.ask(&[], "/jwks").await?;
    ensure!(answer.status == 200, "{answer:?}");
    let keys = answer.json()?["keys"].as_array().cloned().context("keys")?;
    let kid = |key: &Value| key["kid"].as_str().map(ToOwned::to_owned);
    keys.iter().map(|key| kid(key).context("a kid")).collect()
}

#[tokio::test]
async fn the_key_that_signs_and_the_next_one_are_published() -> Result<()> {
    let payments = Payments::new(Cluster::shared("keys").await?, |a| a).await?;
    let served = payments.served().await?;

    for replica in replicas().await? {
        let api = replica.api().await?;
        let set = kids(&api).await?;
        assert!((2..=4).contains(&set.len()), "{set:?}");
        assert!(set.contains(&kid(&served)?), "{set:?}");
        let reply = api.reply(&[], "/jwks").await?;
        assert_eq!(
            reply.header("content-type"),
            Some("application/jwk-set+json")
        );
        assert_eq!(reply.header("cache-control"), Some("public, max-age=300"));
        let tag = format!("If-None-Match: {}", reply.header("etag").context("a tag")?);
        assert_eq!(api.ask(&["-H", &tag], "/jwks").await?.status, 304);
        for path in ["openid-configuration", "oauth-authorization-server"] {
            let metadata = api
                .ask(&[], &format!("/.well-known/{path}"))
                .await?
                .json()?;
            assert_eq!(metadata["issuer"], ISSUER);
            assert_eq!(metadata["jwks_uri"], json!(format!("{ISSUER}/jwks")));
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_emergency_rotation_drops_the_old_key_on_every_replica() -> Result<()> {
    let payments = Payments::new(Cluster::alone("emergency").await?, |a| a).await?;
    let served = payments.served().await?;
    let old = kid(&served)?;
    let before = kids(&OperatorApi::find().await?).await?;

    let time = format!("hallpass.dev/rotate-now={}", now());
    let annotate = [
        "annotate",
        "--overwrite",
        "tokenissuers.hallpass.dev",
        "hallpass",
        &time,
    ];
    kubectl(&annotate).await?.success()?;
    for replica in replicas().await? {
        let api = replica.api().await?;
        until(Duration::from_secs(20), "the old key is gone", || async {
            let set = kids(&api).await?;
            if set.contains(&old) || set.len() < 2 {
                Err(not_yet(set))
            } else {
                Ok(())
            }
        })
        .await?;
    }
    // the next key had been published before it was needed
    let new = until(MINUTE, "a token of the new key", || async {
        let served = payments.served().await?;
        let kid = kid(&served)?;
        if kid == old {
            Err(not_yet(kid))
        } else {
            Ok(kid)
        }
    })
    .await?;
    assert!(before.contains(&new), "{new} of {before:?}");
    let args = ["get", "tokenissuers.hallpass.dev", "hallpass", "-o", "json"];
    until(MINUTE, "the issuer's status names the keys", || async {
        let issuer: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
        let keys = issuer["status"]["keys"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let state = |key: &Value| (key["keyID"] == json!(new), key["state"].clone());
        let states: Vec<_> = keys.iter().map(state).collect();
        if states.contains(&(true, json!("Active"))) && states.contains(&(false, json!("Next"))) {
            Ok(())
        } else {
            Err(not_yet(issuer["status"].clone()))
        }
    })
    .await
}

/// The Secrets of the issuer's keys, as they are now: each with its version.
async fn stored() -> Result<String> {
    let id = "jsonpath=hallpass.dev/issuer-id={.status.issuerID}";
    let issuer = ["get", "tokenissuers.hallpass.dev", "hallpass", "-o", id];
    let (keys, of_it) = (
        format!("{RELEASE}-keys"),
        kubectl(&issuer).await?.success()?,
    );
    let path = "jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion};{end}";
    kubectl(&["get", "secrets", "-n", &keys, "-l", &of_it, "-o", path])
        .await?
        .success()
}

#[tokio::test]
async fn f4_a_leader_killed_between_the_steps_of_a_rotation_leaves_nothing_undone() -> Result<()> {
    let payments = Payments::new(Cluster::alone("killed").await?, |a| a).await?;
    payments.token().await?;
    // killed as soon as so many steps can be seen: a key signs, another one is gone, a third one is made
    for steps in 0..4 {
        let time = format!("hallpass.dev/rotate-now={}", now());
        let issuer = ["tokenissuers.hallpass.dev", "hallpass"];
        let annotate = [&["annotate", "--overwrite"], &issuer[..], &[&time]].concat();
        let (mut seen, leader) = (stored().await?, leader().await?);
        kubectl(&annotate).await?.success()?;
        for step in 0..steps {
            let what = format!("step {step} of the rotation");
            // the steps may be over before all of them were seen
            let next = until(Duration::from_secs(5), &what, || async {
                let now = stored().await?;
                if now == seen {
                    Err(not_yet(now))
                } else {
                    Ok(now)
                }
            });
            match next.await {
                Ok(next) => seen = next,
                Err(_) => break,
            }
        }
        let kill = [
            "delete",
            "pod",
            &leader,
            "-n",
            RELEASE,
            "--grace-period=0",
            "--force",
        ];
        kubectl(&kill).await?.success()?;
        settled(&payments)
            .await
            .with_context(|| format!("killed after {steps} steps"))?;
    }
    Ok(())
}

/// One key signs and one waits, every replica has both, and the pod holds a token of the first.
async fn settled(payments: &Payments) -> Result<()> {
    let args = [
        "rollout",
        "status",
        "deployment/hallpass",
        "-n",
        RELEASE,
        "--timeout=120s",
    ];
    kubectl(&args).await?.success()?;
    let path = "jsonpath={range .status.keys[*]}{.keyID} {.state};{end}";
    let issuer = ["get", "tokenissuers.hallpass.dev", "hallpass", "-o", path];
    until(MINUTE, "the rotation is done everywhere", || async {
        let keys = kubectl(&issuer).await?.success()?;
        let of = |state: &str| {
            let keys = keys.split(';').filter_map(|key| key.split_once(' '));
            let keys = keys
                .filter(|(_, s)| *s == state)
                .map(|(kid, _)| kid.to_owned());
            keys.collect::<Vec<_>>()
        };
        let ([active], [next], 2) = (
            &of("Active")[..],
            &of("Next")[..],
            stored().await?.matches(';').count(),
        ) else {
            return Err(not_yet(keys));
        };
        let expected = BTreeSet::from([active.clone(), next.clone()]);
        for replica in replicas().await? {
            let set = kids(&replica.api().await?).await?;
            ensure!(set == expected, "{set:?}, not {expected:?}");
        }
        let held = kid(&payments.served().await?)?;
        ensure!(
            held == *active,
            "the pod holds a token of {held}, not {active}"
        );
        Ok(())
    })
    .await
}
