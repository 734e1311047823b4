//! Locks: nothing new, and nothing of before, until they are deleted or over.

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    cluster::Cluster,
    guard::Token,
    manifest::Manifest,
    payments::Payments,
    pod::Answer,
    remark::remark,
    revocation::{cluster_token_revocation, token_revocation},
    scene::{
        Scene,
        What::{self, Foreign, Jwt, Opaque, Second},
        Who::{self, Elsewhere, Orders, Stock},
    },
    wait::{not_yet, now, until},
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::within_the_limit;

/// What is locked, who gets nothing new of it, and who still does.
type Row = (
    &'static str,
    fn(&str, &Value) -> Manifest,
    fn(&Scene) -> Value,
    (Who, What),
    (Who, What),
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("a pod", token_revocation, |_| json!({"pod": "orders"}), (Orders, Jwt), (Stock, Jwt)),
    ("a service account", token_revocation, |_| json!({"serviceAccount": "orders"}), (Orders, Opaque), (Stock, Opaque)),
    ("a policy", token_revocation, |_| json!({"policy": "first"}), (Orders, Opaque), (Orders, Second)),
    ("a namespace", cluster_token_revocation, |s| json!({"namespace": s.shop.namespace}), (Stock, Foreign), (Elsewhere, Foreign)),
    ("a pod of a namespace", cluster_token_revocation,
        |s| json!({"namespace": s.shop.namespace, "pod": "orders"}), (Orders, Foreign), (Elsewhere, Foreign)),
    ("a service account of a namespace", cluster_token_revocation,
        |s| json!({"namespace": s.shop.namespace, "serviceAccount": "stock"}), (Stock, Jwt), (Orders, Jwt)),
    ("a policy of a namespace", cluster_token_revocation,
        |s| json!({"namespace": s.shop.namespace, "policy": "second"}), (Orders, Foreign), (Orders, Jwt)),
    ("an audience", cluster_token_revocation, |s| json!({"audience": s.aud("ledger")}), (Elsewhere, Opaque), (Elsewhere, Jwt)),
    ("an issuer", cluster_token_revocation, |s| json!({"issuer": s.issuer.name}), (Orders, Opaque), (Orders, Foreign)),
];

const MESSAGE: &str = "INC-123: ask #security";
const WHILE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn whatever_a_lock_names_gets_nothing_until_it_is_deleted() -> Result<()> {
    let scene = Scene::new("lock", ROWS.len()).await?;
    let mut slowest = Duration::ZERO;
    for (row, (what, make, target, named, other)) in ROWS.iter().enumerate() {
        let (one, again, row) = (row % 2, 1 - row % 2, &row.to_string());
        let token = |replica, (who, what): (Who, What)| scene.token(replica, who, what, row);
        let before = token(one, *named).await?;
        scene.guard.accepts(what, &before).await?;
        let name = format!("{}-{row}", scene.shop.namespace);
        let lock = make(&name, &target(&scene)).locking(MESSAGE);
        let lock = scene.shop.revoke(&lock).await?;
        let took = scene.guard.refused(what, &before, lock.since).await?;
        within_the_limit(what, took)?;
        slowest = slowest.max(took);
        for replica in [0, 1] {
            gets_nothing(&scene, replica, *named, row, MESSAGE).await?;
        }
        let spared = token(1, *other).await?;
        scene
            .guard
            .accepts(&format!("beside {what}"), &spared)
            .await?;

        lock.delete().await?;
        let again = until(WHILE, "it is issued again", || token(again, *named)).await?;
        scene.guard.accepts_soon("issued again", &again).await?;
    }
    remark(&format!(
        "what was locked is refused by both replicas {} ms after kubectl's return at the latest of {} times",
        slowest.as_millis(),
        ROWS.len()
    ));
    Ok(())
}

