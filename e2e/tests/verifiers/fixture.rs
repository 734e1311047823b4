//! An issuer, and one verifier that trusts it.

use std::sync::Arc;

use anyhow::Result;
use hallpass_e2e::{
    mint::{Key, Mint},
    verifiers::{Trust, Verdict, Verifier},
    wait::now,
};
use serde_json::Value;

pub(crate) const AUDIENCE: &str = "https://orders.example";

pub(crate) struct Fixture {
    pub(crate) mint: Arc<Mint>,
    pub(crate) verifier: Verifier,
}

impl Fixture {
    pub(crate) async fn new(name: &str) -> Result<Self> {
        Self::over(Arc::new(Mint::open().await?), name)
    }

    pub(crate) fn over(mint: Arc<Mint>, name: &str) -> Result<Self> {
        let trust = Trust {
            issuer: &mint.url,
            audience: AUDIENCE,
            ca: &mint.ca,
            algorithm: &mint.key.algorithm(),
        };
        let verifier = Verifier::start(name, &trust)?;
        Ok(Self { mint, verifier })
    }

    pub(crate) fn claims(&self) -> Value {
        self.mint.claims(AUDIENCE, now())
    }

    /// The verdict on a token by that key, with which nothing else is wrong.
    pub(crate) async fn verdict_on(&mut self, key: &Key) -> Result<Verdict> {
        let token = key.sign(&key.header(), &self.claims())?;
        self.verifier.verdict(&token).await
    }

    /// The verdict on a token by the issuer's first key.
    pub(crate) async fn verdict(&mut self) -> Result<Verdict> {
        let token = self
            .mint
            .key
            .sign(&self.mint.key.header(), &self.claims())?;
        self.verifier.verdict(&token).await
    }
}
