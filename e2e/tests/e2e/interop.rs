//! Other people's code accepts our tokens and refuses what is like them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    authentication::Trusted,
    cluster::Cluster,
    command::{Said, run},
    payments::{ISSUER, Payments, READ},
    state,
    verifiers::{ALL, Trust, Verdict, Verifier},
    wait::{not_yet, until},
};
use serde_json::json;

/// The token with one letter of its claims changed.
fn tampered(token: &str) -> Result<String> {
    let at = token.find('.').context("a token has parts")? + 20;
    let other = if token.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    Ok(format!("{}{other}{}", &token[..at], &token[at + 1..]))
}

#[tokio::test]
async fn every_verifier_takes_a_token_and_none_a_changed_one() -> Result<()> {
    // a Service's name is known where the cluster is our own
    if state::folder("verifiers that find the issuer by its Service's name").is_none() {
        return Ok(());
    }
    let payments = Payments::new(Cluster::shared("interop").await?, |audience| {
        audience.with("/spec/maxLifetime", json!("10m"))
    })
    .await?;
    let (api, value) = (OperatorApi::find().await?, payments.value());
    let token = payments.token().await?;
    let changed = tampered(&token)?;
    let foreign = payments.shop.identity(&payments.pod, "orders").await?;
    for name in ALL {
        let trust = Trust {
            issuer: ISSUER,
            audience: &value,
            ca: api.ca(),
            algorithm: "ES256",
        };
        let mut verifier = Verifier::start(name, &trust)?;
        match verifier.verdict(&token).await? {
            Verdict::Accepted(claims) => {
                assert_eq!(claims["sub"], json!(payments.subject()), "{name}");
                assert_eq!(claims["scope"], READ, "{name}");
            }
            Verdict::Refused(why) => anyhow::bail!("{name} refuses a good token: {why}"),
        }
        for bad in [&changed, &foreign] {
            let verdict = verifier.verdict(bad).await?;
            ensure!(!verdict.accepted(), "{name} takes a bad token: {verdict:?}");
        }
        verifier.end().await?;
        // the same verifier for another audience
        let other = Trust {
            audience: "https://other.example",
            ..trust
        };
        let mut verifier = Verifier::start(name, &other)?;
        let verdict = verifier.verdict(&token).await?;
        ensure!(
            !verdict.accepted(),
            "{name} takes a token for somebody else: {verdict:?}"
        );
        verifier.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_that_trusts_the_issuer_gives_its_subjects_what_rbac_says() -> Result<()> {
    let payments = Payments::new(Cluster::shared("trusted").await?, |audience| {
        audience.with("/spec/maxLifetime", json!("10m"))
    })
    .await?;
    let (api, value) = (OperatorApi::find().await?, payments.value());
    let trust = Trust {
        issuer: ISSUER,
        audience: &value,
        ca: api.ca(),
        algorithm: "ES256",
    };
    let Some(trusted) = Trusted::issuer("an API server that trusts our issuer", &trust).await?
    else {
        return Ok(());
    };
    let token = payments.token().await?;
    let user = format!("hallpass:{}", payments.subject());
    until(
        Duration::from_secs(90),
        "the API server knows the subject",
        || async {
            match trusted.user(&token).await? {
                Some(seen) if seen == user => Ok(()),
                seen => Err(not_yet(seen)),
            }
        },
    )
    .await?;

    let shop = &payments.shop;
    let user = format!("--user={user}");
    let bind = [
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        &user,
    ];
    shop.kubectl(&bind).await?.success()?;
    let pods = get(shop, &token, "pods").await?.success()?;
    assert_eq!(pods.trim(), format!("pod/{}", payments.pod));
    let secrets = get(shop, &token, "secrets").await?;
    ensure!(
        !secrets.ok && secrets.stderr.contains("forbidden"),
        "{secrets:?}"
    );
    Ok(())
}

/// `kubectl get`, with nothing of the administrator's own configuration: the token alone.
async fn get(cluster: &Cluster, token: &str, what: &str) -> Result<Said> {
    let server = "jsonpath={.clusters[0].cluster.server}";
    let config = ["config", "view", "--minify", "-o", server];
    let server = cluster.kubectl(&config).await?.success()?;
    let args = [
        "--kubeconfig=/dev/null",
        "--insecure-skip-tls-verify",
        "--server",
        &server,
        "--token",
        token,
        "-n",
        &cluster.namespace,
        "get",
        what,
        "-o",
        "name",
    ];
    run("kubectl", &args, None).await
}
