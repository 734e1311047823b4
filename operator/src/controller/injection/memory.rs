//! What is remembered of the policies of a namespace: what was written, and how often lately.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hallpass_core::policy::Policy;
use hallpass_crds::token_policy::TokenReady;
use jiff::Timestamp;
use tokio::time::Instant;

use super::status::InjectionStatus;
use crate::{
    controller::{
        plan::{Memories, Write},
        status::Verdict,
        write::Remember,
    },
    index::Record,
};

/// What a leader remembers of the policies of one namespace that said something of pods.
#[derive(Debug, Default)]
pub(super) struct Memory {
    written: Memories<InjectionStatus>,
    /// How often each was written, and since when that is counted.
    often: BTreeMap<Arc<str>, (Instant, u32)>,
}

impl Memory {
    /// Forgets every policy but those with these uids.
    pub(super) fn retain(&mut self, uids: &BTreeSet<Arc<str>>) {
        self.written
            .retain(&uids.iter().map(|uid| &**uid).collect());
        self.often.retain(|uid, _| uids.contains(uid));
    }

    /// Adds what is to be written for that policy, if anything is.
    ///
    /// # Guarantees
    /// Where pods without the sidecar come and go all the time, it goes on saying that there are some: one that
    /// was written [`MOST`] times within an hour says no more until then that all is well.
    pub(super) fn plan(
        &mut self,
        namespace: &str,
        record: Record<Policy, InjectionStatus>,
        verdict: &Verdict,
        now: Timestamp,
        writes: &mut Vec<Write<InjectionStatus>>,
    ) {
        if verdict.ready == TokenReady::True && self.is_often(&record.uid) {
            return;
        }
        let desired = |record: &Record<_, InjectionStatus>, old: Option<&InjectionStatus>| {
            let condition = verdict.clone().condition(record.generation, now, old);
            InjectionStatus::new(condition)
        };
        self.written.plan(namespace, [record], desired, writes);
    }

    fn is_often(&self, uid: &str) -> bool {
        let often = self.often.get(uid);
        often.is_some_and(|(since, times)| since.elapsed() < WHILE && *times >= MOST)
    }
}

impl Remember<InjectionStatus> for Memory {
    fn wrote(&mut self, uid: &str, status: InjectionStatus, now: Instant) {
        let often = self.often.entry(uid.into()).or_insert((now, 0));
        if now.duration_since(often.0) >= WHILE {
            *often = (now, 0);
        }
        often.1 += 1;
        self.written.wrote(uid, status, now);
    }

    fn failed(&mut self, uid: &str, now: Instant, jitter: f64) -> u32 {
        self.written.failed(uid, now, jitter)
    }

    fn retry(&self, now: Instant) -> Option<Instant> {
        self.written.retry(now)
    }
}

/// From so many writes of one policy on, in that time, it is not said any more that all is well.
const MOST: u32 = 8;
const WHILE: Duration = Duration::from_secs(3600);
