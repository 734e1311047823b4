//! What a token is of is deleted: a service account, a whole namespace, the policy that gave it.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    command::kubectl,
    remark::remark,
    scene::{
        Scene,
        What::{Jwt, Opaque, Second},
        Who::{Elsewhere, Orders, Stock},
    },
    state,
    wait::{not_yet, until},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{MINUTE, current, lasts};

/// How soon a token of what is gone is worth nothing. (Kubernetes itself takes up to 70 s.)
const BOUND: Duration = Duration::from_secs(1);

/// Of a token that was made a moment ago a replica believes for 10 s that another one knew its pod first.
const MADE: Duration = Duration::from_secs(11);

#[tokio::test]
async fn f20_tokens_are_refused_within_a_second_after_their_service_account_is_deleted()
-> Result<()> {
    if state::folder("a service account is deleted").is_none() {
        return Ok(());
    }
    current().await?;
    let scene = Scene::inside(Cluster::alone("saless").await?, 1).await?;
    let spared = scene.token(0, Orders, Jwt, "0").await?;
    let (jwt, opaque) = (
        scene.token(0, Stock, Jwt, "0").await?,
        scene.token(1, Stock, Opaque, "0").await?,
    );
    for token in [&jwt, &opaque, &spared] {
        scene.guard.accepts_soon("before", token).await?;
    }
    lasts(MADE).await;
    let delete = ["delete", "serviceaccount", "stock", "--wait=false"];
    scene.shop.kubectl(&delete).await?.success()?;
    let since = Instant::now();
    for token in [&jwt, &opaque] {
        within_bound(&scene, token, since).await?;
    }
    scene.guard.accepts("of another", &spared).await
}

#[tokio::test]
async fn f20_tokens_are_refused_within_a_second_after_a_namespace_lost_their_pods() -> Result<()> {
    if state::folder("a namespace is deleted").is_none() {
        return Ok(());
    }
    current().await?;
    let scene = Scene::inside(Cluster::alone("nsless").await?, 1).await?;
    let spared = scene.token(0, Elsewhere, Jwt, "0").await?;
    let token = scene.token(0, Orders, Jwt, "0").await?;
    for token in [&token, &spared] {
        scene.guard.accepts_soon("before", token).await?;
    }
    lasts(MADE).await;
    let namespace = &scene.shop.namespace;
    let delete = ["delete", "namespace", namespace, "--wait=false"];
    kubectl(&delete).await?.success()?;
    until(2 * MINUTE, "the pod is gone", || async {
        let get = ["get", "pod", "orders", "--ignore-not-found", "-o", "name"];
        let left = scene.shop.kubectl(&get).await?.success()?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(not_yet(left))
        }
    })
    .await?;
    within_bound(&scene, &token, Instant::now()).await?;
    scene.guard.accepts("of another namespace", &spared).await
}

#[tokio::test]
async fn f20_tokens_are_refused_within_a_second_after_their_policy_is_deleted_unless_another_gives_them()
-> Result<()> {
    if state::folder("a policy is deleted").is_none() {
        return Ok(());
    }
    current().await?;
    let scene = Scene::inside(Cluster::alone("policyless").await?, 1).await?;
    let spared = scene.token(0, Orders, Second, "0").await?;
    let (jwt, opaque) = (
        scene.token(0, Orders, Jwt, "0").await?,
        scene.token(1, Stock, Opaque, "0").await?,
    );
    for token in [&jwt, &opaque, &spared] {
        scene.guard.accepts_soon("before", token).await?;
    }
    lasts(MADE).await;
    let get = ["get", "tokenpolicies.hallpass.dev", "first", "-o", "json"];
    let mut first: Value = serde_json::from_str(&scene.shop.kubectl(&get).await?.success()?)?;
    let delete = [
        "delete",
        "tokenpolicies.hallpass.dev",
        "first",
        "--wait=false",
    ];
    scene.shop.kubectl(&delete).await?.success()?;
    let since = Instant::now();
    for token in [&jwt, &opaque] {
        within_bound(&scene, token, since).await?;
    }
    scene.guard.accepts("of another", &spared).await?;

    first["metadata"] = json!({"name": "renamed"});
    scene.shop.apply(&first.to_string()).await?;
    for token in [&jwt, &opaque] {
        scene
            .guard
            .accepts_soon("of one that gives it too", token)
            .await?;
    }
    Ok(())
}

async fn within_bound(
    scene: &Scene,
    token: &hallpass_e2e::guard::Token,
    since: Instant,
) -> Result<()> {
    let took = scene.guard.refused("deleted", token, since).await?;
    remark(&format!("refused {took:?} after what it is of was deleted"));
    ensure!(took <= BOUND, "refused after {took:?}");
    Ok(())
}
