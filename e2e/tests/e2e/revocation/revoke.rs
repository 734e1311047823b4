//! Revocations, one of each thing that can be named.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    guard::Token,
    manifest::Manifest,
    remark::remark,
    revocation::{cluster_token_revocation, token_revocation},
    scene::{
        Scene,
        What::{self, Foreign, Jwt, Opaque, Second},
        Who::{self, Elsewhere, Orders, Stock},
    },
    token::kid,
    wait::until,
};
use serde_json::{Value, json};

use super::within_the_limit;

/// What is revoked, the tokens of that, and others.
type Row = (
    &'static str,
    fn(&str, &Value) -> Manifest,
    fn(&Scene) -> Value,
    &'static [(Who, What)],
    &'static [(Who, What)],
);

const BOTH: &[(Who, What)] = &[(Orders, Jwt), (Orders, Opaque)];
const NEIGHBOURS: &[(Who, What)] = &[(Stock, Jwt), (Stock, Opaque), (Elsewhere, Jwt)];
const OTHER_POLICY: &[(Who, What)] = &[(Orders, Second), (Elsewhere, Jwt)];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("a pod", token_revocation, |_| json!({"pod": "orders"}), BOTH, NEIGHBOURS),
    ("a service account", token_revocation, |_| json!({"serviceAccount": "orders"}), BOTH, NEIGHBOURS),
    ("a policy", token_revocation, |_| json!({"policy": "first"}), &[(Orders, Jwt), (Stock, Opaque)], OTHER_POLICY),
    ("a namespace", cluster_token_revocation, |s| json!({"namespace": s.shop.namespace}),
        &[(Orders, Jwt), (Stock, Opaque), (Stock, Foreign)], &[(Elsewhere, Jwt), (Elsewhere, Foreign)]),
    ("a pod of a namespace", cluster_token_revocation, |s| json!({"namespace": s.shop.namespace, "pod": "orders"}), BOTH, NEIGHBOURS),
    ("a service account of a namespace", cluster_token_revocation,
        |s| json!({"namespace": s.shop.namespace, "serviceAccount": "orders"}), BOTH, NEIGHBOURS),
    ("a policy of a namespace", cluster_token_revocation, |s| json!({"namespace": s.shop.namespace, "policy": "first"}),
        &[(Orders, Jwt), (Stock, Opaque)], OTHER_POLICY),
    ("an audience", cluster_token_revocation, |s| json!({"audience": s.aud("payments")}),
        &[(Orders, Jwt), (Elsewhere, Second)], &[(Orders, Opaque), (Orders, Foreign)]),
    ("the audience of opaque tokens", cluster_token_revocation, |s| json!({"audience": s.aud("ledger")}),
        &[(Orders, Opaque), (Elsewhere, Opaque)], &[(Orders, Jwt), (Orders, Foreign)]),
    ("an issuer", cluster_token_revocation, |s| json!({"issuer": s.issuer.name}),
        &[(Orders, Jwt), (Orders, Opaque), (Elsewhere, Second)], &[(Orders, Foreign), (Elsewhere, Foreign)]),
];

#[tokio::test]
async fn whatever_a_revocation_names_is_worth_nothing_on_both_replicas_soon() -> Result<()> {
    let scene = Scene::new("revoke", ROWS.len()).await?;
    let mut slowest = Duration::ZERO;
    for (row, (what, make, target, named, spared)) in ROWS.iter().enumerate() {
        let taken = async |replica: usize, of: &[(Who, What)]| {
            let mut tokens = Vec::new();
            for (who, what) in of {
                tokens.push(scene.token(replica, *who, *what, &row.to_string()).await?);
            }
            anyhow::Ok(tokens)
        };
        let (one, other) = (row % 2, 1 - row % 2);
        let (named_before, spared) = (taken(one, named).await?, taken(one, spared).await?);
        for token in named_before.iter().chain(&spared) {
            scene.guard.accepts(what, token).await?;
        }
        let name = format!("{}-{row}", scene.shop.namespace);
        let revocation = scene.shop.revoke(&make(&name, &target(&scene))).await?;
        for token in &named_before {
            let took = scene.guard.refused(what, token, revocation.since).await?;
            within_the_limit(what, took)?;
            slowest = slowest.max(took);
        }
        for token in taken(other, named).await? {
            scene.guard.accepts_soon("issued since", &token).await?;
        }
        for token in &spared {
            scene
                .guard
                .accepts(&format!("beside {what}"), token)
                .await?;
        }
        // no second revocation is to be blamed for what the next one does
        revocation.delete().await?;
    }
    said("what was named", ROWS.len(), slowest);
    Ok(())
}

