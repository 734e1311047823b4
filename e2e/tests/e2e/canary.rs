//! A token that was issued is written down nowhere: in no log, event, object, record or database, in no metric, no answer
//! to a request that is refused, and no environment of a process.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hallpass_e2e::{
    caller::Caller,
    cluster::Cluster,
    hay::{Found, Hay, REVIEWS, blocks, blocks_of_opaque, blocks_of_signature},
    manifest::{audience, audience_policy, container_with, pod},
    payments::READ,
    pod::Answer,
    state,
    wait::until,
};
use serde_json::{Value, json};

#[tokio::test]
async fn t36_a_token_is_written_down_nowhere() -> Result<()> {
    let caller = Caller::new("canary").await?;
    let cluster = &caller.cluster;
    let owner = cluster.beside("canary-owner").await?;
    own(cluster, &owner).await?;
    let tokens = tokens(&caller).await?;
    let canaries = plant(cluster).await?;

    let hay = Hay::gather(cluster).await?;
    for (name, refusal) in refused(&caller, &tokens).await? {
        hay.answer(name, &refusal)?;
    }
    found_everywhere(&hay.search(&blocks_of_signature(&canaries[0])?).await?)?;
    found_everywhere(&hay.search(&blocks_of_opaque(&canaries[1])?).await?)?;
    let (mut all, mut signatures) = (Vec::new(), Vec::new());
    for token in tokens.jwts.iter().chain([&caller.identity]) {
        all.extend(blocks(token)?);
        signatures.extend(blocks_of_signature(token)?);
    }
    for token in &tokens.opaque {
        signatures.extend(blocks_of_opaque(token)?);
    }
    let mut found = hay.search(&all).await?;
    // other tokens that are reviewed begin like these
    found.retain(|found| found.source != REVIEWS);
    found.extend(hay.search(&signatures).await?);
    ensure!(
        found.is_empty(),
        "a token was written down: {:?}",
        sources(&found)
    );
    let unexplained: Vec<Found> = hay
        .tokens()
        .await?
        .into_iter()
        .filter(|found| explained(found, &canaries).is_none())
        .collect();
    ensure!(
        unexplained.is_empty(),
        "what looks like a token in {:?}",
        sources(&unexplained)
    );
    Ok(())
}

/// What must be found nowhere.
struct Tokens {
    jwts: Vec<String>,
    opaque: Vec<String>,
}

/// Has the pods of the test have tokens of Hallpass's own too: `payments`, and the opaque `ledger`.
async fn own(cluster: &Cluster, owner: &Cluster) -> Result<()> {
    let mut policy = audience_policy("orders", "payments", &owner.namespace, &[READ])
        .with("/metadata/name", json!("own"));
    for (name, format) in [("payments", "JWT"), ("ledger", "Opaque")] {
        let api = audience(&owner.namespace)
            .with("/metadata/name", json!(name))
            .with(
                "/spec/audience",
                json!(format!("https://{name}.{}.svc", owner.namespace)),
            )
            .with("/spec/format", json!(format))
            .allowing(&cluster.namespace, "orders", &[READ]);
        owner.apply(&api.to_string()).await?;
    }
    let mut ledger = policy.json()["spec"]["tokens"][0].clone();
    ledger["name"] = json!("ledger");
    ledger["audienceRef"]["name"] = json!("ledger");
    policy = policy.with("/spec/tokens/-", ledger);
    cluster.apply(&policy.to_string()).await?;
    Ok(())
}

