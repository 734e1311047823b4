//! Logs and counters. The text of `/metrics` is written in `serve::metrics`.

mod log;

use std::{
    fmt,
    io::{self, Write as _},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use hallpass_core::denial::Code;
use tracing::{error, subscriber::set_global_default};

use self::log::Log;
use crate::surroundings::Clock;

/// Sends logs to stderr as JSON lines, and a panic's place (never its words) with them.
pub(crate) fn init(clock: Clock) {
    // Where stderr takes nothing, there is nobody to tell.
    let write = |line: &[u8]| io::stderr().write_all(line).unwrap_or_default();
    // It fails only where there is one already.
    set_global_default(Log::new(clock, write)).unwrap_or_default();
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        error!(place, "panic");
    }));
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    line
}

/// What is counted over the whole process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Reads of a token on the sockets.
    pub reads: ByOutcome,
    /// Tokens asked for from the operator.
    pub refreshes: ByOutcome,
    /// Assignments asked for from the operator.
    pub polls: ByOutcome,
    /// Panics that were outlived.
    pub panics: Counter,
    /// Token files that could not be written or removed.
    pub file_errors: Counter,
    /// Connections that could not be accepted.
    pub accept_errors: Counter,
    /// Questions that were put to another replica too.
    pub hedges: Counter,
    /// Times that the cache could not be written.
    pub cache_errors: Counter,
    /// Jumps of the wall clock.
    pub clock_jumps: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A counter per outcome: success, each code, and any code that is newer than this program.
pub(crate) struct ByOutcome([Counter; OUTCOMES]);

const OUTCOMES: usize = Code::ALL.len() + 2;

impl Default for ByOutcome {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl fmt::Debug for ByOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl ByOutcome {
    /// Counts a success.
    pub(crate) fn succeeded(&self) {
        self.0[0].add();
    }

    /// Counts a failure under its code.
    pub(crate) fn failed(&self, word: &str) {
        let place = Code::ALL.iter().position(|code| code.as_str() == word);
        self.0[place.map_or(OUTCOMES - 1, |place| place + 1)].add();
    }

    /// Every outcome with its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let words = std::iter::once("OK")
            .chain(Code::ALL.iter().map(|code| code.as_str()))
            .chain(std::iter::once("Other"));
        words.zip(self.0.iter().map(Counter::read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_counted_under_its_own_word_and_an_unknown_one_under_other() {
        let counts = ByOutcome::default();
        counts.succeeded();
        counts.failed("Pending");
        counts.failed("FromTheFuture");
        let seen: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [("OK", 1), ("Pending", 1), ("Other", 1)]);
    }
}
