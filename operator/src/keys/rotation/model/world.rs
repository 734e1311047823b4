//! What is stored, who writes and who reads it, and what must hold at every moment.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::TestCaseError};

use super::super::*;

/// How bad the world is. An ordinary rotation bears `lag + delay + 2 * skew` of 35 s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Badness {
    /// How far a replica is behind what is stored.
    pub(super) lag: i64,
    /// How long after it was decided, and its time was taken, a write arrives at the latest.
    pub(super) delay: i64,
    /// How far a clock is off.
    pub(super) skew: i64,
}

impl Badness {
    /// What some steps take.
    pub(super) const fn slack(self) -> i64 {
        16 * (1 + self.delay) + 2 * self.skew
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) state: KeyState,
    pub(super) version: u64,
    pub(super) created: i64,
    /// It may sign before everybody knows it.
    pub(super) hurried: bool,
}

pub(super) type Store = BTreeMap<u32, Stored>;

#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) step: Step,
    /// Of the key that the step is about.
    pub(super) version: Option<u64>,
    pub(super) stamp: Timestamp,
    pub(super) decided: i64,
    pub(super) emergency: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Leader {
    pub(super) skew: i64,
    pub(super) pending: Option<Pending>,
}

pub(super) struct World {
    pub(super) badness: Badness,
    pub(super) time: i64,
    pub(super) store: Store,
    /// What was stored, and until when, oldest first.
    pub(super) past: Vec<(i64, Store)>,
    pub(super) changed: i64,
    pub(super) version: u64,
    pub(super) leaders: Vec<Leader>,
    pub(super) plan: Plan,
    /// When each version of a key, told by its creation, signed last.
    pub(super) signed: BTreeMap<(u32, i64), i64>,
    pub(super) rotations: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Read(usize),
    Write(usize),
    Crash(usize),
    Skew(usize, i64),
    Wait(i64),
    Rotate,
    Algorithm(Algorithm),
    Emergency,
}

pub(super) fn at(time: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + time).unwrap()
}

impl World {
    pub(super) fn new(badness: Badness) -> Self {
        Self {
            badness,
            time: 0,
            store: Store::new(),
            past: Vec::new(),
            changed: -1000,
            version: 0,
            leaders: vec![Leader::default(); 2],
            plan: Plan {
                algorithm: Algorithm::Es256,
                rotate_every: Duration::from_secs(3600),
                rotate: None,
                rotate_now: None,
                restored: None,
                revoked: Arc::default(),
            },
            signed: BTreeMap::new(),
            rotations: 0,
        }
    }

    pub(super) fn states(store: &Store) -> Vec<KeyState> {
        store.values().map(|key| key.state).collect()
    }

