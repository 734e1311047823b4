use futures::FutureExt;
use tokio::time::{advance, sleep};

use super::*;

fn admission() -> Admission {
    Admission::new(Metrics::new(), || 0.5)
}

fn name(text: &str) -> Namespace {
    Namespace::parse(text).unwrap()
}

fn later(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// As many turns as there are at once.
async fn all_turns(admission: &Admission) -> Vec<Turn> {
    let mut turns = vec![];
    for _ in 0..AT_ONCE {
        let turn = admission.turn(&name("shop"), 0, later(1)).now_or_never();
        let turn = turn.unwrap().unwrap();
        assert!(!turn.waited());
        turns.push(turn);
    }
    turns
}

fn shown(admission: &Admission) -> String {
    format!("{admission:?}")
}

#[tokio::test(start_paused = true)]
async fn f11_so_many_at_once_and_no_more() {
    let admission = admission();
    let mut turns = all_turns(&admission).await;
    let shop = name("shop");
    let mut waiting = Box::pin(admission.turn(&shop, 0, later(10)));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(shown(&admission), "Admission { working: 32, waiting: 1 }");
    turns.pop();
    let turn = waiting.await.unwrap();
    assert!(turn.waited());
    assert_eq!(shown(&admission), "Admission { working: 32, waiting: 0 }");
    drop((turns, turn));
    assert_eq!(shown(&admission), "Admission { working: 0, waiting: 0 }");
    let text = admission.0.metrics.encode().unwrap();
    for line in ["hallpass_mints_in_progress 0", "hallpass_mints_waiting 0"] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn f11_whose_turn_does_not_come_is_told_when_to_ask_again() {
    let admission = admission();
    let turns = all_turns(&admission).await;
    let began = Instant::now();
    let refusal = admission
        .turn(&name("shop"), 0, later(7))
        .await
        .err()
        .unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(7));
    assert_eq!(refusal.code, Code::Unavailable);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(6)));
    assert_eq!(shown(&admission), "Admission { working: 32, waiting: 0 }");
    let text = admission.0.metrics.encode().unwrap();
    let line = r#"hallpass_mints_turned_away_total{reason="Waited"} 1"#;
    assert!(text.lines().any(|l| l == line), "{text}");
    drop(turns);
}

#[tokio::test(start_paused = true)]
async fn f11_where_there_is_no_room_nobody_waits() {
    let admission = admission();
    let turns = all_turns(&admission).await;
    let (shop, bank) = (name("shop"), name("bank"));
    let mut waiting = vec![];
    for _ in 0..line::MOST / 2 {
        let mut turn = Box::pin(admission.turn(&shop, 0, later(10)));
        assert!(turn.as_mut().now_or_never().is_none());
        waiting.push(turn);
    }
    let refusal = admission.turn(&shop, 0, later(10)).now_or_never().unwrap();
    assert_eq!(refusal.err().unwrap().code, Code::Unavailable);
    let text = admission.0.metrics.encode().unwrap();
    let line = r#"hallpass_mints_turned_away_total{reason="NoRoom"} 1"#;
    assert!(text.lines().any(|l| l == line), "{text}");
    // Another namespace has its room, and its turn before those.
    let mut other = Box::pin(admission.turn(&bank, 600, later(10)));
    assert!(other.as_mut().now_or_never().is_none());
    let mut turns = turns.into_iter();
    for _ in 0..2 {
        drop(turns.next());
    }
    assert!(other.now_or_never().unwrap().unwrap().waited());
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_one_who_is_gone_is_the_next_ones() {
    let admission = admission();
    let mut turns = all_turns(&admission).await;
    let shop = name("shop");
    let mut first = Box::pin(admission.turn(&shop, 0, later(10)));
    let mut second = Box::pin(admission.turn(&shop, 1, later(10)));
    let mut third = Box::pin(admission.turn(&shop, 2, later(10)));
    for turn in [&mut first, &mut second, &mut third] {
        assert!(turn.as_mut().now_or_never().is_none());
    }
    // The first leaves before its turn, the second while it has come and was not taken.
    drop(first);
    assert_eq!(shown(&admission), "Admission { working: 32, waiting: 2 }");
    turns.pop();
    drop(second);
    let turn = third.now_or_never().unwrap().unwrap();
    drop((turns, turn));
    assert_eq!(shown(&admission), "Admission { working: 0, waiting: 0 }");
}

#[tokio::test(start_paused = true)]
async fn f11_a_storm_is_over_in_the_time_that_its_mints_take() {
    let admission = admission();
    let mint = async |namespace: Namespace| {
        let turn = admission.turn(&namespace, 0, later(10)).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        drop(turn);
        Instant::now()
    };
    let began = Instant::now();
    let storm = (0..1000).map(|n| mint(name(&format!("n-{}", n % 7))));
    let single = async {
        advance(Duration::from_millis(1)).await;
        mint(name("single")).await
    };
    let (storm, single) = futures::future::join(futures::future::join_all(storm), single).await;
    let last = storm.into_iter().max().unwrap();
    assert!(
        last - began <= Duration::from_millis(660),
        "{:?}",
        last - began
    );
    // One that comes into it waits for those that are minted, and then for one of each other namespace.
    assert!(
        single - began <= Duration::from_millis(45),
        "{:?}",
        single - began
    );
}
