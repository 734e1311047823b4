//! Replicas of the operator, those that do not answer among them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    net::TcpListener,
    time::{Instant, advance, interval},
};

use crate::support::{
    Plan, Pod,
    clock::TestClock,
    eventually,
    operator::{FakeOperator, problem},
    pass,
    program::{Library, Program},
    read,
};

/// A pod that knows of both replicas; the first one is stopped where that is so.
async fn pod(stopped: bool) -> Pod {
    let plan = Plan {
        replicas: true,
        ..Plan::default()
    };
    Pod::planned(plan, |operator| {
        operator.assign("vault", "a", 600);
        operator.stop(0, stopped);
    })
    .await
}

async fn hedges(pod: &Pod) -> String {
    let metrics = pod.get("/metrics").await.body;
    let name = "hallpass_sidecar_hedges_total ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().to_owned()
}

fn replicas(pod: &Pod, path: &str) -> Vec<usize> {
    let asked = pod.operator.asked(path).into_iter();
    asked.map(|asked| asked.replica).collect()
}

#[tokio::test(start_paused = true)]
async fn f21_an_operator_that_has_addresses_of_ipv6_alone_is_reached() {
    let plan = Plan {
        replicas: true,
        ..Plan::default()
    };
    let address = Ipv6Addr::LOCALHOST.into();
    let operator = FakeOperator::at(address, plan.clock.clone(), Timestamp::UNIX_EPOCH).await;
    operator.assign("vault", "https://vault.example", 600);
    let pod = Pod::beside(operator, plan).await;
    assert_eq!(pod.token("vault").await, "planted.vault.1");
}

#[tokio::test]
async fn f21_a_name_with_a_dead_address_of_one_family_is_reached_over_the_other_before_the_dead_one_is_given_up()
 {
    let (v4, v6): (IpAddr, IpAddr) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    for [live, dead] in [[v4, v6], [v6, v4]] {
        let clock = TestClock::new();
        let (operator, _dead) = FakeOperator::half_dead(clock.clone(), [live, dead]).await;
        operator.assign("vault", "a", 600);
        let library = Library::compile();
        let mut program = Program::new(&library, &operator, clock);
        program.ask_name([dead, live], operator.replicas()[0].port());
        program.start();
        let mut beat = interval(Duration::from_millis(10));
        let begins = Instant::now();
        while !program.socket().exists() {
            beat.tick().await;
            let waited = begins.elapsed();
            assert!(waited < Duration::from_secs(30), "{}", program.log());
        }
        let began = Instant::now();
        while !program.file("vault").exists() {
            beat.tick().await;
            let waited = began.elapsed();
            // Of two addresses each has half of the five seconds that connecting may take.
            assert!(waited < Duration::from_secs(2), "{dead}: {}", program.log());
        }
        assert_eq!(read(&program.file("vault")), "planted.vault.1");
    }
}

#[tokio::test(start_paused = true)]
async fn f09_a_stopped_replica_costs_a_third_of_a_second() {
    let pod = pod(true).await;
    pass(Duration::from_millis(299)).await;
    assert_eq!(pod.operator.asked("/v1/assignments"), []);
    pass(Duration::from_millis(2)).await;
    // The clock stands still from here on: the tokens are asked for where the assignments came from.
    assert_eq!(pod.token("vault").await, "planted.vault.1");
    assert_eq!(replicas(&pod, "/v1/assignments"), [1]);
    assert_eq!(replicas(&pod, "/v1/tokens"), [1]);
    assert_eq!(hedges(&pod).await, "1");
}

#[tokio::test(start_paused = true)]
async fn f10_a_connection_that_falls_silent_costs_a_third_of_a_second() {
    let plan = Plan {
        replicas: true,
        ..Plan::default()
    };
    let pod = Pod::planned(plan, |operator| {
        operator.assign("vault", "a", 600);
        operator.silence(0);
    })
    .await;
    // The assignments came, and on the same connection nothing comes any more.
    eventually("asked", async || pod.operator.unanswered() == 1).await;
    pass(Duration::from_millis(301)).await;
    assert_eq!(pod.token("vault").await, "planted.vault.1");
    assert_eq!(replicas(&pod, "/v1/assignments"), [0]);
    assert_eq!(replicas(&pod, "/v1/tokens"), [1]);
    assert_eq!(hedges(&pod).await, "1");
}

