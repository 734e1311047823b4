//! The harness itself: a verdict is a verdict, and all else is an error.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::checkout,
    command::run,
    mint::Mint,
    verifiers::{ALL, Trust, Verifier},
};

use crate::fixture::AUDIENCE;

#[tokio::test]
async fn the_names_are_those_of_the_programs() -> Result<()> {
    let program = checkout().join("e2e/verifiers/run");
    let program = program.to_str().context("a path in UTF-8")?;
    let said = run(program, &[], None).await?.success()?;
    ensure!(said.lines().eq(ALL), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_verifier_that_does_not_trust_the_issuers_authority_gives_no_verdict() -> Result<()> {
    let mint = Mint::open().await?;
    let other = Mint::open().await?;
    for name in ALL {
        let trust = Trust {
            issuer: &mint.url,
            audience: AUDIENCE,
            ca: &other.ca,
            algorithm: "ES256",
        };
        let mut verifier = Verifier::start(name, &trust)?;
        let Err(why) = verifier.verdict("x").await else {
            anyhow::bail!("{name} went past the certificate");
        };
        let why = format!("{why:#}");
        ensure!(why.to_lowercase().contains("cert"), "{name}: {why}");
    }
    ensure!(mint.reads() == 0);
    Ok(())
}
