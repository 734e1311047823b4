//! What a change of the issuer's keys means to a library that has read them before.

use std::sync::Arc;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    mint::{Key, Mint},
    verifiers::ALL,
};

use crate::fixture::Fixture;

/// Libraries that ask the issuer again as soon as they meet an unknown key. The others wait for 30 s
/// (PyJWT, jose) or 60 s (oauth4webapi) after they have asked, for what `Cache-Control` says (those
/// that leave the fetching to their user), or for ten minutes (Envoy).
const ASK_AT_ONCE: [&str; 2] = ["go-oidc", "golang-jwt"];

#[tokio::test]
async fn a_key_that_was_published_in_time_is_good_with_its_first_token() -> Result<()> {
    for name in ALL {
        let mint = Mint::open().await?;
        let next = Key::generate()?;
        mint.publish(&[&mint.key, &next]);
        let mut fixture = Fixture::over(Arc::new(mint), name)?;

        ensure!(fixture.verdict().await?.accepted(), "{name}");
        let reads = fixture.mint.reads();
        let verdict = fixture.verdict_on(&next).await?;
        ensure!(verdict.accepted(), "{name}: {verdict:?}");
        // the keys were not read again for it
        ensure!(fixture.mint.reads() == reads, "{name}");
        // and tokens of the older one are good for as long as it is published
        ensure!(fixture.verdict().await?.accepted(), "{name}");
        fixture.verifier.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_signs_as_soon_as_it_is_published_is_unknown_to_most() -> Result<()> {
    for name in ALL {
        let mut fixture = Fixture::new(name).await?;
        ensure!(fixture.verdict().await?.accepted(), "{name}");

        let next = Key::generate()?;
        fixture.mint.publish(&[&fixture.mint.key, &next]);
        let verdict = fixture.verdict_on(&next).await?;
        ensure!(
            verdict.accepted() == ASK_AT_ONCE.contains(&name),
            "{name}: {verdict:?}"
        );
        ensure!(fixture.verdict().await?.accepted(), "{name}");
        fixture.verifier.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_published_no_more_is_good_until_the_keys_are_read_again() -> Result<()> {
    for name in ALL {
        let mut fixture = Fixture::new(name).await?;
        ensure!(fixture.verdict().await?.accepted(), "{name}");

        let next = Key::generate()?;
        fixture.mint.publish(&[&next]);
        let verdict = fixture.verdict().await?;
        ensure!(verdict.accepted(), "{name} cannot know it yet: {verdict:?}");
        if ASK_AT_ONCE.contains(&name) {
            ensure!(fixture.verdict_on(&next).await?.accepted(), "{name}");
            let verdict = fixture.verdict().await?;
            ensure!(!verdict.accepted(), "{name} has read the keys: {verdict:?}");
        }
        fixture.verifier.end().await?;
    }
    Ok(())
}
