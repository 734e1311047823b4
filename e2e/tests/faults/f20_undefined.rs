//! Definitions of Hallpass are deleted, and with them every object: nothing is revoked by that, and nothing that was
//! revoked is good again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE},
    command::{kubectl, kubectl_with},
    operator::Replica,
    remark::remark,
    revocation::{cluster_token_revocation, token_revocation},
    scene::{
        Scene,
        What::{Foreign, Jwt},
        Who::{Orders, Stock},
    },
    state,
    wait::{not_yet, until},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts, moment, replaced};

/// The definitions of two kinds, by the kind.
type Definitions = [(&'static str, &'static str); 2];

const ASKED: Definitions = [
    ("TokenPolicy", "tokenpolicies.hallpass.dev"),
    ("TokenAudience", "tokenaudiences.hallpass.dev"),
];

const REFUSED: Definitions = [
    ("TokenRevocation", "tokenrevocations.hallpass.dev"),
    (
        "ClusterTokenRevocation",
        "clustertokenrevocations.hallpass.dev",
    ),
];

/// How soon it is told: a watch that hears nothing ends after 5 s, and its error is waited out once.
const TOLD: Duration = Duration::from_secs(10);

#[tokio::test]
async fn f20_no_read_fails_and_tokens_are_renewed_while_the_definitions_of_what_gives_them_are_gone()
-> Result<()> {
    let Some(apps) = apps("crdless", PODS, LIFE).await? else {
        return Ok(());
    };
    let replicas = current().await?;
    let before = Stored::of(ASKED).await?;
    before.delete().await?;
    let gone = moment();
    let meanwhile = async {
        told(&replicas, ASKED, true).await?;
        lasts(MINUTE).await;
        let took = replaced(&apps, gone).await?;
        remark(&format!(
            "while they are gone all are renewed {took:?} after"
        ));
        said(&replicas, ASKED).await?;
        are_current(&replicas).await
    };
    let meanwhile = meanwhile.await;
    before.define().await?;
    meanwhile?;
    told(&replicas, ASKED, false).await?;
    let took = replaced(&apps, moment()).await?;
    remark(&format!(
        "while they are empty all are renewed {took:?} after"
    ));
    before.write().await?;
    let back = moment();
    let ready = "--for=condition=Ready";
    let policy = [
        "wait",
        ready,
        "tokenpolicies.hallpass.dev/orders",
        "--timeout=30s",
    ];
    apps.shop.kubectl(&policy).await?.success()?;
    let took = replaced(&apps, back).await?;
    remark(&format!(
        "when they are back all are renewed {took:?} after"
    ));
    are_current(&replicas).await?;
    let (_, verdict) = apps.end("definitions were deleted and put back")?;
    verdict.all_served()
}

#[tokio::test]
async fn f20_what_was_revoked_stays_refused_after_the_definitions_of_revocations_were_deleted()
-> Result<()> {
    if state::folder("definitions are deleted").is_none() {
        return Ok(());
    }
    let replicas = current().await?;
    let scene = Scene::inside(Cluster::alone("revoked").await?, 1).await?;
    let locked = scene.token(0, Stock, Jwt, "0").await?;
    let revoked = scene.token(0, Orders, Foreign, "0").await?;
    let spared = scene.token(0, Orders, Jwt, "0").await?;
    for token in [&locked, &revoked, &spared] {
        scene.guard.accepts_soon("before", token).await?;
    }
    let lock = token_revocation("stock", &json!({"serviceAccount": "stock"})).locking("INC-20");
    let audience = json!({"audience": scene.aud("mail")});
    let name = format!("mail-{}", scene.shop.namespace);
    for revocation in [lock, cluster_token_revocation(&name, &audience)] {
        scene.shop.apply(&revocation.to_string()).await?;
    }
    let since = Instant::now();
    scene.guard.refused("locked", &locked, since).await?;
    scene.guard.refused("revoked", &revoked, since).await?;
    let holds = async |when: &str| {
        scene.guard.refuses(when, &locked).await?;
        scene.guard.refuses(when, &revoked).await?;
        let Err(refused) = scene.token(1, Stock, Jwt, "0").await else {
            anyhow::bail!("{when}: a locked service account is given a token");
        };
        ensure!(
            format!("{refused:?}").contains("INC-20"),
            "{when}: {refused:?}"
        );
        scene.guard.accepts(when, &spared).await
    };

    let before = Stored::of(REFUSED).await?;
    before.delete().await?;
    let meanwhile = async {
        told(&replicas, REFUSED, true).await?;
        lasts(MINUTE / 2).await;
        holds("gone").await?;
        said(&replicas, REFUSED).await?;
        are_current(&replicas).await
    };
    let meanwhile = meanwhile.await;
    before.define().await?;
    meanwhile?;
    told(&replicas, REFUSED, false).await?;
    holds("back and empty").await
}

