//! Every library accepts a good token, and refuses each that has one fault. Where one does not, its
//! test says which.

use anyhow::{Result, ensure};
use hallpass_e2e::{
    faults::{faulty, with},
    verifiers::Verdict,
};
use serde_json::json;

use crate::fixture::{AUDIENCE, Fixture};

#[tokio::test]
async fn pyjwt_refuses_every_fault() -> Result<()> {
    refuses_all_but("pyjwt", &[]).await
}

#[tokio::test]
async fn joserfc_refuses_every_fault() -> Result<()> {
    refuses_all_but("joserfc", &[]).await
}

#[tokio::test]
async fn authlib_refuses_every_fault_but_these() -> Result<()> {
    refuses_all_but("authlib", &["no type"]).await
}

#[tokio::test]
async fn jose_refuses_every_fault_but_these() -> Result<()> {
    refuses_all_but("jose", &["issued in an hour"]).await
}

#[tokio::test]
async fn oauth4webapi_refuses_every_fault_but_these() -> Result<()> {
    refuses_all_but(
        "oauth4webapi",
        &["expired for 10 s", "begins in 20 s", "issued in an hour"],
    )
    .await
}

#[tokio::test]
async fn go_oidc_refuses_every_fault_but_these() -> Result<()> {
    refuses_all_but(
        "go-oidc",
        &[
            "begins in 20 s",
            "issued in an hour",
            "without a subject",
            "the type JWT",
            "no type",
        ],
    )
    .await
}

#[tokio::test]
async fn go_jose_refuses_every_fault_but_these() -> Result<()> {
    refuses_all_but(
        "go-jose",
        &["expired for 10 s", "begins in 20 s", "without a subject"],
    )
    .await
}

#[tokio::test]
async fn golang_jwt_refuses_every_fault_but_these() -> Result<()> {
    refuses_all_but(
        "golang-jwt",
        &["without a subject", "an unknown name in crit"],
    )
    .await
}

#[tokio::test]
async fn envoy_refuses_every_fault_but_these() -> Result<()> {
    refuses_all_but(
        "envoy",
        &[
            "expired for 10 s",
            "begins in 20 s",
            "issued in an hour",
            "without a subject",
            "the type JWT",
            "no type",
            "an unknown name in crit",
        ],
    )
    .await
}

/// Shows each token of the table to the verifier. `accepted` are those that its library lets pass,
/// and it has to: the day it refuses one, that row goes.
async fn refuses_all_but(name: &str, accepted: &[&str]) -> Result<()> {
    let mut fixture = Fixture::new(name).await?;
    let claims = fixture.claims();
    let header = fixture.mint.key.header();
    let good = fixture.mint.key.sign(&header, &claims)?;
    ensure!(fixture.verifier.verdict(&good).await? == Verdict::Accepted(claims.clone()));
    let several = with(&claims, "aud", json!(["https://other.example", AUDIENCE]));
    let several = fixture.mint.key.sign(&header, &several)?;
    let verdict = fixture.verifier.verdict(&several).await?;
    ensure!(verdict.accepted(), "several audiences: {verdict:?}");

    let mut faults = Vec::new();
    for (fault, token) in faulty(&fixture.mint, &claims)? {
        let verdict = fixture.verifier.verdict(&token).await?;
        if verdict.accepted() != accepted.contains(&fault) {
            faults.push(format!("{fault}: {verdict:?}"));
        }
    }
    ensure!(faults.is_empty(), "{name}: {faults:#?}");

    // all of them were judged by a verifier that can still tell a good one
    ensure!(fixture.verifier.verdict(&good).await? == Verdict::Accepted(claims));
    fixture.verifier.end().await
}
