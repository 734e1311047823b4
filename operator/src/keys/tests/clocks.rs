//! What a replica makes of its own clock after it was compared with the API server's.

use super::*;

/// How far the clock is told to be ahead, so many seconds after it was compared. It is as far ahead then, and the
/// machine counts from its boot.
fn told(after: u64, ahead: i64) -> Option<i64> {
    let keys = Keys::new(Metrics::default());
    keys.compared(Some(at(0)), BOOTED);
    let passed = Duration::from_secs(after);
    let now = at(ahead) + passed;
    let fault = keys.clock_fault(now, BOOTED + passed)?;
    Some(fault.as_secs())
}

const BOOTED: Duration = Duration::from_secs(86_400);

#[test]
fn f06_a_clock_that_is_set_is_off_at_once_and_right_as_soon_as_it_is_set_right() {
    for after in [0, 1, 5, 3_600] {
        assert_eq!(told(after, 600), Some(600), "after {after} s");
        assert_eq!(told(after, -600), Some(-600), "after {after} s");
        assert_eq!(told(after, 0), None, "after {after} s");
    }
    let keys = Keys::new(Metrics::default());
    keys.compared(Some(at(0)), BOOTED);
    assert!(keys.clock_fault(at(600), BOOTED).is_some());
    // Compared while it was off.
    keys.compared(Some(at(5)), BOOTED + Duration::from_secs(5));
    assert_eq!(
        keys.clock_fault(at(5), BOOTED + Duration::from_secs(5)),
        None
    );
}

#[test]
fn f06_a_clock_that_is_put_right_in_small_steps_is_not_off() {
    for ahead in [-6, -5, 5, 6] {
        assert_eq!(told(60, ahead), None, "{ahead} s");
    }
    assert_eq!(told(60, 7), Some(7));
    assert_eq!(told(60, -7), Some(-7));
}

/// The machine counts from its boot what it was suspended for, and so does the time of day.
#[test]
fn f07_a_machine_that_was_suspended_has_a_clock_that_is_right() {
    assert_eq!(told(30 * 86_400, 0), None);
}

#[test]
fn what_the_api_server_does_not_tell_leaves_what_it_told_before() {
    let keys = Keys::new(Metrics::default());
    assert_eq!(keys.clock_fault(at(600), BOOTED), None, "it never told");
    keys.compared(Some(at(0)), BOOTED);
    keys.compared(None, BOOTED);
    assert!(keys.clock_fault(at(600), BOOTED).is_some());
}
