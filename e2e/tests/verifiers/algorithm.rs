//! The other algorithms that an issuer may sign with.

use std::sync::Arc;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    mint::{Key, Mint},
    verifiers::ALL,
};
use jsonwebtoken::Algorithm;

use crate::fixture::Fixture;

/// Accepts a token of an issuer with that algorithm, and none by another key of the same kind.
async fn all_but(algorithm: Algorithm, unable: &[&str]) -> Result<()> {
    let mint = Arc::new(Mint::open_with(Key::generate_for(algorithm)?).await?);
    let impostor = mint.key.impostor()?;
    for name in ALL {
        let mut fixture = Fixture::over(Arc::clone(&mint), name)?;
        let verdict = fixture.verdict().await?;
        ensure!(
            verdict.accepted() != unable.contains(&name),
            "{name}: {verdict:?}"
        );
        let verdict = fixture.verdict_on(&impostor).await?;
        ensure!(!verdict.accepted(), "{name}: {verdict:?}");
        fixture.verifier.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn all_libraries_verify_rs256() -> Result<()> {
    all_but(Algorithm::RS256, &[]).await
}

#[tokio::test]
async fn all_libraries_but_authlib_verify_eddsa() -> Result<()> {
    // which lets its user name no algorithms, and has a list without this one
    all_but(Algorithm::EdDSA, &["authlib"]).await
}
