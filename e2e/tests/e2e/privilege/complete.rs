//! That nothing was left out: each right of the operator's roles is used, each sentence of its policies is heard.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    attempt::Right,
    cluster::{Cluster, Engine, RELEASE, engine},
    command::kubectl,
};
use serde_json::Value;

use super::{Allowed, Besides, NoRight, NoRightAndPolicy, Place, Policy, Row, operator};

/// The rules of the operator's roles: one that is added is tried, or this fails.
#[tokio::test]
async fn t25_every_right_to_write_of_the_operator_is_tried_and_bounded_by_a_policy() -> Result<()> {
    let cluster = Cluster::shared("rights").await?;
    let rows = rows(&cluster).await?;
    let (mut tried, mut bounded) = (BTreeSet::new(), named(operator::UNBOUND));
    for (_, attempt, expected) in &rows {
        match expected {
            Allowed => drop(tried.insert(attempt.right()?)),
            Policy(..) | NoRightAndPolicy(..) | Besides(..) => {
                bounded.insert(attempt.right()?);
            }
            NoRight => {}
        }
    }
    tried.retain(|right| right.verb != "get");
    let given = given().await?;
    let untried = named(operator::UNTRIED);
    let expected: BTreeSet<_> = given.difference(&untried).cloned().collect();
    assert_eq!(tried, expected);
    let unbounded: Vec<_> = given.difference(&bounded).collect();
    ensure!(unbounded.is_empty(), "nothing bounds {unbounded:?}");
    Ok(())
}

/// The policies that bind the operator: a sentence that is added is heard, or this fails; and what a request is to hear is
/// no other one's sentence too.
#[tokio::test]
async fn t25_every_sentence_of_the_policies_of_the_operator_is_heard() -> Result<()> {
    let cluster = Cluster::shared("sentences").await?;
    let rows = rows(&cluster).await?;
    let reasons: BTreeSet<_> = rows
        .iter()
        .filter_map(|(_, _, expected)| match *expected {
            Policy(policy, why) | NoRightAndPolicy(policy, why) | Besides(policy, why) => {
                Some((policy, why))
            }
            Allowed | NoRight => None,
        })
        .collect();
    let sentences = sentences().await?;
    let policies: BTreeSet<_> = sentences.iter().map(|(policy, _)| policy).collect();
    ensure!(policies.len() >= 10, "{policies:?}");

    let says = |(policy, sentence): &(String, String), (of, why): &(&str, &str)| {
        policy == of && sentence.contains(why)
    };
    let heard = |sentence: &&_| reasons.iter().any(|reason| says(sentence, reason));
    let unheard: Vec<_> = sentences.iter().filter(|said| !heard(said)).collect();
    ensure!(unheard.is_empty(), "no request hears {unheard:?}");
    let of_one = |reason: &&_| sentences.iter().filter(|said| says(said, reason)).count() == 1;
    let unclear: Vec<_> = reasons.iter().filter(|reason| !of_one(reason)).collect();
    ensure!(unclear.is_empty(), "not of one sentence: {unclear:?}");
    Ok(())
}

async fn rows(cluster: &Cluster) -> Result<Vec<Row>> {
    let place = Place::find(cluster).await?;
    let namespace = &cluster.namespace;
    Ok(operator::rows(&place, namespace, "other", engine()?))
}

/// What each of those policies says, by its name.
async fn sentences() -> Result<Vec<(String, String)>> {
    let args = ["get", "validatingadmissionpolicies", "-o", "json"];
    let all: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
    let all = all["items"].as_array().context("a list")?;
    let bind = all
        .iter()
        .filter(|policy| policy["spec"]["matchConditions"][0]["name"] == "by-the-operator");
    let mut sentences = Vec::new();
    for policy in bind {
        let name = policy["metadata"]["name"].as_str().context("a name")?;
        let validations = policy["spec"]["validations"].as_array();
        for validation in validations.context("validations")? {
            let message = validation["message"].as_str().context("a message")?;
            sentences.push((name.to_owned(), message.to_owned()));
        }
    }
    Ok(sentences)
}

fn named(rights: &[(&'static str, &str, &str)]) -> BTreeSet<Right> {
    let rights = rights.iter().map(|(verb, group, resource)| Right {
        verb,
        group: (*group).to_owned(),
        resource: (*resource).to_owned(),
    });
    rights.collect()
}

/// What its roles let the operator write.
async fn given() -> Result<BTreeSet<Right>> {
    let mut given = BTreeSet::new();
    for (kind, name, namespace) in [
        ("clusterrole", "hallpass-operator", ""),
        ("clusterrole", "hallpass-token-request", ""),
        ("role", "hallpass-operator", RELEASE),
        ("role", "hallpass-operator", &format!("{RELEASE}-keys")),
    ] {
        given.extend(writes(kind, name, namespace).await?);
    }
    if engine()? == Engine::Webhook {
        given.extend(writes("clusterrole", "hallpass-webhook", "").await?);
    }
    Ok(given)
}

/// What a role lets somebody write.
async fn writes(kind: &str, name: &str, namespace: &str) -> Result<Vec<Right>> {
    let mut args = vec!["get", kind, name, "-o", "json"];
    if !namespace.is_empty() {
        args.extend(["-n", namespace]);
    }
    let role: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
    let words = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let verbs = ["create", "patch", "update", "delete", "deletecollection"];
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().context("rules")? {
        for verb in verbs
            .iter()
            .filter(|verb| words(&rule["verbs"]).iter().any(|have| have == *verb))
        {
            for group in words(&rule["apiGroups"]) {
                for resource in words(&rule["resources"]) {
                    let group = group.clone();
                    rights.push(Right {
                        verb,
                        group,
                        resource,
                    });
                }
            }
        }
    }
    Ok(rights)
}
