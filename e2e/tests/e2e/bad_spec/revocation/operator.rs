//! What the operator may revoke and make undone, even with its credentials stolen.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE},
    command::Said,
    manifest::Manifest,
};
use serde_json::json;

use super::{TIME, broad, good, target};

const CREATED: &str = "hallpass-revocations-created";
const DELETED: &str = "hallpass-revocations-deleted";
/// With it the operator has every right, so that the policies alone are in its way.
const EVERY_RIGHT: &str = "system:masters";

fn operator() -> String {
    format!("system:serviceaccount:{RELEASE}:hallpass")
}

/// What it is for.
fn of_one_token() -> Manifest {
    target(json!({"tokenID": "a"}))
        .with("/metadata/name", json!("token-a"))
        .with("/spec/ttlSecondsAfterExpired", json!(60))
}

#[tokio::test]
async fn t25_the_operator_revokes_one_token_for_a_while_and_nothing_else() -> Result<()> {
    let cluster = Cluster::shared("revoking").await?;
    let operator = operator();
    let revoked = of_one_token().with("/spec/effect", json!("Revoke"));
    for good in [of_one_token(), revoked] {
        let created = cluster.create(&good).by(&operator, &[]);
        created.accepted().await.context("what it is for")?;
    }
    let target = "/spec/target";
    let every = "Hallpass revokes single tokens only, by their tokenID";
    let locked = of_one_token().with("/spec/effect", json!("Lock"));
    for (bad, why) in [
        (of_one_token().with(target, json!({"pod": "a"})), every),
        (
            of_one_token().with(target, json!({"serviceAccount": "a"})),
            every,
        ),
        (
            locked.with(target, json!({"policy": "a"})),
            "Hallpass locks nobody",
        ),
        (
            of_one_token().without("/spec/ttlSecondsAfterExpired"),
            "Hallpass writes only TokenRevocations that are deleted once they have expired, by ttlSecondsAfterExpired",
        ),
        (
            of_one_token().with("/metadata/name", json!("orders")),
            "Hallpass writes only TokenRevocations whose names begin with token-",
        ),
    ] {
        let created = cluster.create(&bad).by(&operator, &[]);
        created.refused_by(CREATED, &[why]).await.context(why)?;
    }

    let wide = broad()
        .with(target, json!({"tokenID": "a"}))
        .with("/metadata/name", json!("token-a"))
        .with("/spec/ttlSecondsAfterExpired", json!(60));
    let unasked = cluster.create(&wide).by(&operator, &[]).refused().await?;
    let right = "cannot create resource \"clustertokenrevocations\"";
    ensure!(unasked.message.contains(right), "{unasked:?}");
    let created = cluster.create(&wide).by(&operator, &[EVERY_RIGHT]);
    let why = "Hallpass writes no ClusterTokenRevocation";
    created.refused_by(CREATED, &[why]).await
}

#[tokio::test]
async fn t21_the_operator_deletes_what_has_expired_and_asked_for_it_and_nothing_else() -> Result<()>
{
    let cluster = Cluster::shared("unrevoking").await?;
    // it is seen by the whole cluster: under a name and with a target of its own
    let name = &cluster.namespace;
    let wide = broad().with("/metadata/name", json!(name));
    let wide = wide.with("/spec/target/namespace", json!(name));
    let outcome = async {
        for (resource, revocation) in [
            ("tokenrevocation.hallpass.dev/orders", good()),
            (
                &*format!("clustertokenrevocation.hallpass.dev/{name}"),
                wide,
            ),
        ] {
            is_kept_until_it_may_go(&cluster, resource, &revocation)
                .await
                .with_context(|| resource.to_owned())?;
        }
        Ok(())
    };
    let outcome = outcome.await;
    let delete = [
        "delete",
        "--ignore-not-found",
        "clustertokenrevocation",
        name,
    ];
    cluster.kubectl(&delete).await?.success()?;
    outcome
}

/// What is to have expired was over long ago, so that whoever reports on it says the same.
async fn is_kept_until_it_may_go(
    cluster: &Cluster,
    resource: &str,
    revocation: &Manifest,
) -> Result<()> {
    let ttl = "/spec/ttlSecondsAfterExpired";
    let old = revocation
        .clone()
        .with("/spec/issuedBefore", json!("2020-01-01T00:00:00Z"));
    let young = revocation.clone().with(ttl, json!(31_536_000));

    cluster.apply(&young.to_string()).await?;
    let unexpired = "Hallpass deletes no revocation that has not expired";
    is_refused(
        by_operator(cluster, &["delete", resource]).await?,
        DELETED,
        unexpired,
    )?;
    says_expired(cluster, resource, "False").await?;
    is_refused(
        by_operator(cluster, &["delete", resource]).await?,
        DELETED,
        unexpired,
    )?;
    let anew = by_operator(cluster, &["annotate", resource, "a=b"]).await?;
    is_refused(anew, CREATED, "Hallpass ")?;
    cluster.kubectl(&["delete", resource]).await?.success()?;

    cluster.apply(&old.to_string()).await?;
    says_expired(cluster, resource, "True").await?;
    let unasked =
        "Hallpass deletes no revocation that does not ask for it by ttlSecondsAfterExpired";
    is_refused(
        by_operator(cluster, &["delete", resource]).await?,
        DELETED,
        unasked,
    )?;
    cluster.kubectl(&["delete", resource]).await?.success()?;

    let asked = old.with(ttl, json!(31_536_000));
    cluster.apply(&asked.to_string()).await?;
    says_expired(cluster, resource, "True").await?;
    let gone = by_operator(cluster, &["delete", resource]).await?;
    gone.success().context("what it is for")?;
    cluster.kubectl(&["delete", resource]).await?.success()?;

    let endless = asked.with("/spec/effect", json!("Lock"));
    cluster.apply(&endless.to_string()).await?;
    says_expired(cluster, resource, "True").await?;
    is_refused(
        by_operator(cluster, &["delete", resource]).await?,
        DELETED,
        "Hallpass deletes no lock without an end",
    )?;
    cluster.kubectl(&["delete", resource]).await?.success()?;
    Ok(())
}

/// Tries that in the operator's name; nothing is changed. The right to do it is its own for a deletion.
async fn by_operator(cluster: &Cluster, what: &[&str]) -> Result<Said> {
    let operator = format!("--as={}", operator());
    let masters = format!("--as-group={EVERY_RIGHT}");
    let mut who = vec!["--dry-run=server", &operator];
    if what.first() != Some(&"delete") {
        who.push(&masters);
    }
    cluster.kubectl(&[what, &who].concat()).await
}

fn is_refused(said: Said, policy: &str, why: &str) -> Result<()> {
    let said = said.failure()?;
    let by = format!("ValidatingAdmissionPolicy '{policy}'");
    ensure!(said.contains(&by) && said.contains(why), "{why}: {said}");
    Ok(())
}

async fn says_expired(cluster: &Cluster, resource: &str, status: &str) -> Result<()> {
    let condition = json!({
        "type": "Expired", "status": status, "reason": "Expired", "message": "a", "lastTransitionTime": TIME,
    });
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    let args = [
        "patch",
        resource,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    cluster.kubectl(&args).await?.success()?;
    Ok(())
}
