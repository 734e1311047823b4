//! What outlives a killed sidecar.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::support::{
    Plan, Pod,
    clock::TestClock,
    eventually,
    operator::{FakeOperator, problem},
    pass,
    program::{Library, Program},
    read,
};

/// A pod with a cache.
async fn cached() -> Pod {
    let plan = Plan {
        cached: true,
        ..Plan::default()
    };
    Pod::planned(plan, |operator| operator.assign("vault", "a", 600)).await
}

/// The cache as its digest says it should be.
fn sealed(body: &str) -> String {
    let rest = format!("\n{body}");
    let sum = digest(&SHA256, rest.as_bytes());
    let sum: String = sum.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    sum + &rest
}

fn document(file: &Path) -> Value {
    let text = read(file);
    let (_, body) = text.split_once('\n').unwrap();
    assert_eq!(sealed(body), text);
    serde_json::from_str(body).unwrap()
}

async fn errors(pod: &Pod) -> String {
    let metrics = pod.get("/metrics").await.body;
    let name = "hallpass_sidecar_cache_errors_total ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn f19_a_killed_sidecar_serves_at_once_what_is_valid_while_the_operator_is_away() {
    let mut pod = cached().await;
    pod.token("vault").await;
    pod.kill().await;
    pod.operator.away(true);
    pass(Duration::from_secs(100)).await;
    let again = pod.again().await;
    // The clock stands still: nobody has waited for anything.
    assert_eq!(again.token("vault").await, "planted.vault.1");
    assert_eq!(again.get("/readyz").await.status, 200, "the startup probe");
    let left = again.get("/v1/tokens/vault").await.json()["expires_in"].clone();
    assert_eq!(left, 499);
    assert_eq!(read(&again.file("app", "vault")), "planted.vault.1");

    again.operator.away(false);
    pass(Duration::from_secs(10)).await;
    eventually("polled", async || {
        again.operator.asked("/v1/assignments").len() == 2
    })
    .await;
    let polled = again.operator.asked("/v1/assignments");
    assert_eq!(polled[1].status, 304, "it knows what it is to hold");
    assert_eq!(
        again.operator.asked("/v1/tokens").len(),
        1,
        "no token is due"
    );
    pass(Duration::from_secs(240)).await;
    eventually("replaced", async || {
        again.token("vault").await == "planted.vault.2"
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn f19_what_is_past_its_time_never_comes_out_of_the_cache() {
    let mut pod = cached().await;
    pod.token("vault").await;
    pod.kill().await;
    pod.operator.away(true);
    pod.clock.suspend(Duration::from_secs(599));
    pod.clock.set_off(-3_600);
    let again = pod.again().await;
    assert_eq!(again.get("/readyz").await.status, 503);
    assert!(!again.file("app", "vault").exists());
    let reading = async { again.get("/v1/tokens/vault").await };
    let (answer, ()) = tokio::join!(reading, pass(Duration::from_secs(11)));
    assert_eq!((answer.status, answer.code().as_str()), (503, "Pending"));
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_the_sidecars_alone_and_follows_what_is_held() {
    let pod = cached().await;
    pod.token("vault").await;
    let file = pod.cache();
    let mode = || file.metadata().unwrap().permissions().mode() & 0o7777;
    eventually("written", async || file.exists()).await;
    assert_eq!(mode(), 0o600);
    let tokens = || document(&file)["tokens"].as_array().unwrap().len();
    assert_eq!(tokens(), 1);
    pod.operator.unassign("vault");
    pass(Duration::from_secs(33)).await;
    eventually("gone", async || tokens() == 0).await;
    assert_eq!(document(&file)["assignments"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn f08_a_cache_that_cannot_be_written_costs_nobody_a_token_and_is_tried_again() {
    let pod = cached().await;
    pod.token("vault").await;
    let file = pod.cache();
    eventually("written", async || file.exists()).await;
    assert_eq!(errors(&pod).await, "0");
    let blocked = file.with_file_name(".tokens.json.new");
    fs::create_dir(&blocked).unwrap();
    pod.operator.assign("bank", "b", 600);
    pass(Duration::from_secs(33)).await;
    eventually("served", async || pod.state("bank").await == "fresh").await;
    assert_eq!(errors(&pod).await, "2", "the assignment and the token");
    fs::remove_dir(&blocked).unwrap();
    pass(Duration::from_secs(34)).await;
    eventually("written again", async || {
        document(&file)["tokens"].as_array().unwrap().len() == 2
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn f08_a_cache_that_is_not_ours_whole_and_regular_is_passed_over_and_replaced() {
    let mut pod = cached().await;
    pod.token("vault").await;
    let file = pod.cache();
    eventually("written", async || file.exists()).await;
    let good = fs::read(&file).unwrap();
    let mut other = document(&file);
    other["pod"] = json!("another");
    let mut torn = good.clone();
    *torn.last_mut().unwrap() = 0;
    let elsewhere = pod.directory.path().join("elsewhere");
    fs::write(&elsewhere, &good).unwrap();
    let bad: [(&str, &dyn Fn()); 8] = [
        ("empty", &|| fs::write(&file, "").unwrap()),
        ("truncated", &|| {
            fs::write(&file, &good[..good.len() / 2]).unwrap()
        }),
        ("torn", &|| fs::write(&file, &torn).unwrap()),
        ("newer", &|| {
            fs::write(&file, sealed(r#"{"version":2}"#)).unwrap()
        }),
        ("another pod's", &|| {
            fs::write(&file, sealed(&other.to_string())).unwrap()
        }),
        ("too large", &|| {
            fs::write(&file, sealed(&" ".repeat(256 * 1024))).unwrap()
        }),
        ("a link", &|| symlink(&elsewhere, &file).unwrap()),
        ("a directory", &|| fs::create_dir(&file).unwrap()),
    ];
    for (issued, (case, write)) in (2..).zip(bad) {
        pod.kill().await;
        fs::remove_file(&file).unwrap();
        write();
        pod = pod.again().await;
        let token = pod.token("vault").await;
        assert_eq!(token, format!("planted.vault.{issued}"), "{case}");
        let replaced = async || file.symlink_metadata().is_ok_and(|m| m.is_file());
        eventually(case, replaced).await;
        eventually(case, async || read(&file).contains(&token)).await;
        document(&file);
    }
    assert_eq!(
        fs::read(&elsewhere).unwrap(),
        good,
        "nothing was written through the link"
    );
}

#[tokio::test]
async fn f08_a_cache_that_is_passed_over_costs_one_line_of_the_log() {
    let clock = TestClock::new();
    let operator = FakeOperator::start(clock.clone()).await;
    operator.assign("vault", "a", 600);
    let library = Library::compile();
    let bad: [(&str, Put); 3] = [
        ("empty", |file| fs::write(file, "").unwrap()),
        ("torn", |file| fs::write(file, sealed("{}") + "!").unwrap()),
        ("a directory", |file| fs::create_dir(file).unwrap()),
    ];
    for (issued, (case, write)) in (1..).zip(bad) {
        let mut program = Program::new(&library, &operator, clock.clone());
        write(&program.cache());
        program.start();
        replaced(&program, &format!("planted.vault.{issued}")).await;
        let log = program.log();
        let lines = log.lines().filter(|line| line.contains("cache"));
        let lines: Vec<Value> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
        let said: Vec<_> = lines
            .iter()
            .map(|line| &line["fields"]["message"])
            .collect();
        assert_eq!(said, ["cache ignored"], "{case}: {log}");
    }
}

/// Puts something at a path.
type Put = fn(&Path);

/// Waits until that token is in the cache.
async fn replaced(program: &Program, token: &str) {
    let mut beat = interval(Duration::from_millis(10));
    let since = Instant::now();
    while !program.keeps(token) {
        beat.tick().await;
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "{}",
            program.log()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_audience_has_changed_meanwhile_goes_with_the_first_poll() {
    let mut pod = cached().await;
    pod.token("vault").await;
    eventually("written", async || pod.cache().exists()).await;
    pod.kill().await;
    pod.operator.assign("vault", "https://other.example", 600);
    pod.operator
        .refuse("vault", problem("NotSynced", 503, "starting"));
    let again = pod.again().await;
    eventually("replaced", async || again.state("vault").await == "pending").await;
    assert!(!again.file("app", "vault").exists());
}
