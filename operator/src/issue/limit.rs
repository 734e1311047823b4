//! How often one pod gets one token from this replica: twice at once, then once in ten seconds; and how
//! many names one pod may ask for at all.
//!
//! The first keeps a broken sidecar from spending the API server's time. Only what a policy grants to a
//! live pod reaches it, so nobody fills it with names of their own making. The second bounds what a pod
//! that makes names up writes into the audit stream, which all share.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hallpass_core::{
    decide::{Grant, Subject},
    denial::Code,
    name::{Namespace, TokenName, Uid},
};
use jiff::{SignedDuration, Timestamp};

use super::refusal::Refusal;

/// The state of the limit.
///
/// # Guarantees
/// An entry is dropped once it is worth no more than none, so it holds what was minted in the last 20 s
/// and nothing else. A namespace has at most [`NAMESPACE_MOST`] entries; when it has them, its further
/// tokens wait, and no other namespace's.
#[derive(Debug, Default)]
pub struct Limits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pods: HashMap<Uid, Asked>,
    /// How many entries there are of each namespace.
    entries: HashMap<Namespace, usize>,
    swept: Timestamp,
}

/// What a pod asked for.
#[derive(Debug)]
struct Asked {
    namespace: Namespace,
    /// When it may ask for [`NAMES`] at once again.
    names_due: Timestamp,
    /// Of each token that it had: a few, and so not worth a map.
    entries: Vec<Entry>,
}

/// The generic cell rate algorithm, in its form with one number: `due` is when the entry would be idle.
#[derive(Debug)]
struct Entry {
    token: TokenName,
    due: Timestamp,
    /// How the last try ended, if it failed: who asks again too early is told that again, and not
    /// merely that it is too early. Boxed: hardly any has one, and there are thousands of entries.
    failure: Option<Box<Refusal>>,
}

impl Limits {
    /// Counts a request for so many names, whatever becomes of them.
    ///
    /// # Errors
    /// [`Code::TooOften`], with how long to wait.
    pub fn admit(&self, subject: &Subject, names: usize, now: Timestamp) -> Result<(), Refusal> {
        // More than half of the room at once counts as half: who is given that many is not shut out.
        let names = i32::try_from(names).unwrap_or(i32::MAX).min(NAMES / 2);
        let mut state = self.state();
        state.sweep(now);
        let due = &mut asked(&mut state.pods, subject, now).names_due;
        // Further away than the limit can set it: the clock was put back.
        let from = if due.duration_since(now) > ROOM {
            now
        } else {
            (*due).max(now)
        };
        let then = from.saturating_add(EACH * names).unwrap_or(from);
        let over = then.duration_since(now) - ROOM;
        if over.is_positive() {
            let wait = Duration::try_from(over).unwrap_or_default();
            let refusal = Refusal::new(Code::TooOften, "this pod asks too often");
            return Err(refusal.after(wait));
        }
        *due = then;
        Ok(())
    }

    /// The same refusal for one who will have another name counted before.
    pub fn after_another(refusal: Refusal) -> Refusal {
        let wait = refusal.retry_after.unwrap_or_default();
        refusal.after(wait.saturating_add(EACH.unsigned_abs()))
    }

    /// Counts one try to mint.
    ///
    /// # Errors
    /// [`Code::TooOften`], or the refusal that the last try ended with; both say exactly how long to wait.
    pub fn take(&self, grant: &Grant, now: Timestamp) -> Result<(), Refusal> {
        let mut state = self.state();
        state.sweep(now);
        let entry = state.entry(grant, now)?;
        // Further away than the limit can set it: the clock was put back.
        let due = if entry.due.duration_since(now) > FULL {
            now
        } else {
            entry.due.max(now)
        };
        let ahead = due.duration_since(now);
        if ahead > PERIOD + SLACK {
            let wait = Duration::try_from(ahead - PERIOD).unwrap_or_default();
            let refusal = entry.failure.as_deref().cloned().unwrap_or_else(|| {
                Refusal::new(
                    Code::TooOften,
                    "each token of a pod is issued at most once in 10 s",
                )
            });
            return Err(refusal.after(wait));
        }
        entry.due = due.saturating_add(PERIOD).unwrap_or(due);
        entry.failure = None;
        Ok(())
    }

    /// Notes how the try for that grant ended.
    pub fn failed(&self, grant: &Grant, refusal: &Refusal) {
        let subject = grant.subject();
        let mut state = self.state();
        let pod = state.pods.get_mut(&subject.pod_uid);
        let mut entries = pod.into_iter().flat_map(|asked| &mut asked.entries);
        if let Some(entry) = entries.find(|entry| entry.token == *grant.token()) {
            entry.failure = Some(Box::new(refusal.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: there is no half-made state behind a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The entry of that token, a new one where there is none.
    fn entry(&mut self, grant: &Grant, now: Timestamp) -> Result<&mut Entry, Refusal> {
        let subject = grant.subject();
        let Asked { entries, .. } = asked(&mut self.pods, subject, now);
        let place = match entries.iter().position(|e| e.token == *grant.token()) {
            Some(place) => place,
            None => {
                let count = self.entries.entry(subject.namespace.clone()).or_default();
                if *count >= NAMESPACE_MOST {
                    return Err(Refusal::new(
                        Code::TooOften,
                        "this namespace is issued too many tokens at once",
                    ));
                }
                *count += 1;
                entries.push(Entry {
                    token: grant.token().clone(),
                    due: now,
                    failure: None,
                });
                entries.len() - 1
            }
        };
        Ok(&mut entries[place])
    }

    fn sweep(&mut self, now: Timestamp) {
        if now.duration_since(self.swept).abs() < FULL {
            return;
        }
        self.swept = now;
        let Self { pods, entries, .. } = self;
        entries.clear();
        pods.retain(|_, asked| {
            asked.entries.retain(|entry| entry.due > now);
            if !asked.entries.is_empty() {
                *entries.entry(asked.namespace.clone()).or_default() += asked.entries.len();
            }
            !asked.entries.is_empty() || asked.names_due > now
        });
    }
}

fn asked<'a>(pods: &'a mut HashMap<Uid, Asked>, by: &Subject, now: Timestamp) -> &'a mut Asked {
    let new = || Asked {
        namespace: by.namespace.clone(),
        names_due: now,
        entries: Vec::new(),
    };
    pods.entry(by.pod_uid.clone()).or_insert_with(new)
}

const PERIOD: SignedDuration = SignedDuration::from_secs(10);
/// Two at once, each worth a period, and the slack: an entry is never due later than this.
const FULL: SignedDuration = SignedDuration::from_millis(20_100);
/// Requests overtake each other, and clocks are corrected: so much earlier is not too early.
const SLACK: SignedDuration = SignedDuration::from_millis(100);
/// So many names at once, and one more for each time that passes.
const NAMES: i32 = 256;
const EACH: SignedDuration = SignedDuration::from_millis(60);
const ROOM: SignedDuration = SignedDuration::from_millis(60 * NAMES as i64);
/// Two thousand pods with ten tokens each, all within 20 s on one replica.
pub const NAMESPACE_MOST: usize = 20_000;

#[cfg(test)]
mod tests;
