//! How the replicas ask the API server for service-account tokens, as its audit log put it down.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::state;

/// The log, from a point on.
#[derive(Debug)]
pub struct Minting {
    path: PathBuf,
    from: u64,
}

/// What one replica asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// How many tokens.
    pub tokens: usize,
    /// How many at once at most, from when a request arrived until its answer was written.
    pub at_once: usize,
    /// How many within a second at most.
    pub in_a_second: usize,
}

impl Minting {
    /// From now on.
    ///
    /// # Errors
    /// The cluster is not our own.
    pub fn from_now() -> Result<Self> {
        let path = state::folder("who asked for tokens").context("another's cluster")?;
        let path = path.join("audit.log");
        let from = path.metadata().context("the audit log")?.len();
        Ok(Self { path, from })
    }

    /// What that replica, by the name of its pod, asked for since.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn by(&self, pod: &str) -> Result<Asked> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        asked(&String::from_utf8_lossy(&text), pod)
    }
}

fn asked(log: &str, pod: &str) -> Result<Asked> {
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    let mut turns = Vec::new();
    // the last line may be half written
    let lines = log.split_inclusive('\n');
    for line in lines.filter(|line| line.ends_with('\n')) {
        if !line.contains(pod) || !line.contains("\"subresource\":\"token\"") {
            continue;
        }
        let event: Value = serde_json::from_str(line).context("a line of the audit log")?;
        let by = &event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0];
        if by != pod || event["objectRef"]["subresource"] != "token" {
            continue;
        }
        let at = |stage: &str| -> Result<Timestamp> {
            Ok(event[stage].as_str().unwrap_or_default().parse()?)
        };
        let (begun, ended) = (at("requestReceivedTimestamp")?, at("stageTimestamp")?);
        *seconds.entry(begun.as_second()).or_default() += 1;
        turns.extend([(begun, true), (ended, false)]);
    }
    // of two at the same moment, the one that ends is first
    turns.sort_unstable();
    let (mut open, mut at_once) = (0_usize, 0);
    for (_, begins) in &turns {
        open = if *begins {
            open + 1
        } else {
            open.saturating_sub(1)
        };
        at_once = at_once.max(open);
    }
    Ok(Asked {
        tokens: turns.len() / 2,
        at_once,
        in_a_second: seconds.into_values().max().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(pod: &str, subresource: &str, begun: &str, ended: &str) -> String {
        let at = |time: &str| format!("2026-01-01T00:00:{time}Z");
        let event = json!({
            "user": {"extra": {"authentication.kubernetes.io/pod-name": [pod]}},
            "objectRef": {"resource": "serviceaccounts", "subresource": subresource},
            "requestReceivedTimestamp": at(begun), "stageTimestamp": at(ended),
        });
        format!("{event}\n")
    }

    #[test]
    fn tokens_are_counted_of_that_replica_alone_at_once_and_in_a_second() {
        let log = [
            line("hallpass-1", "token", "01.000", "01.500"),
            line("hallpass-1", "token", "01.400", "03.000"),
            line("hallpass-1", "token", "01.500", "01.600"),
            line("hallpass-1", "token", "03.100", "03.200"),
            line("hallpass-1", "status", "01.400", "03.000"),
            line("hallpass-2", "token", "01.400", "03.000"),
            "half a line of hallpass-1".to_owned(),
        ];
        let found = asked(&log.concat(), "hallpass-1").unwrap();
        let wanted = Asked {
            tokens: 4,
            at_once: 2,
            in_a_second: 3,
        };
        assert_eq!(found, wanted);
    }
}