/// That replica refuses it at both endpoints, and says why.
async fn gets_nothing(
    scene: &Scene,
    replica: usize,
    (who, what): (Who, What),
    row: &str,
    message: &str,
) -> Result<()> {
    let (api, name) = (&scene.guard.apis[replica], what.name(row));
    let answer = api.tokens(scene.identity(who), &[&name]).await?;
    let refused = answer.json()?["tokens"][0]["problem"].take();
    let detail = refused["detail"].as_str().unwrap_or_default();
    ensure!(
        refused["code"] == "Locked" && detail.ends_with(message),
        "{answer:?}"
    );
    let answer = exchange(scene, replica, (who, what)).await?;
    let body = answer.json()?;
    let detail = body["error_description"].as_str().unwrap_or_default();
    ensure!(
        answer.status == 400
            && (&body["error"], &body["code"]) == (&json!("access_denied"), &json!("Locked"))
            && detail.ends_with(message),
        "{answer:?}"
    );
    Ok(())
}

async fn exchange(scene: &Scene, replica: usize, (who, what): (Who, What)) -> Result<Answer> {
    let fields = [
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange".to_owned(),
        "subject_token_type=urn:ietf:params:oauth:token-type:jwt".to_owned(),
        format!("subject_token={}", scene.identity(who)),
        format!("audience={}", scene.aud(what.api())),
    ];
    let form = fields.iter().flat_map(|f| ["--data-urlencode", f]);
    let path = format!("{}/oauth2/token", scene.path(what));
    let api = &scene.guard.apis[replica];
    api.ask(&form.collect::<Vec<_>>(), &path).await
}

#[tokio::test]
async fn a_lock_ends_at_its_time() -> Result<()> {
    let scene = Scene::new("lockends", 1).await?;
    let token = |replica| scene.token(replica, Orders, Jwt, "0");
    let before = token(0).await?;
    scene.guard.accepts("before", &before).await?;
    let end = now() + SignedDuration::from_secs(5);
    let lock = token_revocation("a", &json!({"pod": "orders"}))
        .locking(MESSAGE)
        .with("/spec/expiresAt", json!(end.to_string()));
    let lock = scene.shop.revoke(&lock).await?;
    scene.guard.refused("a lock", &before, lock.since).await?;
    for replica in [0, 1] {
        gets_nothing(&scene, replica, (Orders, Jwt), "0", MESSAGE).await?;
    }
    let mut ended = Vec::new();
    for replica in [0, 1] {
        let since: Token = until(WHILE, "the lock is over", || token(replica)).await?;
        ended.push(now());
        scene.guard.accepts("after the lock", &since).await?;
    }
    ensure!(ended.iter().all(|at| *at >= end), "{ended:?} before {end}");
    // what it has refused it goes on refusing
    scene.guard.refuses("of before the lock", &before).await
}

#[tokio::test]
async fn a_locked_pod_reads_why_on_its_socket() -> Result<()> {
    // its tokens live for 30 s: so long it serves what it has
    let payments = Payments::new(Cluster::shared("lockedpod").await?, |a| a).await?;
    let (shop, pod) = (&payments.shop, &payments.pod);
    payments.token().await?;
    let lock = token_revocation("a", &json!({"serviceAccount": "orders"})).locking(MESSAGE);
    let lock = shop.revoke(&lock).await?;
    let why = |answer: &Answer| -> Result<bool> {
        let problem = answer.json()?;
        let detail = problem["detail"].as_str().unwrap_or_default();
        Ok(answer.status == 503 && detail.contains("Locked: ") && detail.contains(MESSAGE))
    };
    let minute = Duration::from_secs(60);
    until(minute, "the socket says why", || async {
        let answer = shop.get(pod, "app", "/v1/tokens/payments").await?;
        if why(&answer)? {
            Ok(())
        } else {
            Err(not_yet(answer))
        }
    })
    .await?;
    lock.delete().await?;
    let since = Instant::now();
    payments.token().await?;
    remark(&format!(
        "a pod has a token again {} ms after its lock was deleted",
        since.elapsed().as_millis()
    ));
    Ok(())
}
