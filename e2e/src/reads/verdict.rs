//! The jury over what applications read: pure, so that it can be shown what it has to find.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use jiff::Timestamp;

use super::{Outcome, Read};

/// What was found.
#[derive(Debug)]
pub struct Verdict {
    /// How many reads there were.
    pub reads: usize,
    /// How many of them were given a token.
    pub served: usize,
    /// How many different tokens there were.
    pub tokens: usize,
    /// The longest time that one was without a token.
    pub longest_without: Duration,
    /// How long the 99 of 100 took at most that were served.
    pub most: Duration,
    /// What may not be.
    pub violations: Vec<Violation>,
}

/// Something that may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Whose read.
    pub source: Arc<str>,
    /// When it began.
    pub at: Timestamp,
    /// What it is.
    pub fault: Fault,
}

/// What may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A token was served after its end.
    Expired {
        /// For how many seconds it had been over when the read began.
        seconds: i64,
    },
    /// No token was served although the last one was valid still.
    Failed {
        /// For how many seconds it was.
        left: i64,
        /// What there was instead.
        outcome: Outcome,
    },
    /// A token was there, and was long in coming.
    Slow(Duration),
    /// Nobody looked for that long before this read.
    Blind(Duration),
}

/// Judges the reads, in the order in which they began.
#[must_use]
pub fn judge(reads: &[Read]) -> Verdict {
    let mut sources: BTreeMap<&str, Vec<&Read>> = BTreeMap::new();
    for read in reads {
        sources.entry(&read.source).or_default().push(read);
    }
    let mut verdict = Verdict {
        reads: reads.len(),
        served: 0,
        tokens: 0,
        longest_without: Duration::ZERO,
        most: quantile(reads),
        violations: Vec::new(),
    };
    for reads in sources.values() {
        verdict.hear(reads);
    }
    verdict.violations.sort_by_key(|violation| violation.at);
    verdict
}

/// The reads that began from `from` on, and before `to`.
#[must_use]
pub fn between(reads: &[Read], from: Timestamp, to: Timestamp) -> Vec<Read> {
    let within = |read: &&Read| (from..to).contains(&read.begun);
    reads.iter().filter(within).cloned().collect()
}

impl Verdict {
    /// No token was served after its end, and no read failed while one was valid.
    ///
    /// # Errors
    /// There is a violation, or nothing was read.
    pub fn clean(&self) -> Result<()> {
        ensure!(self.served > 0, "nobody was given a token: {self}");
        ensure!(self.violations.is_empty(), "{self}");
        Ok(())
    }

    /// That, and no read failed at all.
    ///
    /// # Errors
    /// One did.
    pub fn all_served(&self) -> Result<()> {
        self.clean()?;
        ensure!(self.served == self.reads, "reads failed: {self}");
        Ok(())
    }

    fn hear(&mut self, reads: &[&Read]) {
        let mut tokens = BTreeSet::new();
        let mut before: Option<Timestamp> = None;
        let mut served_last = reads.first().map(|read| read.begun);
        for read in reads {
            if let Some(fault) = before.and_then(|before| blind(before, read.begun)) {
                self.accuse(read, fault);
            }
            before = Some(read.begun);
            if let Outcome::Served { expires, digest } = read.outcome {
                tokens.insert(digest);
                self.served += 1;
                if expires <= read.begun {
                    let seconds = read.begun.duration_since(expires).as_secs();
                    self.accuse(read, Fault::Expired { seconds });
                }
            }
            if let Some(fault) = late(read, reads) {
                self.accuse(read, fault);
            }
            let end = read.end();
            if let Some(last) = served_last {
                let without = positive(last, end);
                self.longest_without = self.longest_without.max(without);
            }
            if matches!(read.outcome, Outcome::Served { .. }) {
                served_last = served_last.max(Some(end));
            }
        }
        self.tokens += tokens.len();
    }

    fn accuse(&mut self, read: &Read, fault: Fault) {
        self.violations.push(Violation {
            source: Arc::clone(&read.source),
            at: read.begun,
            fault,
        });
    }
}

/// What is wrong with a read that was not answered at once, given what was served until it began.
fn late(read: &Read, all: &[&Read]) -> Option<Fault> {
    let quick = matches!(read.outcome, Outcome::Served { .. }) && read.took <= SLOW;
    if quick {
        return None;
    }
    let ends = all.iter().filter_map(|other| match other.outcome {
        Outcome::Served { expires, .. } if other.end() <= read.begun => Some(expires),
        _ => None,
    });
    let left = ends.max()?.duration_since(read.begun);
    if left <= EARLY.try_into().unwrap_or_default() {
        return None;
    }
    Some(match &read.outcome {
        Outcome::Served { .. } => Fault::Slow(read.took),
        outcome => Fault::Failed {
            left: left.as_secs(),
            outcome: outcome.clone(),
        },
    })
}

/// The time within which 99 of 100 were served.
fn quantile(reads: &[Read]) -> Duration {
    let served = |read: &&Read| matches!(read.outcome, Outcome::Served { .. });
    let mut times: Vec<Duration> = reads.iter().filter(served).map(|read| read.took).collect();
    times.sort_unstable();
    let place = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

fn blind(before: Timestamp, begun: Timestamp) -> Option<Fault> {
    let gap = positive(before, begun);
    (gap > BLIND).then_some(Fault::Blind(gap))
}

/// The time from one to the other, nothing where there is none.
fn positive(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

impl Read {
    fn end(&self) -> Timestamp {
        let took = jiff::SignedDuration::try_from(self.took).unwrap_or_default();
        self.begun.saturating_add(took).unwrap_or(self.begun)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} reads, {} served with {} tokens, without one for {:?} at most, 99 of 100 after {:?}, {} violations",
            self.reads,
            self.served,
            self.tokens,
            self.longest_without,
            self.most,
            self.violations.len()
        )?;
        for violation in self.violations.iter().take(SHOWN) {
            let Violation { source, at, fault } = violation;
            write!(f, "\n  {at} {source}: {fault:?}")?;
        }
        Ok(())
    }
}

/// The time in which a sidecar may take a token for over that is not: `exp` is in whole seconds, and it
/// counts from the moment that it asked.
const EARLY: Duration = Duration::from_secs(2);

/// A token that is there is served within microseconds. On a machine with three times more to do than it
/// has cores for, readers were late by 2 s; who waits for the operator waits longer than this.
const SLOW: Duration = Duration::from_secs(4);

/// The same between two reads.
const BLIND: Duration = Duration::from_secs(4);

/// How many violations are told in words.
const SHOWN: usize = 12;
