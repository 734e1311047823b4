//! The keys of the issuer: what is published, and what an emergency rotation leaves of it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::Cluster,
    command::kubectl,
    operator::replicas,
    payments::{ISSUER, Payments},
    wait::{not_yet, now, until},
};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);

/// The `kid` that the token names.
fn kid(served: &Value) -> Result<String> {
    let token = served["access_token"].as_str().context("a token")?;
    let header = token.split('.').next().context("a header")?;
    let header: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header)?)?;
    ensure!(header["typ"] == "at+jwt", "{header}");
    Ok(header["kid"].as_str().context("a kid")?.to_owned())
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
