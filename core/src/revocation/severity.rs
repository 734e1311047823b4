//! How severe revocations are, alone and together.

use super::{Effect, Epochs, Revocation, SKEW};

/// What one revocation refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct One {
    /// All of it.
    all: bool,
    /// What was issued before.
    before: i64,
    /// Of what was issued from then on, what an issuer made that knew less than that.
    less: (i64, Epochs),
}

/// What several come to: a token is refused if one of them refuses it, and no other is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Severity {
    all: bool,
    before: Option<i64>,
    /// The most that must have been known by the issuer of a token that was issued from then on. By time;
    /// each step asks for more than the one before it.
    steps: Vec<(i64, Epochs)>,
}

impl One {
    pub(super) fn of(revocation: &Revocation, closed: bool) -> Self {
        let known = Epochs::only(revocation.kind, revocation.epoch);
        let less = match revocation.terms().effect {
            _ if !revocation.spares_later() => (i64::MIN, known),
            // What was issued since is spared, but a lock lets nothing new be issued, and the clock of who
            // did so all the same may be behind.
            Effect::Lock { .. } => (revocation.created.saturating_sub(SKEW), known),
            Effect::Revoke => (i64::MIN, Epochs::default()),
        };
        Self {
            all: closed,
            before: revocation.before(),
            less,
        }
    }

    /// Whether a token is refused that was issued then by somebody who knew so much.
    pub(super) const fn refuses(&self, issued: i64, known: Epochs) -> bool {
        let (from, needed) = self.less;
        self.all || issued < self.before || (from <= issued && known.lacks(needed))
    }
}

impl Severity {
    pub(super) fn before(&self) -> i64 {
        self.before.unwrap_or(i64::MIN)
    }

    /// Whether a token is refused that was issued then by somebody who knew so much.
    pub(super) fn refuses(&self, issued: i64, known: Epochs) -> bool {
        self.all || issued < self.before() || known.lacks(self.needed(self.steps_until(issued)))
    }

    pub(super) fn add(&mut self, one: One) {
        self.all |= one.all;
        self.before = self.before.max(Some(one.before));
        let (from, epochs) = one.less;
        let place = self.steps_until(from);
        let needed = self.needed(place);
        if !needed.lacks(epochs) {
            return;
        }
        let needed = needed.max(epochs);
        let same = place
            .checked_sub(1)
            .filter(|i| self.time_of(*i) == Some(from));
        match same.and_then(|i| self.steps.get_mut(i)) {
            Some((_, step)) => *step = needed,
            None => self.steps.insert(place, (from, needed)),
        }
        let rest = same.map_or(place, |i| i) + 1;
        for (_, later) in self.steps.iter_mut().skip(rest) {
            *later = later.max(epochs);
        }
        // Those that follow and ask for no more are none.
        let told = self.steps.iter().skip(rest);
        let told = told.take_while(|(_, later)| *later == needed).count();
        self.steps.drain(rest..rest + told);
    }

    /// Whether it may be less severe without that one.
    pub(super) fn needs(&self, one: One) -> bool {
        let (from, epochs) = one.less;
        let there = self.needed(self.steps_until(from));
        let least = |there: u64, epoch: u64| epoch > 0 && epoch >= there;
        one.before >= self.before()
            || least(there.namespaced, epochs.namespaced)
            || least(there.cluster, epochs.cluster)
    }

    fn time_of(&self, step: usize) -> Option<i64> {
        self.steps.get(step).map(|(from, _)| *from)
    }

    /// How many steps there are up to that time.
    fn steps_until(&self, time: i64) -> usize {
        self.steps.partition_point(|(from, _)| *from <= time)
    }

    /// What the last of so many steps asks for.
    fn needed(&self, steps: usize) -> Epochs {
        let last = steps.checked_sub(1).and_then(|last| self.steps.get(last));
        last.map_or_else(Epochs::default, |(_, epochs)| *epochs)
    }
}

impl FromIterator<One> for Severity {
    /// In the order of time each is one more step at most, at the end.
    fn from_iter<I: IntoIterator<Item = One>>(all: I) -> Self {
        let mut all: Vec<One> = all.into_iter().collect();
        all.sort_unstable_by_key(|one| one.less.0);
        let mut severity = Self::default();
        all.into_iter().for_each(|one| severity.add(one));
        severity
    }
}
