//! Leaders that are killed between two steps, that both believe they lead, whose writes are late and
//! whose clocks differ; replicas that lag; verifiers that keep what they were told. Times are seconds
//! of the true clock.

use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestCaseError};

use self::world::{Act, Badness, World, at};
use super::*;

mod world;

fn badness() -> impl Strategy<Value = Badness> {
    select(vec![
        Badness {
            lag: 35,
            delay: 0,
            skew: 0,
        },
        Badness {
            lag: 15,
            delay: 10,
            skew: 5,
        },
        Badness {
            lag: 5,
            delay: 20,
            skew: 5,
        },
    ])
}

fn act(emergencies: bool) -> impl Strategy<Value = Act> {
    let algorithms = vec![Algorithm::Es256, Algorithm::EdDsa];
    let waits = vec![1, 4, 9, 30, 60, 299, 599, 635, 636, 1800, 3600, 3634, 3636];
    prop_oneof![
        8 => (0..2usize).prop_map(Act::Read),
        8 => (0..2usize).prop_map(Act::Write),
        1 => (0..2usize).prop_map(Act::Crash),
        1 => (0..2usize, -1..=1i64).prop_map(|(i, skew)| Act::Skew(i, skew)),
        8 => select(waits).prop_map(Act::Wait),
        2 => Just(Act::Rotate),
        1 => select(algorithms).prop_map(Act::Algorithm),
        u32::from(emergencies) => Just(Act::Emergency),
    ]
}

fn play(world: &mut World, acts: &[Act]) -> Result<(), TestCaseError> {
    acts.iter().try_for_each(|act| world.act(*act))
}

/// Rotations are asked for faster than they can be had.
fn hurry(world: &mut World, rounds: &[i64]) -> Result<(), TestCaseError> {
    rounds.iter().try_for_each(|round| {
        world.act(Act::Rotate)?;
        world.settle(*round)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn f4_every_live_token_verifies_wherever_a_leader_is_killed(
        badness in badness(),
        acts in vec(act(false), 50..250),
        rounds in vec(prop_oneof![1..400i64, 1..5000i64], 4..10),
    ) {
        let mut world = World::new(badness);
        play(&mut world, &acts)?;
        hurry(&mut world, &rounds)?;
        hurry(&mut world, &[5000; 4])?;
        world.settle(10_000)?;
        prop_assert!(world.rotations > 3, "the model is too hostile to say anything");
    }

    #[test]
    fn f4_a_rotation_that_is_asked_for_happens_in_time(
        badness in badness(),
        acts in vec(act(true), 0..150),
    ) {
        let mut world = World::new(badness);
        play(&mut world, &acts)?;
        world.plan.rotate = Some(at(world.time));
        world.plan.rotate_every = Duration::from_secs(365 * 86_400);
        world.settle(635 + 3635 + badness.slack())?;
        prop_assert!(world.newest() >= world.plan.rotate, "{:?}", world.store);
        world.settle(3635 + badness.slack())?;
        prop_assert_eq!(world.store.len(), 2, "one that signs and one that waits");
    }

    #[test]
    fn f4_after_an_emergency_nothing_of_before_is_left(
        badness in badness(),
        before in vec(act(true), 0..150),
        after in vec(act(false), 0..20),
    ) {
        let mut world = World::new(badness);
        play(&mut world, &before)?;
        let emergency = Some(at(world.time));
        world.plan.rotate_now = emergency;
        play(&mut world, &after)?;
        world.settle(badness.slack())?;
        for key in world.store.values() {
            prop_assert!(key.state.activated.is_none_or(|at| Some(at) >= emergency), "{:?}", key);
        }
        prop_assert!(world.newest() >= emergency);
        prop_assert_eq!(world.plan.rotate_now, emergency);
    }

    #[test]
    fn a_clock_that_is_behind_is_never_early(
        ages in vec((0..9000i64, prop::option::of(0..9000i64)), 1..5),
        now in 0..9000i64,
        behind in 0..9000i64,
    ) {
        let keys: Vec<_> = ages.iter().zip(1..).map(|((published, activated), number)| KeyState {
            number,
            published: at(*published.min(&now)),
            activated: activated.map(|a| at(a.min(now))),
            algorithm: Algorithm::Es256,
            revoked: false,
        }).collect();
        let plan = Plan { rotate: Some(at(0)), ..World::new(Badness { lag: 0, delay: 0, skew: 0 }).plan };
        let standings = states(&keys, at(now));
        let of = |number| standings.iter().find(|s| s.number == number).unwrap();
        match next_step(&keys, Unread::default(), &plan, at(now - behind)) {
            Step::Remove { number } if keys[number as usize - 1].activated.is_some() => {
                prop_assert!(of(number).until.is_some_and(|until| until <= at(now)));
            }
            Step::Activate { number } => {
                let known = after(keys[number as usize - 1].published, KNOWN_AFTER) <= at(now);
                let alone = keys.iter().all(|key| key.activated.is_none());
                prop_assert!(known || alone);
                prop_assert!(keys[number as usize - 1].activated.is_none());
            }
            Step::Nothing { .. } | Step::Create { .. } | Step::Remove { .. } => {}
        }
    }
}

#[test]
fn f4_a_thousand_restarts_leave_four_keys_at_most() {
    let mut world = World::new(Badness {
        lag: 15,
        delay: 10,
        skew: 5,
    });
    let mut dice = 88_172_645_463_325_252_u64;
    let mut most = 0;
    for _ in 0..1000 {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        world.act(Act::Read((dice % 2) as usize)).unwrap();
        world.act(Act::Wait((dice >> 8) as i64 % 11)).unwrap();
        match dice >> 16 & 7 {
            0 | 1 => world.act(Act::Crash(0)).unwrap(),
            2 => world.act(Act::Rotate).unwrap(),
            3 => world.act(Act::Emergency).unwrap(),
            4 => world.act(Act::Wait((dice >> 24) as i64 % 4000)).unwrap(),
            _ => {}
        }
        world.act(Act::Write((dice >> 4 & 1) as usize)).unwrap();
        most = most.max(world.store.len());
    }
    assert_eq!(most, MOST, "the limit was reached");
}
