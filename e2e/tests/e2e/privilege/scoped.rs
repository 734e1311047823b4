//! The right to mint, in some namespaces alone.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE, checkout},
    command::run,
    wait::until,
};

use super::{Allowed, NoRight, Place, Row, judge, mints::mints, operator};

const SECONDS: Duration = Duration::from_secs(30);

async fn helm(args: &[&str]) -> Result<()> {
    let said = run("helm", &[args, &["-n", RELEASE]].concat(), None).await?;
    said.success().map(drop)
}

/// The first row of what it mints is what it is for.
fn minting(place: &Place) -> Result<Row> {
    let row = mints(place).into_iter().next();
    row.context("what it is for")
}

#[tokio::test]
async fn t25_the_operator_mints_in_the_namespaces_that_are_listed_and_nowhere_else() -> Result<()> {
    let cluster = Cluster::alone("listed").await?;
    let other = cluster.beside("unlisted").await?;
    let (here, there) = (Place::find(&cluster).await?, Place::find(&other).await?);
    let chart = checkout().join("charts/hallpass");
    let chart = chart.to_str().context("a path in UTF-8")?;
    let listed = format!("rbac.tokenRequest.namespaces={{{}}}", cluster.namespace);
    let upgrade = [
        "upgrade",
        "hallpass",
        chart,
        "--reuse-values",
        "--set",
        &listed,
    ];
    helm(&upgrade).await?;
    let outcome = minted(&[(&cluster, &here, true), (&other, &there, false)]).await;
    helm(&["rollback", "hallpass"]).await?;
    outcome?;
    minted(&[(&cluster, &here, true), (&other, &there, true)]).await
}

/// Whether it may mint in each of these namespaces, as soon as the API server has read the bindings.
async fn minted(places: &[(&Cluster, &Place, bool)]) -> Result<()> {
    let user = operator();
    for (cluster, place, may) in places {
        let (what, attempt, _) = minting(place)?;
        let expected = if *may { Allowed } else { NoRight };
        let rows = [(what, attempt, expected)];
        until(SECONDS, "the bindings are in force", || {
            judge(cluster, &user, &rows)
        })
        .await?;
    }
    Ok(())
}