/// What the pod reads on its socket, and what its identity is given past it.
async fn tokens(caller: &Caller) -> Result<Tokens> {
    let (mut jwts, mut opaque) = (Vec::new(), Vec::new());
    for name in ["vault", "mail", "payments", "ledger"] {
        let minute = Duration::from_secs(60);
        let cluster = &caller.cluster;
        let served = cluster.token_within(minute, "orders", "app", name).await?;
        let asked = [name, "nothing"];
        let fetched = until(minute, "the replica issues it", || async {
            let answer = caller.api.tokens(&caller.identity, &asked).await?;
            let entry = answer.json()?["tokens"][0]["token"].take();
            entry.as_str().map(str::to_owned).context("a token")
        })
        .await?;
        let served = served["access_token"].as_str().context("a token")?;
        let kind = match name {
            "ledger" => &mut opaque,
            _ => &mut jwts,
        };
        kind.extend([served.to_owned(), fetched]);
    }
    let own = opaque.iter().all(|token| token.starts_with("hpo_"));
    ensure!(own, "the token ledger is opaque");
    Ok(Tokens { jwts, opaque })
}

/// What both programs say where a token is in a request that they refuse: it must not be told again.
async fn refused(caller: &Caller, tokens: &Tokens) -> Result<Vec<(&'static str, Answer)>> {
    let mut answers = Vec::new();
    let (jwt, opaque) = (&tokens.jwts[0], &tokens.opaque[0]);
    for (name, token) in [("refusal-jwt", jwt), ("refusal-opaque", opaque)] {
        let answer = caller.api.tokens(token, &["vault"]).await?;
        ensure!(answer.status == 401, "it identifies nobody: {answer:?}");
        answers.push((name, answer));
    }
    let body = format!("names={jwt}");
    let asked = ["-H", &caller.bearer, "-d", &body];
    let answer = caller.api.ask(&asked, "/v1/tokens").await?;
    ensure!(answer.status == 400, "it is no JSON: {answer:?}");
    answers.push(("refusal-body", answer));
    let answer = caller.api.tokens(&caller.identity, &[jwt]).await?;
    ensure!(answer.status == 400, "it is no name: {answer:?}");
    answers.push(("refusal-name", answer));
    Ok(answers)
}

/// Why what looks like a token may be where it was found.
fn explained(found: &Found, canaries: &[String; 2]) -> Option<&'static str> {
    let (planted, _) = canaries[0].rsplit_once('.')?;
    if found.text.starts_with(planted) || found.text.starts_with(OPAQUE) {
        return Some("planted by this test, now or before: it is signed by nobody");
    }
    if found.source == REVIEWS {
        return Some("a TokenReview carries the token that it asks about");
    }
    None
}

/// Puts what looks like tokens of both kinds where the search has to find it; they are none.
async fn plant(cluster: &Cluster) -> Result<[String; 2]> {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = format!("{:032x}", rand::random::<u128>()).repeat(3);
    let jwt = format!(
        "{}.{}.{signature}",
        part(json!({"alg": "none"})),
        part(json!({"sub": "canary"}))
    );
    let opaque = format!("{OPAQUE}{signature}");
    let canary = format!("{jwt} {opaque}");
    let data = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "canary"}, "data": {"canary": canary},
    });
    cluster.apply(&data.to_string()).await?;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "canary"}, "reason": "Canary", "message": canary,
        "involvedObject": {"kind": "ConfigMap", "name": "canary", "namespace": cluster.namespace},
    });
    cluster.apply(&event.to_string()).await?;
    let command = format!("echo {canary}; trap 'exit 0' TERM; while :; do sleep 1; done");
    let app = container_with("app", json!({"command": ["/bin/sh", "-c", command]}));
    cluster
        .start(&pod("canary").with("/spec/containers", json!([app])))
        .await?;
    Ok([jwt, opaque])
}

fn found_everywhere(found: &[Found]) -> Result<()> {
    let mut expected = vec!["pod-canary", "events", "pods"];
    if state::folder("the planted token in etcd and the audit log").is_some() {
        expected.extend(["etcd", "audit"]);
    }
    for source in expected {
        let there = found.iter().any(|found| found.source == source);
        ensure!(
            there,
            "the planted token was not found in {source}: {:?}",
            sources(found)
        );
    }
    Ok(())
}

fn sources(found: &[Found]) -> Vec<&str> {
    let mut sources: Vec<&str> = found.iter().map(|found| found.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// What the planted opaque token begins with.
const OPAQUE: &str = "hpo_canaryaa_";
