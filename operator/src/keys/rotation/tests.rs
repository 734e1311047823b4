//! The steps one by one: seconds since an arbitrary start.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn key(number: u32, published: i64, activated: Option<i64>) -> KeyState {
    KeyState {
        number,
        published: at(published),
        activated: activated.map(at),
        algorithm: Algorithm::Es256,
        revoked: false,
    }
}

fn plan() -> Plan {
    Plan {
        algorithm: Algorithm::Es256,
        rotate_every: Duration::from_secs(86_400),
        rotate: None,
        rotate_now: None,
        restored: None,
        revoked: Arc::default(),
    }
}

fn step(keys: &[KeyState], plan: &Plan, now: i64) -> Step {
    next_step(keys, Unread::default(), plan, at(now))
}

const fn nothing(until: Timestamp) -> Step {
    Step::Nothing {
        look_again_at: Some(until),
    }
}

const fn create(number: u32, activated: bool) -> Step {
    Step::Create { number, activated }
}

const fn activate(number: u32) -> Step {
    Step::Activate { number }
}

const fn remove(number: u32) -> Step {
    Step::Remove { number }
}

const DAY: i64 = 86_400;

/// One that signs since 0, one that waits since 1.
fn settled() -> Vec<KeyState> {
    vec![key(1, 0, Some(0)), key(2, 1, None)]
}

#[test]
fn a_new_issuer_gets_a_key_that_signs_at_once_and_then_the_next_one() {
    assert_eq!(step(&[], &plan(), 0), create(1, true));
    assert_eq!(step(&[key(1, 0, Some(0))], &plan(), 1), create(2, false));
    assert_eq!(step(&settled(), &plan(), 1), nothing(at(DAY)));
}

#[test]
fn a_rotation_is_due_after_the_time_of_the_plan() {
    assert_eq!(step(&settled(), &plan(), DAY - 1), nothing(at(DAY)));
    assert_eq!(step(&settled(), &plan(), DAY), activate(2));
}

#[test]
fn the_next_key_waits_until_every_verifier_knows_it() {
    let keys = [key(1, 0, Some(0)), key(2, DAY, None)];
    assert_eq!(step(&keys, &plan(), DAY + 634), nothing(at(DAY + 635)));
    assert_eq!(step(&keys, &plan(), DAY + 635), activate(2));
}

#[test]
fn a_retired_key_goes_when_its_last_token_is_over() {
    let keys = [key(1, 0, Some(0)), key(2, 1, Some(DAY)), key(3, DAY, None)];
    assert_eq!(step(&keys, &plan(), DAY + 3634), nothing(at(DAY + 3635)));
    assert_eq!(step(&keys, &plan(), DAY + 3635), remove(1));
}

#[test]
fn a_rotation_that_is_asked_for_happens_once() {
    let plan = Plan {
        rotate: Some(at(1000)),
        ..plan()
    };
    assert_eq!(step(&settled(), &plan, 999), nothing(at(1000)));
    assert_eq!(step(&settled(), &plan, 1000), activate(2));
    let rotated = [
        key(1, 0, Some(0)),
        key(2, 1, Some(1000)),
        key(3, 1000, None),
    ];
    assert_eq!(step(&rotated, &plan, 2000), nothing(at(4635)));
}

#[test]
fn another_algorithm_replaces_the_next_key_and_then_the_one_that_signs() {
    let plan = Plan {
        algorithm: Algorithm::EdDsa,
        ..plan()
    };
    assert_eq!(step(&settled(), &plan, 1000), remove(2));
    assert_eq!(step(&settled()[..1], &plan, 1000), create(2, false));
    let next = KeyState {
        algorithm: Algorithm::EdDsa,
        ..key(2, 1000, None)
    };
    let replaced = [key(1, 0, Some(0)), next];
    assert_eq!(step(&replaced, &plan, 1634), nothing(at(1635)));
    assert_eq!(step(&replaced, &plan, 1635), activate(2));
}

