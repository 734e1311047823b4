use super::*;
use crate::keys::fixture::{Cluster, id, namespace, now, plan, secret};

fn rotator(cluster: &Cluster, tenure: Tenure) -> Rotator {
    Rotator {
        store: Store::new(cluster.client(), &namespace()),
        leader: watch::channel(tenure).1,
        clock: now,
        metrics: Metrics::new(),
    }
}

/// How many writes come of a step that was decided so long ago.
async fn writes(tenure: Tenure, age: Duration) -> usize {
    let cluster = Cluster::new();
    cluster.with(|server| server.put(secret(1, -9000, None)));
    let rotator = rotator(&cluster, tenure);
    let (known, _) = rotator.look(&id(), &mut Shelf::default()).await.unwrap();
    let seen = Instant::now();
    tokio::time::advance(age).await;
    for step in [
        Step::Create {
            number: 2,
            activated: false,
        },
        Step::Activate { number: 1 },
    ] {
        let done = rotator.carry_out(&id(), &plan(), &known, step, seen).await;
        assert!(done.is_ok(), "{done:?}");
    }
    cluster.writes().len()
}

#[tokio::test(start_paused = true)]
async fn a_step_is_done_soon_after_it_was_decided_and_by_the_leader_or_not_at_all() {
    let of = Tenure::of;
    assert_eq!(writes(of(true), Duration::from_secs(4)).await, 2);
    assert_eq!(writes(of(true), Duration::from_secs(6)).await, 0);
    assert_eq!(writes(of(false), Duration::ZERO).await, 0);
}

#[tokio::test(start_paused = true)]
async fn f03_a_leader_whose_tenure_is_over_touches_no_key_although_nobody_told_it() {
    assert_eq!(writes(Tenure::over(), Duration::ZERO).await, 0);
}

#[test]
fn the_next_look_is_never_further_away_than_five_minutes() {
    let of = |seconds: i64| until(Some(now() + SignedDuration::from_secs(seconds)), now());
    assert_eq!(of(7), Duration::from_secs(7));
    assert_eq!(of(3600), FULL);
    assert_eq!(of(-3600), FULL);
    assert_eq!(until(None, now()), FULL);
}