#[tokio::test]
async fn f10_a_replica_that_falls_silent_behind_the_service_is_not_the_only_one_that_is_asked() {
    let clock = TestClock::new();
    let operator = FakeOperator::on_one_port(clock.clone()).await;
    operator.assign("vault", "a", 600);
    operator.silence(0);
    let library = Library::compile();
    let mut program = Program::new(&library, &operator, clock);
    // Its own address is the first one of the name, and nothing says that the Service led there too.
    program.ask(operator.service().await, operator.replicas());
    program.start();
    let mut beat = interval(Duration::from_millis(10));
    let mut asked = None;
    while !program.file("vault").exists() {
        beat.tick().await;
        if operator.unanswered() > 0 {
            let asked = asked.get_or_insert_with(Instant::now);
            let waited = asked.elapsed();
            assert!(waited < Duration::from_secs(5), "{}", program.log());
        }
    }
    assert_eq!(read(&program.file("vault")), "planted.vault.1");
    let answered = operator.asked("/v1/tokens");
    let answered: Vec<_> = answered.iter().map(|asked| asked.replica).collect();
    assert_eq!(answered, [1]);
}

#[tokio::test]
async fn f10_a_replica_that_cannot_answer_is_passed_over_where_a_third_one_can() {
    for refusal in [
        problem("NotSynced", 503, "starting"),
        problem("Internal", 500, "a fault"),
    ] {
        let clock = TestClock::new();
        let operator = FakeOperator::on_one_port(clock.clone()).await;
        operator.assign("vault", "a", 600);
        operator.refuse_at(0, refusal);
        // The kernel connects whoever asks, and nobody answers.
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let library = Library::compile();
        let mut program = Program::new(&library, &operator, clock);
        program.ask(silent.local_addr().unwrap(), operator.replicas());
        program.start();
        let began = Instant::now();
        let mut beat = interval(Duration::from_millis(10));
        while !program.file("vault").exists() {
            beat.tick().await;
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(12), "{}", program.log());
        }
        assert_eq!(read(&program.file("vault")), "planted.vault.1");
    }
}

#[tokio::test(start_paused = true)]
async fn f09_where_every_replica_is_stopped_what_is_valid_is_served_and_each_is_asked_once_at_a_time()
 {
    let pod = pod(false).await;
    pod.token("vault").await;
    pod.operator.stop(0, true);
    pod.operator.stop(1, true);
    for _ in 0..30 {
        pass(Duration::from_secs(10)).await;
        assert_eq!(pod.token("vault").await, "planted.vault.1");
    }
    let connected = pod.operator.held();
    let without = connected[0] - connected[1];
    assert!(without <= 1, "one hedge for each request: {connected:?}");
    pod.operator.stop(0, false);
    pod.operator.stop(1, false);
    pass(Duration::from_secs(40)).await;
    eventually("fresh", async || pod.state("vault").await == "fresh").await;
}

/// Claims that the refresh of a token that lives so long, at half of its life, is asked of another replica
/// after that time without an answer, and not before.
async fn refresh_is_asked_again_after(life: u32, wait: Duration) {
    let plan = Plan {
        replicas: true,
        ..Plan::default()
    };
    let pod = Pod::planned(plan, |operator| operator.assign("vault", "a", life)).await;
    pod.token("vault").await;
    pod.operator.silence(0);
    pass(Duration::from_secs(u64::from(life) / 2 - 1)).await;
    assert_eq!(pod.operator.unanswered(), 0, "{life}");
    advance(Duration::from_secs(1)).await;
    eventually("asked", async || pod.operator.unanswered() == 1).await;
    advance(wait - Duration::from_millis(1)).await;
    assert_eq!(hedges(&pod).await, "0", "{life}");
    pass(Duration::from_millis(2)).await;
    eventually("answered", async || replicas(&pod, "/v1/tokens") == [0, 1]).await;
    assert_eq!(hedges(&pod).await, "1", "{life}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_a_minute_left_is_asked_of_another_replica_after_a_third_of_a_second() {
    refresh_is_asked_again_after(100, Duration::from_millis(300)).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_more_than_a_minute_left_is_asked_of_another_replica_after_two_seconds() {
    refresh_is_asked_again_after(600, Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_asks_for_a_pause_is_not_asked_over_another_one() {
    let pod = pod(false).await;
    pod.token("vault").await;
    let mut busy = problem("NotSynced", 503, "starting");
    busy["retry_after_seconds"] = serde_json::json!(20);
    pod.operator.refuse_all(Some(busy));
    pass(Duration::from_secs(100)).await;
    eventually("asked", async || {
        pod.operator.asked("/v1/assignments").len() > 3
    })
    .await;
    assert!(!replicas(&pod, "/v1/assignments").contains(&1));
    assert_eq!(hedges(&pod).await, "0");
}