#[test]
fn in_an_emergency_the_next_key_signs_at_once_and_every_older_one_goes() {
    let plan = Plan {
        rotate_now: Some(at(100)),
        ..plan()
    };
    let mut keys = vec![key(1, -50, Some(-50)), key(2, 0, Some(0)), key(3, 99, None)];
    assert_eq!(
        step(&keys, &plan, 99),
        nothing(at(100)),
        "its time has not come"
    );
    assert_eq!(step(&keys, &plan, 100), activate(3));
    keys[2].activated = Some(at(100));
    assert_eq!(step(&keys, &plan, 101), remove(1));
    assert_eq!(step(&keys[1..], &plan, 101), remove(2));
    assert_eq!(step(&keys[2..], &plan, 101), create(4, false));
    assert_eq!(
        step(&[keys[2], key(4, 101, None)], &plan, 102),
        nothing(at(100 + DAY))
    );
}

#[test]
fn after_a_restore_no_key_that_was_there_before_is_left_not_even_one_that_waits() {
    let plan = Plan {
        restored: Some(at(100)),
        ..plan()
    };
    let before = [key(1, -50, Some(-50)), key(2, 0, None)];
    assert_eq!(
        step(&before, &plan, 99),
        nothing(at(100)),
        "its time has not come"
    );
    assert_eq!(step(&before, &plan, 100), remove(2));
    let coming = [key(1, -50, Some(-50)), key(2, 0, Some(900))];
    assert_eq!(step(&coming, &plan, 100), remove(2));
    assert_eq!(step(&before[..1], &plan, 100), create(2, true));
    let after = [before[0], key(2, 100, Some(100))];
    assert_eq!(step(&after, &plan, 101), remove(1));
    assert_eq!(step(&after[1..], &plan, 101), create(3, false));
}

#[test]
fn in_an_emergency_without_a_next_key_one_is_made_that_signs() {
    let plan = Plan {
        rotate_now: Some(at(100)),
        ..plan()
    };
    assert_eq!(step(&[key(1, 0, Some(0))], &plan, 100), create(2, true));
    let four: Vec<_> = (1..=4).map(|n| key(n, 0, Some(n.into()))).collect();
    assert_eq!(
        step(&four, &plan, 100),
        remove(1),
        "there is no room for a fifth"
    );
    assert_eq!(step(&four[1..], &plan, 100), create(5, true));
}

#[test]
fn there_is_never_a_fifth_key_and_the_next_one_waits_for_room() {
    let rotated = |n: u32| key(n, 0, Some(DAY + i64::from(n) * 400));
    let four = [rotated(1), rotated(2), rotated(3), key(4, DAY, None)];
    let eager = Plan {
        rotate: Some(at(DAY + 2000)),
        ..plan()
    };
    let gone = DAY + 800 + 3635;
    assert_eq!(step(&four, &eager, DAY + 3000), nothing(at(gone)));
    assert_eq!(step(&four, &eager, gone), remove(1));
    assert_eq!(step(&four[1..], &eager, gone), activate(4));
    let mut without_next = four;
    without_next[3].activated = Some(at(DAY + 1600));
    let gone = nothing(at(gone));
    assert_eq!(step(&without_next, &plan(), DAY + 3000), gone);
}

#[test]
fn keys_that_cannot_be_read_keep_their_places_and_numbers() {
    let of = |count, keys: &[KeyState]| {
        let unread = Unread { count, highest: 7 };
        next_step(keys, unread, &plan(), at(10))
    };
    assert_eq!(of(1, &[]), create(8, true));
    assert_eq!(of(2, &[key(1, 0, Some(0))]), create(8, false));
    assert_eq!(
        of(4, &[]),
        Step::Nothing {
            look_again_at: None
        }
    );
    assert_eq!(
        of(3, &[key(1, 0, Some(0))]),
        Step::Nothing {
            look_again_at: None
        }
    );
}

#[test]
fn a_key_that_is_left_alone_signs_at_once() {
    assert_eq!(step(&[key(2, 0, None)], &plan(), 1), activate(2));
}

