//! How much is looked at for a request.

use super::*;
use crate::policy::asked;

/// Policies of one token each.
fn many(count: usize) -> Rules {
    let one = |i: usize| {
        let name = format!("t-{i}");
        policy("shop", &name, i as i64, "orders", &[(&name, &name)])
    };
    rules((0..count).map(one))
}

#[test]
fn each_policy_is_asked_once_however_many_names_are_asked_for() {
    let (rules, subject) = (many(30), subject("shop", "orders", &[]));
    let (before, holding) = (asked(), Holding::new(&rules, &subject));
    let Scene {
        revocations, now, ..
    } = at(&rules);
    for i in 0..40 {
        let decided = holding.decide(revocations, &name(&format!("t-{i}")), now);
        assert_eq!(decided.is_ok(), i < 30, "{i}");
    }
    assert_eq!(holding.assigned(revocations, now).len(), 30);
    assert_eq!(holding.names().count(), 30);
    assert_eq!(asked() - before, 30);
}

#[test]
fn no_policy_is_asked_for_more_than_a_pod_holds() {
    let (rules, subject) = (many(100), subject("shop", "orders", &[]));
    let (before, holding) = (asked(), Holding::new(&rules, &subject));
    assert_eq!(holding.names().count(), 64);
    assert_eq!(asked() - before, 64);
}