    pub(super) fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Read(i) => self.read(i),
            Act::Write(i) => self.write(i),
            Act::Crash(i) => self.leaders[i].pending = None,
            Act::Skew(i, skew) => self.leaders[i].skew = skew.signum() * self.badness.skew,
            Act::Wait(seconds) => self.wait(seconds)?,
            Act::Rotate => self.plan.rotate = Some(at(self.time)),
            Act::Algorithm(algorithm) => self.plan.algorithm = algorithm,
            Act::Emergency => self.plan.rotate_now = Some(at(self.time)),
        }
        self.sign()?;
        self.check()
    }

    pub(super) fn read(&mut self, i: usize) {
        let now = at(self.time + self.leaders[i].skew);
        let keys = Self::states(&self.store);
        let step = next_step(&keys, Unread::default(), &self.plan, now);
        let (Step::Create { number, .. } | Step::Activate { number } | Step::Remove { number }) =
            step
        else {
            self.leaders[i].pending = None;
            return;
        };
        let began = signed(&keys, now);
        let late = |(began, _): &(Timestamp, &KeyState)| Some(*began) < self.plan.rotate_now;
        self.leaders[i].pending = Some(Pending {
            step,
            version: self.store.get(&number).map(|key| key.version),
            stamp: now,
            decided: self.time,
            emergency: self.plan.rotate_now.is_some_and(|t| t <= now)
                && began.last().is_some_and(late),
        });
    }

    pub(super) fn write(&mut self, i: usize) {
        let Some(pending) = self.leaders[i].pending.take() else {
            return;
        };
        let late = self.time - pending.decided > self.badness.delay;
        let (Step::Create { number, .. } | Step::Activate { number } | Step::Remove { number }) =
            pending.step
        else {
            return;
        };
        let stored = self.store.get(&number);
        if late || stored.map(|key| key.version) != pending.version {
            return;
        }
        self.past.push((self.time, self.store.clone()));
        self.changed = self.time;
        self.version += 1;
        match pending.step {
            Step::Create { activated, .. } => {
                let state = KeyState {
                    number,
                    published: pending.stamp.max(at(self.time)),
                    activated: activated.then_some(pending.stamp),
                    algorithm: self.plan.algorithm,
                    revoked: false,
                };
                let (version, created) = (self.version, self.time);
                let key = Stored {
                    state,
                    version,
                    created,
                    hurried: activated,
                };
                self.store.insert(number, key);
            }
            Step::Activate { .. } => {
                let key = self.store.get_mut(&number).unwrap();
                key.state.activated = Some(pending.stamp);
                key.version = self.version;
                key.hurried = pending.emergency;
                self.rotations += 1;
            }
            Step::Remove { .. } => drop(self.store.remove(&number)),
            Step::Nothing { .. } => {}
        }
    }

    /// Time passes: in small steps while somebody may not know the last change.
    pub(super) fn wait(&mut self, seconds: i64) -> Result<(), TestCaseError> {
        let end = self.time + seconds;
        while self.time < end {
            let pace = match self.time - self.changed {
                0..=45 => 1,
                46..=350 => 15,
                _ => end - self.time,
            };
            self.time = end.min(self.time + pace);
            self.sign()?;
            self.check()?;
        }
        Ok(())
    }

    /// What a replica or verifier may believe to be stored that was told at `since` or later.
    pub(super) fn views(&self, since: i64) -> impl Iterator<Item = &Store> {
        let past = self.past.iter().filter(move |(until, _)| *until > since);
        past.map(|(_, store)| store).chain([&self.store])
    }

    /// Every replica that may be, by every clock that may be, signs.
    pub(super) fn sign(&mut self) -> Result<(), TestCaseError> {
        let Badness { lag, skew, .. } = self.badness;
        let mut signers = Vec::new();
        for store in self.views(self.time - lag) {
            for skew in [-skew, 0, skew] {
                let states = Self::states(store);
                let active = signed(&states, at(self.time + skew))
                    .last()
                    .map(|(_, key)| key.number);
                signers.extend(active.map(|number| store[&number]));
            }
        }
        for key in signers {
            let known = self.time >= key.created + 635 - skew;
            prop_assert!(key.hurried || known, "{key:?} signs early at {}", self.time);
            self.signed
                .insert((key.state.number, key.created), self.time);
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.store.len() <= MOST, "{:?}", self.store);
        let since = self.time - 600 - self.badness.lag;
        for ((number, created), last) in &self.signed {
            // A token that just came into the world is verified too.
            if *last + 3600 < self.time || self.excused(*number, *created) {
                continue;
            }
            for store in self.views(since) {
                let there = store.get(number).is_some_and(|key| key.created == *created);
                let view = store.keys().collect::<Vec<_>>();
                prop_assert!(
                    there,
                    "a token of {number} from {last} meets {view:?} at {}",
                    self.time
                );
            }
        }
        Ok(())
    }

    /// What an emergency breaks: the tokens of the keys that it removes, and those of a key that
    /// signed before everybody knew it.
    pub(super) fn excused(&self, number: u32, created: i64) -> bool {
        let stored = self.store.get(&number).filter(|key| key.created == created);
        let young = self.time - 600 - self.badness.lag <= created;
        match stored {
            Some(key) => key.hurried && young,
            None => self.plan.rotate_now.is_some(),
        }
    }

    /// Two leaders that live, one whose clock is behind and one whose clock is ahead, do what there is
    /// to do, each as late as it may be, and wait for what they are told to wait for.
    pub(super) fn settle(&mut self, horizon: i64) -> Result<(), TestCaseError> {
        let skew = self.badness.skew;
        self.leaders = [-skew, skew]
            .map(|skew| Leader {
                skew,
                pending: None,
            })
            .to_vec();
        let end = self.time + horizon;
        while self.time < end {
            let mut idle = true;
            for i in [0, 1] {
                self.act(Act::Read(i))?;
                if let Some(pending) = &self.leaders[i].pending {
                    idle = false;
                    // A removal does the most harm when it is early.
                    if !matches!(pending.step, Step::Remove { .. }) {
                        self.act(Act::Wait(self.badness.delay))?;
                    }
                    self.act(Act::Write(i))?;
                }
            }
            if idle {
                self.rest(end)?;
            }
        }
        Ok(())
    }

    pub(super) fn rest(&mut self, end: i64) -> Result<(), TestCaseError> {
        let (keys, now) = (Self::states(&self.store), at(self.time + self.badness.skew));
        let next = keys
            .iter()
            .filter(|key| key.activated.is_none_or(|at| at > now));
        let found = next.clone().any(|key| key.algorithm == self.plan.algorithm);
        prop_assert!(
            found || signed(&keys, now).is_empty(),
            "an emergency finds no key: {keys:?}"
        );
        let pause = match next_step(&keys, Unread::default(), &self.plan, now) {
            Step::Nothing {
                look_again_at: Some(at),
            } => at.duration_since(now).as_secs(),
            _ => 300,
        };
        self.act(Act::Wait(pause.clamp(1, (end - self.time).max(1))))
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.store
            .values()
            .filter_map(|key| key.state.activated)
            .max()
    }
}
