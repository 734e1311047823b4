//! Which of many says until when what is issued now is refused.

use proptest::prelude::*;

use super::*;
use crate::revocation::tests::{account, lock, raw, time};

fn member(name: usize, before: i64, until: Option<i64>) -> (Target<'static>, Member) {
    let mut raw = raw(&format!("r-{name}"), account("orders"));
    raw.issued_before = Some(time(before));
    if until.is_some() {
        raw = lock(raw, until);
    }
    let (target, revocation) = raw.parse().unwrap();
    let member = Member {
        revocation,
        round: 0,
        missing: false,
        spent: false,
    };
    (target, member)
}

/// Whether a question looks at one of them.
fn is_known(group: &Group) -> bool {
    match &group.members {
        Members::Many(many) => many.latest.is_some(),
        Members::None | Members::One(_) => true,
    }
}

#[test]
fn one_that_is_left_alone_is_held_as_one_that_always_was() {
    for (several, alone) in [(2, true), (3, false)] {
        let (target, less) = member(1, 1, None);
        let mut group = Group::new(&target, less);
        (2..=several).for_each(|name| group.put(member(name, 10, None).1));
        let (_, combine) = group.take(|member| member.revocation.name.as_str() == "r-1");
        assert_eq!(combine, alone);
        group.combine();
        assert_eq!(matches!(group.members, Members::One(_)), alone);
    }
}

/// By looking at each of them.
fn simple(group: &Group, now: i64) -> Option<(i64, &ObjectName)> {
    let each = group.members().iter().map(|member| &member.revocation);
    let last = each.max_by_key(|revocation| revocation.before())?;
    (now < last.before()).then_some((last.before(), &last.name))
}

#[derive(Debug, Clone)]
enum Step {
    Put(i64, Option<i64>),
    /// Those of which the number is a multiple.
    Take(usize),
    Combine,
    Miss(i64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0i64..20, prop::option::of(0i64..20)).prop_map(|(before, until)| Step::Put(before, until)),
        3 => (2usize..6).prop_map(Step::Take),
        1 => Just(Step::Combine),
        1 => (0i64..20).prop_map(Step::Miss),
    ]
}

proptest! {
    #[test]
    fn the_one_that_refuses_longest_is_known_however_they_come_and_go(
        steps in prop::collection::vec(any_step(), 0..40),
        now in -1i64..21,
    ) {
        let (target, first) = member(1, 10, None);
        let mut group = Group::new(&target, first);
        let mut known = true;
        for (name, step) in (2..).zip(steps) {
            match step {
                Step::Put(before, until) => group.put(member(name, before, until).1),
                Step::Take(of) => {
                    let number = |m: &Member| m.revocation.name.as_str()[2..].parse::<usize>().unwrap();
                    let (_, combine) = group.take(|member| number(member) % of == 0);
                    known &= !combine;
                }
                Step::Combine => {
                    group.combine();
                    known = true;
                }
                Step::Miss(at) => {
                    group.change(|member| member.miss(time(at)));
                    known = true;
                }
            }
            let found = group.refuses_until(time(now));
            prop_assert_eq!(found.map(|(end, one)| (end, &one.name)), simple(&group, now));
            prop_assert!(!known || is_known(&group));
        }
    }
}