/// Definitions and their objects, as they were.
struct Stored {
    definitions: Vec<Value>,
    objects: Vec<Value>,
}

impl Stored {
    async fn of(definitions: Definitions) -> Result<Self> {
        let names = definitions.map(|(_, name)| name);
        let get = [&["get", "crd", "-o", "json"], &names[..]].concat();
        let (definitions, kinds) = (items(&get).await?, names.join(","));
        let mut objects = items(&["get", &kinds, "-A", "-o", "json"]).await?;
        // Those of a namespace that another test left are about to go themselves.
        let active = [
            "get",
            "namespaces",
            "--field-selector=status.phase=Active",
            "-o",
            "name",
        ];
        let active = kubectl(&active).await?.success()?;
        objects.retain(|object| {
            let namespace = object["metadata"]["namespace"].as_str();
            let is = |name: &str| {
                active
                    .lines()
                    .any(|line| line == format!("namespace/{name}"))
            };
            namespace.is_none_or(is)
        });
        ensure!(definitions.len() == names.len(), "{definitions:?}");
        ensure!(!objects.is_empty(), "there is none of {kinds}");
        Ok(Self {
            definitions,
            objects,
        })
    }

    /// Deletes them, as Kubernetes does: each object first.
    async fn delete(&self) -> Result<()> {
        let names = self.definitions.iter();
        let names = names.filter_map(|object| object["metadata"]["name"].as_str());
        let names: Vec<_> = names.collect();
        let delete = [&["delete", "crd", "--timeout=60s"], &names[..]].concat();
        kubectl(&delete).await?.success().map(drop)
    }

    /// Puts the definitions back.
    async fn define(&self) -> Result<()> {
        each(&self.definitions).await
    }

    /// Writes the objects again.
    async fn write(&self) -> Result<()> {
        each(&self.objects).await
    }
}

/// Writes each, in the name of Helm, which has them otherwise.
async fn each(objects: &[Value]) -> Result<()> {
    for object in objects {
        let text = object.to_string();
        until(MINUTE, "it can be applied", || async {
            let how = ["apply", "--server-side", "--force-conflicts"];
            let apply = [&how[..], &["--field-manager=helm", "-f", "-"]].concat();
            kubectl_with(&apply, &text).await?.success()
        })
        .await?;
    }
    Ok(())
}

/// Objects without what the API server wrote on them.
async fn items(get: &[&str]) -> Result<Vec<Value>> {
    let list: Value = serde_json::from_str(&kubectl(get).await?.success()?)?;
    let mut items = list["items"].as_array().context("a list")?.clone();
    for object in &mut items {
        let metadata = object["metadata"].as_object_mut().context("metadata")?;
        for of_the_server in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
        ] {
            metadata.remove(of_the_server);
        }
        object
            .as_object_mut()
            .context("an object")?
            .remove("status");
    }
    Ok(items)
}

/// Waits until each replica has the alarm on, or off.
async fn told(replicas: &[Replica; 2], definitions: Definitions, missing: bool) -> Result<()> {
    let since = Instant::now();
    for replica in replicas {
        for (kind, _) in definitions {
            let series = format!("hallpass_definition_missing{{kind=\"{kind}\"}}");
            until(TOLD, "it is told", || async {
                let value = replica.metric(&series).await?;
                let as_it_is = value == f64::from(u8::from(missing));
                as_it_is.then_some(()).ok_or_else(|| not_yet(value))
            })
            .await?;
        }
    }
    remark(&format!(
        "missing {missing}: told {:?} after",
        since.elapsed()
    ));
    Ok(())
}

/// The log of each replica says once of each what to do.
async fn said(replicas: &[Replica; 2], definitions: Definitions) -> Result<()> {
    for replica in replicas {
        let log = kubectl(&["logs", "-n", RELEASE, &replica.pod]).await?;
        let log = log.success()?;
        for (_, name) in definitions {
            let words = [&format!("\"{name}\""), "was deleted", "helm upgrade"];
            let said = log
                .lines()
                .filter(|line| words.iter().all(|word| line.contains(word)));
            let said: Vec<_> = said.collect();
            ensure!(said.len() == 1, "{}: {said:?}", replica.pod);
        }
    }
    Ok(())
}

/// Each decides on what is current.
async fn are_current(replicas: &[Replica; 2]) -> Result<()> {
    for replica in replicas {
        let ready = replica.health("/readyz").await?;
        ensure!(ready.status == 200, "{}: {ready:?}", replica.pod);
        let age = replica.metric("hallpass_state_age_seconds").await?;
        ensure!(age < 10.0, "{} knows what is {age} s old", replica.pod);
    }
    Ok(())
}
