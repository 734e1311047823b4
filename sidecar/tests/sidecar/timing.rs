//! Clocks that are wrong, and machines that sleep.

use std::time::Duration;

use jiff::Timestamp;

use crate::support::{Plan, Pod, clock::TestClock, eventually, operator::problem, pass, read};

const STEP: Duration = Duration::from_secs(15);

/// Reads the token, which must be valid by the true time.
async fn valid(pod: &Pod, case: &str) -> Timestamp {
    let answer = pod.get("/v1/tokens/vault").await;
    assert_eq!(answer.status, 200, "{case}: {}", answer.body);
    let expires_at = answer.json()["expires_at"].as_str().unwrap().parse();
    let expires_at: Timestamp = expires_at.unwrap();
    assert!(pod.clock.now() < expires_at, "{case}: an expired token");
    expires_at
}

/// The token is replaced in time and served for as long as it is valid, and no longer, while `wrong` is
/// done to the wall clock before each step.
async fn holds(case: &str, wrong: impl Fn(&TestClock, u32)) {
    let plan = Plan::default();
    wrong(&plan.clock, 0);
    let pod = Pod::planned(plan, |operator| operator.assign("vault", "a", 600)).await;
    for step in 1..=60 {
        valid(&pod, case).await;
        wrong(&pod.clock, step);
        pass(STEP).await;
    }
    let refreshes = pod.operator.asked("/v1/tokens").len();
    assert_eq!(refreshes, 3, "{case}: at 300 s, and at 65 % of the next");
    pod.operator.away(true);
    let mut last = valid(&pod, case).await;
    let mut step = 61;
    while pod.get("/v1/tokens/vault").await.status == 200 {
        last = valid(&pod, case).await;
        wrong(&pod.clock, step);
        pass(Duration::from_secs(1)).await;
        step += 1;
    }
    let early = last.duration_since(pod.clock.now()).as_secs();
    assert!(early <= 1, "{case}: {early} s were left");
}

#[tokio::test(start_paused = true)]
async fn f06_a_wall_clock_that_is_off_fails_no_read_and_serves_nothing_expired() {
    for off in [-600, -30, 30, 600] {
        holds(&format!("{off} s"), |clock, _| clock.set_off(off)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn f06_a_wall_clock_that_jumps_runs_fast_or_stops_fails_no_read_and_serves_nothing_expired() {
    holds("jumps", |clock, step| {
        clock.set_off([0, 600, -600, 86_400][step as usize % 4]);
    })
    .await;
    holds("runs fast", |clock, step| clock.set_off(i64::from(step))).await;
    holds("stops", |clock, step| {
        if step == 3 {
            clock.stop();
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn f07_a_machine_that_resumes_asks_at_once_and_serves_nothing_expired() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pod.clock.suspend(Duration::from_secs(3_600));
    // No timer of the runtime runs from here on: the clock of the tests stands still.
    eventually("replaced", async || {
        pod.state("vault").await == "fresh" && read(&pod.file("app", "vault")) == "planted.vault.2"
    })
    .await;
    valid(&pod, "resumed").await;
}

#[tokio::test(start_paused = true)]
async fn f07_after_a_suspend_expiry_is_judged_by_the_read_and_not_by_a_timer() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pod.operator.away(true);
    pod.clock.suspend(Duration::from_secs(601));
    let answer = pod.get("/v1/tokens/vault").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "Expired"));
    eventually("the file is gone", async || {
        !pod.file("app", "vault").exists()
    })
    .await;
}

/// The value of a metric, as its line tells it.
async fn metric(pod: &Pod, name: &str) -> f64 {
    let text = pod.get("/metrics").await.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.ok_or_else(|| format!("no {name} in\n{text}"));
    value.unwrap().trim().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn f06_the_skew_and_each_jump_of_the_wall_clock_are_in_the_metrics() {
    let plan = Plan::default();
    plan.clock.set_off(600);
    let pod = Pod::planned(plan, |operator| operator.assign("vault", "a", 600)).await;
    pod.token("vault").await;
    let skew = async || metric(&pod, "hallpass_sidecar_clock_skew_seconds").await;
    let jumps = async || metric(&pod, "hallpass_sidecar_clock_jumps_total").await;
    assert_eq!((skew().await, jumps().await), (599.5, 0.0));
    let within = metric(&pod, "hallpass_sidecar_clock_skew_uncertainty_seconds").await;
    assert_eq!(within, 0.5, "the date has whole seconds");

    pod.clock.set_off(-600);
    pod.token("vault").await;
    assert_eq!((skew().await, jumps().await), (-600.5, 1.0));
    pass(Duration::from_secs(40)).await;
    assert_eq!(
        (skew().await, jumps().await),
        (-600.5, 1.0),
        "and as told anew"
    );
}

#[tokio::test(start_paused = true)]
async fn f07_a_machine_that_was_stopped_from_outside_serves_nothing_expired_once_its_clock_is_set()
{
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pod.operator
        .refuse("vault", problem("NotSynced", 503, "starting"));
    // Nothing here has counted that time, and then the wall clock is set.
    pod.clock.stop_machine(Duration::from_secs(700));
    pod.get("/v1/tokens/vault").await;
    eventually("expired", async || pod.state("vault").await == "expired").await;
    pod.operator.relent("vault");
    pass(Duration::from_secs(11)).await;
    valid(&pod, "set").await;
}
