use super::*;
use crate::issuer::fixture::{grant_for, now, subject_in};

fn wait(taken: Result<(), Refusal>) -> (Code, Duration) {
    let refusal = taken.unwrap_err();
    (refusal.code, refusal.retry_after.unwrap())
}

fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

#[test]
fn two_at_once_then_one_in_ten_seconds() {
    let (limits, grant) = (
        Limits::default(),
        grant_for(&subject_in("shop", "orders-0"), "vault"),
    );
    limits.take(&grant, now()).unwrap();
    limits.take(&grant, now()).unwrap();
    assert_eq!(
        wait(limits.take(&grant, now())),
        (Code::TooOften, Duration::from_secs(10))
    );
    assert_eq!(
        wait(limits.take(&grant, later(3))),
        (Code::TooOften, Duration::from_secs(7))
    );
    limits.take(&grant, later(10)).unwrap();
    assert_eq!(
        wait(limits.take(&grant, later(10))),
        (Code::TooOften, Duration::from_secs(10))
    );
    limits.take(&grant, later(40)).unwrap();
    limits.take(&grant, later(40)).unwrap();
}

#[test]
fn the_wait_is_told_in_whole_seconds_that_suffice() {
    let (limits, grant) = (
        Limits::default(),
        grant_for(&subject_in("shop", "orders-0"), "vault"),
    );
    limits.take(&grant, now()).unwrap();
    limits.take(&grant, now()).unwrap();
    let early = limits
        .take(&grant, now() + SignedDuration::from_millis(2_500))
        .unwrap_err();
    assert_eq!(early.retry_after_seconds(), Some(8));
    limits
        .take(&grant, now() + SignedDuration::from_millis(10_500))
        .unwrap();
}

#[test]
fn a_pod_that_asked_for_many_names_may_go_on_at_a_pace() {
    let (limits, subject) = (Limits::default(), subject_in("shop", "orders-0"));
    let asks = |names, at| limits.admit(&subject, names, at);
    asks(usize::MAX, now()).unwrap();
    asks(128, now()).unwrap();
    assert_eq!(
        wait(asks(1, now())),
        (Code::TooOften, Duration::from_millis(60))
    );
    asks(16, later(1)).unwrap();
    asks(1, later(1)).unwrap_err();
    asks(1, later(-3600)).unwrap();
    asks(usize::MAX, later(60)).unwrap();
    limits.admit(&subject_in("shop", "b"), 1, now()).unwrap();
}

#[test]
fn each_token_of_each_pod_has_its_own() {
    let limits = Limits::default();
    for grant in [
        grant_for(&subject_in("shop", "orders-0"), "vault"),
        grant_for(&subject_in("shop", "orders-0"), "queue"),
        grant_for(&subject_in("shop", "orders-1"), "vault"),
        grant_for(&subject_in("bank", "orders-0"), "vault"),
    ] {
        limits.take(&grant, now()).unwrap();
        limits.take(&grant, now()).unwrap();
    }
}

#[test]
fn who_asks_too_early_after_a_failure_is_told_the_failure_again() {
    let (limits, grant) = (
        Limits::default(),
        grant_for(&subject_in("shop", "orders-0"), "vault"),
    );
    let forbidden = Refusal::new(Code::MintForbidden, "run this");
    for _ in 0..2 {
        limits.take(&grant, now()).unwrap();
        limits.failed(&grant, &forbidden);
    }
    let again = limits.take(&grant, later(4)).unwrap_err();
    assert_eq!(again, forbidden.after(Duration::from_secs(6)));
    limits.take(&grant, later(10)).unwrap();
    assert_eq!(wait(limits.take(&grant, later(10))).0, Code::TooOften);
}

#[test]
fn a_clock_that_is_put_back_locks_nobody_out() {
    let (limits, grant) = (
        Limits::default(),
        grant_for(&subject_in("shop", "orders-0"), "vault"),
    );
    limits.take(&grant, later(3600)).unwrap();
    limits.take(&grant, later(3600)).unwrap();
    limits.take(&grant, now()).unwrap();
}

#[test]
fn idle_entries_are_dropped() {
    let limits = Limits::default();
    limits
        .take(&grant_for(&subject_in("shop", "orders-0"), "vault"), now())
        .unwrap();
    limits
        .take(
            &grant_for(&subject_in("bank", "orders-0"), "vault"),
            later(30),
        )
        .unwrap();
    let held: Vec<_> = limits
        .state()
        .entries
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(held, ["bank"]);
}

#[test]
fn a_namespace_that_is_full_keeps_no_other_from_its_tokens() {
    let limits = Limits::default();
    for pod in 0..NAMESPACE_MOST {
        let grant = grant_for(&subject_in("shop", &format!("pod-{pod}")), "vault");
        limits.take(&grant, now()).unwrap();
    }
    let full = limits.take(&grant_for(&subject_in("shop", "orders-0"), "vault"), now());
    assert_eq!(wait(full).0, Code::TooOften);
    limits
        .take(&grant_for(&subject_in("bank", "orders-0"), "vault"), now())
        .unwrap();
    limits
        .take(
            &grant_for(&subject_in("shop", "orders-0"), "vault"),
            later(21),
        )
        .unwrap();
}
