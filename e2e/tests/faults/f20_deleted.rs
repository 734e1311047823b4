//! What a token is of is deleted: a service account, a whole namespace; and the definition of policies, with every
//! policy.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    command::{kubectl, kubectl_with},
    reads::verdict::{Fault, Violation, between, judge},
    remark::remark,
    scene::{
        Scene,
        What::{Jwt, Opaque},
        Who::{Elsewhere, Orders, Stock},
    },
    state,
    wait::{not_yet, until},
};
use serde_json::Value;
use tokio::time::Instant;

use crate::fixture::{MINUTE, apps, current, lasts, moment, served_again};

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

const POLICIES: &str = "tokenpolicies.hallpass.dev";

/// How soon after they are back all are served again: a poll every half minute, and its spread.
const AGAIN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn f20_pods_are_served_again_by_themselves_after_the_definition_of_their_policy_was_deleted()
-> Result<()> {
    let Some(apps) = apps("crdless", 2, "10m").await? else {
        return Ok(());
    };
    let definition = stored(&["crd", POLICIES]).await?;
    let policy = stored(&[POLICIES, "orders", "-n", &apps.shop.namespace]).await?;
    let delete = ["delete", "crd", POLICIES, "--timeout=60s"];
    let deleted = kubectl(&delete).await?.success();
    let gone = moment();
    lasts(MINUTE).await;
    for object in [&definition, &policy] {
        until(MINUTE, "it can be applied", || async {
            let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
            let applied = kubectl_with(&apply, &object.to_string()).await?;
            applied.success()
        })
        .await?;
    }
    deleted?;
    let back = moment();
    let took = served_again(&apps, back).await?;
    current().await?;
    let (reads, verdict) = apps.end("the definition of policies was deleted")?;
    let meanwhile = judge(&between(&reads, gone, back));
    let (served, reads) = (meanwhile.served, meanwhile.reads);
    remark(&format!(
        "while it was away {served} of {reads} reads were served; all are again {took:?} after it is back"
    ));
    let expired = |found: &Violation| matches!(found.fault, Fault::Expired { .. });
    ensure!(!verdict.violations.iter().any(expired), "{verdict}");
    ensure!(took <= AGAIN, "served after {took:?}");
    Ok(())
}

/// An object without what the API server wrote on it.
async fn stored(what: &[&str]) -> Result<Value> {
    let get = [&["get"], what, &["-o", "json"]].concat();
    let mut object: Value = serde_json::from_str(&kubectl(&get).await?.success()?)?;
    for of_the_server in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        let metadata = object["metadata"].as_object_mut().context("metadata")?;
        metadata.remove(of_the_server);
    }
    object
        .as_object_mut()
        .context("an object")?
        .remove("status");
    Ok(object)
}