#[test]
fn of_two_next_keys_the_later_one_goes() {
    let keys = [key(1, 0, Some(0)), key(3, 50, None), key(2, 60, None)];
    assert_eq!(step(&keys, &plan(), 100), remove(2));
}

#[test]
fn a_clock_that_goes_back_changes_nothing_until_it_is_there_again() {
    let keys = [key(1, 0, Some(0)), key(2, 1, Some(DAY)), key(3, DAY, None)];
    let eager = Plan {
        rotate: Some(at(5000)),
        ..plan()
    };
    assert_eq!(step(&keys, &eager, DAY - 60), nothing(at(DAY)));
    let alone = [key(2, 1, Some(DAY))];
    assert_eq!(step(&alone, &plan(), DAY - 60), nothing(at(DAY)));
    let emergency = Plan {
        rotate_now: Some(at(DAY - 100)),
        ..plan()
    };
    assert_eq!(
        step(&keys, &emergency, DAY - 60),
        activate(2),
        "an emergency does not wait"
    );
}

#[test]
fn no_stored_time_is_too_much() {
    let end = KeyState {
        published: Timestamp::MAX,
        activated: Some(Timestamp::MIN),
        ..key(u32::MAX, 0, None)
    };
    let endless = Plan {
        rotate_every: Duration::MAX,
        ..plan()
    };
    let next = KeyState {
        activated: None,
        ..end
    };
    assert_eq!(
        step(&[end, KeyState { number: 1, ..next }], &endless, 0),
        nothing(Timestamp::MAX)
    );
}

#[test]
fn every_key_has_a_standing() {
    let keys = [
        key(1, 0, Some(0)),
        key(3, 7, None),
        key(2, 1, Some(DAY)),
        key(4, 9, Some(3 * DAY)),
    ];
    let told = states(&keys, at(DAY + 1));
    let of = |number, phase, since, until: Option<i64>| Standing {
        number,
        phase,
        since: at(since),
        until: until.map(at),
    };
    let expected = [
        of(1, Phase::Retired, DAY, Some(DAY + 3635)),
        of(2, Phase::Active, DAY, None),
        of(3, Phase::Next, 7, None),
        of(4, Phase::Next, 9, None),
    ];
    assert_eq!(told, expected);
    let rotation = next_rotation(&settled(), Unread::default(), &plan(), at(5));
    assert_eq!(rotation, Some(at(DAY)));
    assert_eq!(next_rotation(&[], Unread::default(), &plan(), at(5)), None);
}

/// The same key, revoked.
fn revoked(key: KeyState) -> KeyState {
    KeyState {
        revoked: true,
        ..key
    }
}

#[test]
fn a_revoked_key_that_signs_is_followed_at_once_and_goes() {
    let keys = [revoked(key(1, 0, Some(0))), key(2, 1, None)];
    assert_eq!(step(&keys, &plan(), 5), activate(2));
    let keys = [revoked(key(1, 0, Some(0))), key(2, 1, Some(5))];
    assert_eq!(step(&keys, &plan(), 5), remove(1));
    assert_eq!(
        step(&[revoked(key(1, 0, Some(0)))], &plan(), 5),
        create(2, true)
    );
}

#[test]
fn a_revoked_key_that_waits_or_is_retired_goes_and_no_other() {
    let keys = [key(1, 0, Some(0)), revoked(key(2, 1, None))];
    assert_eq!(step(&keys, &plan(), 5), remove(2));
    let both = [revoked(key(1, 0, Some(0))), revoked(key(2, 1, None))];
    assert_eq!(step(&both, &plan(), 5), remove(2), "it never signs");
    let coming = [
        key(1, 0, Some(0)),
        revoked(key(2, 1, Some(9))),
        key(3, 1, None),
    ];
    assert_eq!(step(&coming, &plan(), 5), remove(2));
    let retired = [
        key(1, 0, Some(0)),
        revoked(key(2, 1, Some(700))),
        key(3, 2, Some(1400)),
        key(4, 3, None),
    ];
    assert_eq!(step(&retired, &plan(), 1401), remove(2));
}
