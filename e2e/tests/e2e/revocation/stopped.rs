//! A replica that stood still while something was revoked, and knows nothing of it when it goes on.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    guard::Token,
    pod::Answer,
    process::Process,
    remark::remark,
    request::Request,
    revocation::{Revocation, token_revocation},
    scene::{
        Scene,
        What::{self, Jwt, Opaque},
        Who::Orders,
    },
    state,
    wait::until,
};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

/// One replica stands still at a time: whoever stops one waits for the other.
static STANDING_STILL: Mutex<()> = Mutex::const_new(());

const ROUNDS: usize = 10;
/// Other tests are served by the same replicas.
const LONGEST: Duration = Duration::from_secs(2);
const WHILE: Duration = Duration::from_secs(20);

/// What a replica did with the requests that it found when it went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It refused.
    Refused,
    /// It issued, and the other replica refuses the token.
    Dead,
    /// It issued, and the token is good: it says that its issuer knew.
    Alive,
}

#[tokio::test]
async fn what_a_replica_issues_without_knowing_of_a_lock_is_refused_by_the_other() -> Result<()> {
    let counts = rounds("stoppedlock", true).await?;
    let alive = counts.get(&Outcome::Alive).copied().unwrap_or_default();
    ensure!(alive == 0, "{counts:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_replica_issues_without_knowing_of_a_revocation_is_refused_by_the_other()
-> Result<()> {
    rounds("stoppedrevoke", false).await?;
    Ok(())
}

async fn rounds(test: &str, locks: bool) -> Result<BTreeMap<Outcome, usize>> {
    let mut counts = BTreeMap::new();
    if state::folder("a replica that stands still").is_none() {
        return Ok(counts);
    }
    let scene = Scene::new(test, ROUNDS).await?;
    let processes = [
        Process::of(&scene.guard.replicas[0]).await?,
        Process::of(&scene.guard.replicas[1]).await?,
    ];
    let mut longest = Duration::ZERO;
    for round in 0..ROUNDS {
        let stopped = round % 2;
        let (answers, (revocation, witness), took) =
            stood_still(&scene, &processes[stopped], stopped, round, locks).await?;
        longest = longest.max(took);
        for (what, answer) in answers {
            let outcome = outcome(&scene, 1 - stopped, what, &answer, &revocation).await?;
            ensure!(
                !locks || outcome != Outcome::Alive,
                "round {round}: a locked pod has a good {what:?}"
            );
            *counts.entry(outcome).or_default() += 1;
        }
        revocation.delete().await?;
        if locks {
            // the next round begins with a token that a lock would refuse, at a replica that may not know yet
            scene
                .guard
                .accepts_soon("without the lock", &witness)
                .await?;
        }
    }
    remark(&format!(
        "a replica that stood still for up to {} ms while the pod was {}, {ROUNDS} times, 2 requests in its sockets each: {counts:?}",
        longest.as_millis(),
        if locks { "locked" } else { "revoked" },
    ));
    Ok(counts)
}

type Answers = Vec<(What, Answer)>;

/// Stops the replica, revokes, and has it go on with two requests that it has not read. Returns a token that
/// was issued before, and how long it stood still, too.
async fn stood_still(
    scene: &Scene,
    process: &Process,
    replica: usize,
    round: usize,
    locks: bool,
) -> Result<(Answers, (Revocation, Token), Duration)> {
    let (guard, row) = (&scene.guard, round.to_string());
    let witness = scene.token(1 - replica, Orders, Jwt, &row).await?;
    guard.accepts("before", &witness).await?;
    let revocation = token_revocation(&format!("round-{round}"), &json!({"pod": "orders"}));
    let revocation = if locks {
        revocation.locking("it stood still")
    } else {
        revocation
    };
    let _alone = STANDING_STILL.lock().await;
    let mut requests = Vec::new();
    for what in [Jwt, Opaque] {
        requests.push((what, Request::prepare(&guard.apis[replica]).await?));
    }
    let since = Instant::now();
    let stopped = process.stop().await?;
    let revocation = scene.shop.revoke(&revocation).await?;
    for (what, request) in &mut requests {
        request
            .tokens(scene.identity(Orders), &what.name(&row))
            .await?;
    }
    // the other one knows; asked once it is in force there
    until(WHILE, "the other replica refuses", || async {
        let said = guard.said(1 - replica, &witness).await?;
        ensure!(said["active"] == false, "{said}");
        Ok(())
    })
    .await?;
    drop(stopped);
    let took = since.elapsed();
    ensure!(took < LONGEST, "it stood still for {took:?}");
    let mut answers = Vec::new();
    for (what, request) in requests {
        answers.push((what, request.answer().await?));
    }
    guard.refused("after it", &witness, Instant::now()).await?;
    Ok((answers, (revocation, witness), took))
}

async fn outcome(
    scene: &Scene,
    other: usize,
    what: What,
    answer: &Answer,
    revocation: &Revocation,
) -> Result<Outcome> {
    let body = answer.json()?;
    let Some(text) = body["tokens"][0]["token"].as_str() else {
        ensure!(
            body.to_string().contains("Locked") || body.to_string().contains("NotSynced"),
            "refused for another reason: {answer:?}"
        );
        return Ok(Outcome::Refused);
    };
    let token = Token {
        text: text.to_owned(),
        path: scene.path(what),
    };
    let said = scene.guard.said(other, &token).await?;
    if said == json!({"active": false}) {
        // so it stays: not even the one that issued it says otherwise any more
        scene
            .guard
            .refuses("issued without knowing", &token)
            .await?;
        return Ok(Outcome::Dead);
    }
    ensure!(said["active"] == true, "{said}");
    let known: &Value = &said["hpe"][0];
    let known = known.as_u64().context("how far its issuer had read")?;
    ensure!(
        known >= revocation.version,
        "its issuer had read up to {known}, and the revocation is {}",
        revocation.version
    );
    Ok(Outcome::Alive)
}
