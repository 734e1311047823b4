//! What a replica of the operator wrote, as the API server put it down: its audit log names the pod whose
//! token a request carried.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::state;

/// A request to write that the API server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// When it arrived.
    pub at: Timestamp,
    /// What was to be done, and to what: `patch tokenpolicies/status shop/orders`.
    pub what: String,
    /// The status of the answer.
    pub status: u64,
}

/// The log, from a point on.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    from: u64,
}

impl Log {
    /// The log from now on.
    ///
    /// # Errors
    /// The cluster is not our own.
    pub fn from_now() -> Result<Self> {
        let path = state::folder("who wrote what").context("another's cluster")?;
        let path = path.join("audit.log");
        let from = path.metadata().context("the audit log")?.len();
        Ok(Self { path, from })
    }

    /// What that pod's token wrote since. (Neither leases nor reads are in that log.)
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn by(&self, pod: &str) -> Result<Vec<Write>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        writes(&String::from_utf8_lossy(&text), pod)
    }
}

fn writes(log: &str, pod: &str) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    // the last line may be half written
    for line in log
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        if !line.contains(pod) {
            continue;
        }
        let event: Value = serde_json::from_str(line).context("a line of the audit log")?;
        let by = &event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0];
        if by == pod {
            writes.push(Write::of(&event)?);
        }
    }
    Ok(writes)
}

impl Write {
    /// Whether it was done.
    #[must_use]
    pub const fn landed(&self) -> bool {
        self.status < 300
    }

    fn of(event: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let mut kind = text(&object["resource"]);
        if let Some(part) = object["subresource"].as_str() {
            kind = format!("{kind}/{part}");
        }
        let (verb, name) = (text(&event["verb"]), text(&object["name"]));
        let at = text(&event["requestReceivedTimestamp"]);
        Ok(Self {
            at: at.parse().context("a time")?,
            what: format!("{verb} {kind} {}/{name}", text(&object["namespace"])),
            status: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(pod: &str, status: u64) -> String {
        let event = json!({
            "verb": "patch", "requestReceivedTimestamp": "2026-01-01T00:00:00.000001Z",
            "user": {"extra": {"authentication.kubernetes.io/pod-name": [pod]}},
            "objectRef": {
                "resource": "tokenpolicies", "subresource": "status", "namespace": "shop", "name": "orders",
            },
            "responseStatus": {"code": status},
            "requestObject": {"beside": "hallpass-1"},
        });
        format!("{event}\n")
    }

    #[test]
    fn a_planted_write_is_found_and_told_from_those_of_others() {
        let log = [
            line("hallpass-1", 200),
            line("hallpass-2", 200),
            line("hallpass-1", 409),
        ];
        let found = writes(&log.concat(), "hallpass-1").unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|write| (write.what.as_str(), write.landed()))
            .collect();
        let what = "patch tokenpolicies/status shop/orders";
        assert_eq!(told, [(what, true), (what, false)]);
    }

    #[test]
    fn half_a_line_is_left_for_later() {
        let log = line("hallpass-1", 200) + "{\"user\": \"hallpass-1";
        assert_eq!(writes(&log, "hallpass-1").unwrap().len(), 1);
        assert!(writes("hallpass-1\n", "hallpass-1").is_err_and(is_no_json));
    }

    fn is_no_json(why: anyhow::Error) -> bool {
        why.to_string() == "a line of the audit log"
    }
}
