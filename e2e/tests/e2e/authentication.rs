//! The API server of a cluster that trusts an issuer of our kind, as one verifier more.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    authentication::Trusted,
    faults::faulty,
    mint::Mint,
    verifiers::Trust,
    wait::{not_yet, now, until},
};

const AUDIENCE: &str = "https://cluster.example";

/// What it lets pass. It is go-oidc underneath, but needs a subject.
const ACCEPTED: [&str; 4] = [
    "begins in 20 s",
    "issued in an hour",
    "the type JWT",
    "no type",
];

#[tokio::test]
async fn the_api_server_takes_the_bearer_for_the_subject_and_refuses_what_is_forged() -> Result<()>
{
    let mint = Mint::open().await?;
    let trust = Trust {
        issuer: &mint.url,
        audience: AUDIENCE,
        ca: &mint.ca,
        algorithm: "ES256",
    };
    let Some(trusted) = Trusted::issuer("an issuer that the API server trusts", &trust).await?
    else {
        return Ok(());
    };
    let claims = mint.claims(AUDIENCE, now());
    let good = mint.key.sign(&mint.key.header(), &claims)?;
    let user = Some("hallpass:system:serviceaccount:shop:orders".to_owned());
    let within = Duration::from_secs(90);
    until(within, "the API server has read of it", || async {
        let seen = trusted.user(&good).await?;
        if seen == user {
            Ok(())
        } else {
            Err(not_yet(seen))
        }
    })
    .await?;

    let mut faults = Vec::new();
    for (fault, token) in faulty(&mint, &mint.claims(AUDIENCE, now()))? {
        let taken_for = trusted.user(&token).await?;
        if taken_for.is_some() != ACCEPTED.contains(&fault) {
            faults.push(format!("{fault}: {taken_for:?}"));
        }
    }
    ensure!(faults.is_empty(), "{faults:?}");
    ensure!(trusted.user(&good).await? == user);
    Ok(())
}
