//! Servers under load in turn, so that whatever else the machine does meets all of them alike.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Result;

use crate::{
    load::{Round, Target},
    stats::Sample,
};

/// A server, and what it is called in the table.
pub(crate) type Named<'a> = (&'a str, &'a Arc<Target>);

/// What a server did, round by round.
#[derive(Debug)]
pub(crate) struct Done {
    /// What the server is called in the table.
    pub(crate) name: String,
    rounds: Vec<Round>,
}

/// Every server as fast as it can.
pub(crate) fn closed(servers: &[Named<'_>]) -> Result<Vec<Done>> {
    in_turn(servers, |target| target.closed(CLOSED))
}

/// Every server at that many requests a second.
pub(crate) fn open(servers: &[Named<'_>], rate: f64) -> Result<Vec<Done>> {
    in_turn(servers, |target| target.open(rate, OPEN))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a round holds this thread as well, and it has nothing else to do"
)]
fn in_turn(
    servers: &[Named<'_>],
    round: impl Fn(&Arc<Target>) -> Result<Round>,
) -> Result<Vec<Done>> {
    let begin = |(name, _): &Named<'_>| Done {
        name: (*name).to_owned(),
        rounds: Vec::new(),
    };
    let mut done: Vec<Done> = servers.iter().map(begin).collect();
    for _ in 0..ROUNDS {
        for ((_, target), done) in servers.iter().zip(&mut done) {
            thread::sleep(REST);
            done.rounds.push(round(target)?);
        }
    }
    Ok(done)
}

impl Done {
    /// The median of the processor time of an answer, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.median(|round| round.cpu)
    }

    /// The median of the answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.median(|round| round.rate)
    }

    /// The median of a quantile of how long requests waited, in microseconds.
    pub(crate) fn waited(&self, part: f64) -> f64 {
        self.median(|round| round.waited.quantile(part))
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        Sample::new(self.rounds.iter().map(figure).collect()).median()
    }
}

const ROUNDS: usize = 5;
const CLOSED: Duration = Duration::from_millis(1500);
/// A token of a pod is issued at most once in ten seconds: so that there is always one left to ask for.
const REST: Duration = Duration::from_millis(1000);
const OPEN: Duration = Duration::from_millis(2000);
