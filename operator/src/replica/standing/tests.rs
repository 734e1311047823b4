use super::{super::fixture::lease, *};
use crate::{index::listed, telemetry::label::Kind};

/// A replica `a` that knows `b` and `c`, and was last proven current at `start`.
struct Cut {
    standing: Standing,
    start: Instant,
}

fn cut() -> Cut {
    let (standing, start) = (Standing::default(), Instant::now());
    standing.replicas().be("a");
    let leases = ["a", "b", "c"].map(|pod| lease(pod, [0, 0], 0));
    standing.replicas().take(listed(leases), start);
    standing.freshness().stamp(Kind::Pod).proven(start);
    Cut { standing, start }
}

impl Cut {
    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn may_tell(&self, seconds: u64) -> Result<(), Behind> {
        self.standing.may_tell(self.at(seconds))
    }

    fn answers(&self, pod: &str, asked: u64, behind: bool) {
        self.standing.note(pod.into(), self.at(asked), behind);
    }

    fn alone(&self, seconds: u64) -> bool {
        let age = Duration::from_secs(seconds);
        self.may_tell(seconds) == Err(Behind::Alone(age))
    }
}

#[test]
fn decides_while_it_is_current_and_not_before_it_was() {
    let standing = Standing::default();
    assert_eq!(standing.may_tell(Instant::now()), Err(Behind::Unread));
    assert!(standing.is_behind(Instant::now()));
    let cut = cut();
    assert_eq!(cut.may_tell(10), Ok(()));
    assert!(!cut.standing.is_behind(cut.at(10)));
    assert!(cut.standing.is_behind(cut.at(11)));
}

#[test]
fn is_alone_until_every_other_replica_says_that_it_is_behind_too() {
    let cut = cut();
    assert!(cut.alone(12));
    cut.answers("b", 12, true);
    assert!(cut.alone(12), "c may know more");
    cut.answers("c", 12, true);
    assert_eq!(cut.may_tell(12), Ok(()));
    assert_eq!(cut.may_tell(17), Ok(()));
    assert!(cut.alone(18), "an answer counts for 5 s");
    cut.answers("b", 18, true);
    cut.answers("c", 18, true);
    assert_eq!(cut.may_tell(18), Ok(()));
    cut.answers("c", 19, false);
    assert!(cut.alone(19), "c knows more now");
}

#[test]
fn an_answer_of_a_stranger_is_none() {
    let cut = cut();
    cut.answers("b", 12, true);
    cut.answers("d", 12, true);
    assert!(cut.alone(12));
}

#[test]
fn who_lived_no_more_when_the_api_server_was_last_heard_is_not_asked() {
    let cut = cut();
    let (replicas, freshness) = (cut.standing.replicas(), cut.standing.freshness());
    replicas.deliver(lease("b", [0, 0], 5), cut.at(5));
    freshness.stamp(Kind::Pod).proven(cut.at(16));
    cut.answers("b", 30, true);
    assert_eq!(cut.may_tell(30), Ok(()), "c was last renewed 16 s before");
}

#[test]
fn whoever_was_alive_then_is_asked_however_long_ago_that_is() {
    let cut = cut();
    cut.answers("b", 600, true);
    assert!(cut.alone(600));
}

#[test]
fn nobody_else_is_nobody_to_ask_once_the_leases_are_read() {
    let (standing, start) = (Standing::default(), Instant::now());
    let later = start + Duration::from_secs(60);
    standing.freshness().stamp(Kind::Pod).proven(start);
    assert!(matches!(standing.may_tell(later), Err(Behind::Alone(_))));
    standing.replicas().be("a");
    standing
        .replicas()
        .take(listed([lease("a", [0, 0], 0)]), start);
    assert_eq!(standing.may_tell(later), Ok(()));
}

#[test]
fn tells_what_holds_for_a_quarter_of_an_hour_and_says_how_old_it_is() {
    let cut = cut();
    let both = |seconds| {
        cut.answers("b", seconds, true);
        cut.answers("c", seconds, true);
        cut.may_tell(seconds)
    };
    assert_eq!(both(900), Ok(()));
    let refused = both(901).unwrap_err();
    assert_eq!(refused, Behind::TooLong(Duration::from_secs(901)));
    assert!(refused.to_string().contains("is 901 s old"), "{refused}");
}

#[test]
fn f01_issues_for_an_hour_while_no_watch_at_all_is_answered() {
    let cut = cut();
    let both = |seconds| {
        cut.answers("b", seconds, true);
        cut.answers("c", seconds, true);
        cut.standing.may_issue(cut.at(seconds))
    };
    assert_eq!(both(3600), Ok(()));
    let refused = both(3601).unwrap_err();
    assert_eq!(refused, Behind::TooLong(Duration::from_secs(3601)));
    // one watch that is answered, of all: the API server is there
    let other = cut.standing.freshness().stamp(Kind::Namespace);
    other.proven(cut.at(1000));
    let refused = both(1001).unwrap_err();
    assert_eq!(refused, Behind::TooLong(Duration::from_secs(1001)));
    assert_eq!(both(1011), Ok(()), "it fell silent too");
    // however long it might: nobody issues who may be the only one to be cut off
    cut.answers("b", 100, false);
    let alone = cut.standing.may_issue(cut.at(100)).unwrap_err();
    assert!(matches!(alone, Behind::Alone(_)), "{alone}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_reached_is_not_known_to_be_behind() {
    let cut = cut();
    let door = Door::new("hallpass.hallpass-system.svc".into(), || None);
    let metrics = Metrics::new();
    let keys = Freshness::default();
    let stamp = keys.stamp(Kind::SigningKey);
    stamp.proven(Instant::now());
    tokio::spawn(cut.standing.clone().run(door, keys, metrics.clone()));
    cut.answers("b", 0, true);
    cut.answers("c", 0, true);
    sleep(Duration::from_millis(12_500)).await;
    assert!(matches!(
        cut.standing.may_tell(Instant::now()),
        Err(Behind::Alone(_))
    ));
    let text = metrics.encode().unwrap();
    assert!(text.contains("hallpass_state_age_seconds 12\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn f10_signing_keys_that_grow_old_are_shown_and_stop_no_decision() {
    let (standing, keys, metrics) = (Standing::default(), Freshness::default(), Metrics::new());
    keys.stamp(Kind::SigningKey).proven(Instant::now());
    let door = Door::new("hallpass.hallpass-system.svc".into(), || None);
    tokio::spawn(standing.clone().run(door, keys, metrics.clone()));
    let all = standing.freshness().stamp(Kind::Pod);
    for _ in 0..13 {
        all.proven(Instant::now());
        sleep(Duration::from_secs(1)).await;
    }
    let text = metrics.encode().unwrap();
    assert!(text.contains("hallpass_state_age_seconds 12\n"), "{text}");
    assert_eq!(standing.may_tell(Instant::now()), Ok(()));
    assert!(!standing.is_behind(Instant::now()), "to the others");
}