fn said(what: &str, times: usize, slowest: Duration) {
    remark(&format!(
        "{what} is refused by both replicas {} ms after kubectl's return at the latest of {times} times",
        slowest.as_millis()
    ));
}

#[tokio::test]
async fn a_token_is_revoked_by_its_id_and_no_other_with_it() -> Result<()> {
    let makes: [fn(&str, &Value) -> Manifest; 2] = [token_revocation, cluster_token_revocation];
    let scene = Scene::new("byid", 4).await?;
    let mut slowest = Duration::ZERO;
    for (row, make) in makes.into_iter().enumerate() {
        for what in [Jwt, Opaque] {
            let token = async |replica, row: usize| {
                let token = scene.token(replica, Orders, what, &row.to_string()).await?;
                scene.guard.accepts("before", &token).await?;
                anyhow::Ok(token)
            };
            let (named, spared) = (token(0, row).await?, token(1, row).await?);
            let id = scene.guard.said(0, &named).await?["jti"].take();
            ensure!(id.is_string(), "{id}");
            let name = format!("{}-{}", scene.shop.namespace, what.name(&row.to_string()));
            let revocation = make(&name, &json!({"tokenID": id}));
            let revocation = scene.shop.revoke(&revocation).await?;
            let took = scene
                .guard
                .refused("its id", &named, revocation.since)
                .await?;
            within_the_limit("its id", took)?;
            slowest = slowest.max(took);
            scene.guard.accepts("the other one", &spared).await?;
            scene
                .guard
                .accepts("one since", &token(0, row + 2).await?)
                .await?;
        }
    }
    said("a token's id", 4, slowest);
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_published_no_more_and_another_one_signs() -> Result<()> {
    let scene = Scene::new("revokedkey", 1).await?;
    let (key, next) = scene.issuer.keys().await?;
    let tokens = async |replica, what| scene.token(replica, Orders, what, "0").await;
    let (jwt, opaque) = (tokens(0, Jwt).await?, tokens(0, Opaque).await?);
    let spared = tokens(0, Foreign).await?;
    ensure!(kid(&jwt.text)? == key, "{} is not {key}", kid(&jwt.text)?);
    for token in [&jwt, &opaque, &spared] {
        scene.guard.accepts("before", token).await?;
    }
    let revocation = cluster_token_revocation(&scene.shop.namespace, &json!({"key": key}));
    let revocation = scene.shop.revoke(&revocation).await?;
    // an opaque token lives with the key that would have signed it
    let mut slowest = Duration::ZERO;
    for token in [&jwt, &opaque] {
        let took = scene
            .guard
            .refused("a key", token, revocation.since)
            .await?;
        within_the_limit("a key", took)?;
        slowest = slowest.max(took);
    }
    said("a key", 2, slowest);
    scene.issuer.gone(&key).await?;
    remark(&format!(
        "a revoked key is gone from both key sets within {} ms",
        revocation.since.elapsed().as_millis()
    ));
    for what in [Jwt, Opaque] {
        let new: Token = until(MINUTE, "another key signs", || tokens(1, what))
            .await
            .context("after the key was revoked")?;
        scene.guard.accepts_soon("by another key", &new).await?;
        if what == Jwt {
            ensure!(kid(&new.text)? == next, "not the next key");
        }
    }
    for token in [&jwt, &opaque] {
        scene.guard.refuses("of the revoked key", token).await?;
    }
    let (active, _) = scene.issuer.keys().await?;
    ensure!(active == next, "{active} is Active, not {next}");
    scene.guard.accepts("another issuer's", &spared).await
}

const MINUTE: Duration = Duration::from_secs(60);
