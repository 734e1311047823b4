//! The right to evict pods, where the chart gives it.

use std::time::Duration;

use anyhow::Result;
use hallpass_e2e::{
    attempt::Attempt,
    cluster::{Cluster, upgrade},
    wait::until,
};
use serde_json::{Value, json};

use super::{Allowed, NoRight, NoRightAndPolicy, Place, Policy, Row, judge, operator};

const POLICY: &str = "hallpass-evictions";
const SECONDS: Duration = Duration::from_secs(30);

/// Without `injection.evictUninjected`: there is no right, and the policy is in force all the same.
pub(super) fn rows(place: &Place) -> Vec<Row> {
    let refused = refused(place).into_iter();
    let refused =
        refused.map(|(what, attempt, why)| (what, attempt, NoRightAndPolicy(POLICY, why)));
    refused
        .chain([("evicts a pod", evicts(place), NoRight)])
        .collect()
}

#[tokio::test]
async fn t25_the_operator_evicts_the_pod_that_it_has_seen_and_only_where_that_is_asked_for()
-> Result<()> {
    let cluster = Cluster::alone("evicts").await?;
    let place = Place::find(&cluster).await?;
    upgrade("injection.evictUninjected=true").await?;
    let judged = with_the_right(&cluster, &place).await;
    // as it was for the other tests, whatever came of it
    upgrade("injection.evictUninjected=false").await?;
    judged?;
    until(SECONDS, "the right is gone", || {
        let (cluster, rows) = (&cluster, rows(&place));
        async move { judge(cluster, &operator(), &rows).await }
    })
    .await
}

async fn with_the_right(cluster: &Cluster, place: &Place) -> Result<()> {
    let may = [("evicts a pod", evicts(place), Allowed)];
    until(SECONDS, "the right is in force", || {
        let may = &may;
        async move { judge(cluster, &operator(), may).await }
    })
    .await?;
    let refused = refused(place).into_iter();
    let refused = refused.map(|(what, attempt, why)| (what, attempt, Policy(POLICY, why)));
    judge(cluster, &operator(), &refused.collect::<Vec<_>>()).await
}

/// What it is for.
fn evicts(place: &Place) -> Attempt {
    let seen = json!({"preconditions": {"uid": place.pod["uid"]}});
    Attempt::post(&place.core("pods/app/eviction"), eviction(&seen))
}

/// What the policy refuses, and why.
fn refused(place: &Place) -> [(&'static str, Attempt, &'static str); 5] {
    let here = place.core("pods/app/eviction");
    let system = "/api/v1/namespaces/kube-system/pods/app/eviction";
    let uid = &place.pod["uid"];
    let seen = json!({"preconditions": {"uid": uid}});
    [
        (
            "evicts whatever has that name",
            Attempt::post(&here, eviction(&Value::Null)),
            "by its uid",
        ),
        (
            "evicts what was seen in that state",
            Attempt::post(
                &here,
                eviction(&json!({"preconditions": {"resourceVersion": "1"}})),
            ),
            "by its uid",
        ),
        (
            "evicts at once",
            Attempt::post(
                &here,
                eviction(&json!({"preconditions": {"uid": uid}, "gracePeriodSeconds": 0})),
            ),
            "end in its own time",
        ),
        (
            "has whatever deletes it wait for others",
            Attempt::post(
                &here,
                eviction(
                    &json!({"preconditions": {"uid": uid}, "propagationPolicy": "Foreground"}),
                ),
            ),
            "in its own time and way",
        ),
        (
            "evicts in kube-system",
            Attempt::post(system, eviction(&seen)),
            "where none is injected",
        ),
    ]
}

fn eviction(options: &Value) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "app"}, "deleteOptions": options,
    })
}
