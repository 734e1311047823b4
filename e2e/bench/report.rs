//! The rows: what was measured, beside what, under which conditions.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::cluster::checkout;
use serde::{Deserialize, Serialize};

/// One figure of ours beside the same figure of a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) metric: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) peer: Option<String>,
    pub(crate) peer_value: Option<f64>,
    /// `value / peer_value`
    pub(crate) ratio: Option<f64>,
    pub(crate) conditions: String,
    /// What was promised of it, and whether it holds.
    #[serde(default)]
    pub(crate) bar: Option<String>,
    /// How many times the bar that is: at most 1 where it is met.
    #[serde(default)]
    pub(crate) of_bar: Option<f64>,
    /// Whether to be beyond the bar is a fault.
    #[serde(default)]
    pub(crate) judged: bool,
}

/// What is promised of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    /// Our value is at most that.
    Value(f64),
    /// Our value is at most so many times the peer's.
    Ratio(f64),
    /// The same, but no reason to fail: it is not to be had, or what else runs on the machine decides.
    Told(f64),
    /// Our value is at most that, by another reading of the promise than the one that is kept: no reason to fail either.
    Shown(f64),
}

impl Row {
    /// How many times its bar it may be.
    fn bearable(&self) -> f64 {
        if TIMES.contains(&&*self.unit) {
            FAR
        } else {
            1.0
        }
    }

    /// Its bar and whether that is met. Memory is told in MB too, which are smaller: a bar that says MB may be read
    /// either way, and it is the MiB that are judged.
    fn verdict(&self) -> String {
        let met = |met| if met { "met" } else { "MISSED" };
        let mut said = match (&self.bar, self.of_bar) {
            (Some(bar), Some(of)) => format!("{bar}: {}", met(of <= 1.0)),
            (Some(bar), None) => format!("{bar}: {}", met(false)),
            (None, _) => String::new(),
        };
        if self.unit == "MiB" {
            let bar = self.of_bar.map(|of| met(of * MIB_IN_MB <= 1.0));
            let bar = bar.map_or_else(String::new, |bar| format!(": {bar}"));
            said = format!("{said} ({:.2} MB{bar})", self.value * MIB_IN_MB);
        }
        said
    }
}

/// All rows of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// What an earlier step of this run has written.
    pub(crate) fn load() -> Result<Self> {
        match fs::read(path()) {
            Ok(json) => serde_json::from_slice(&json).context("read the results so far"),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(why) => Err(why).context("read the results so far"),
        }
    }

    pub(crate) fn save(&self) -> Result<()> {
        fs::create_dir_all(path().parent().context("a file has a folder")?)?;
        fs::write(path(), serde_json::to_vec_pretty(self)?).context("write the results")
    }

    pub(crate) fn add(
        &mut self,
        id: &str,
        metric: &str,
        (value, unit): (f64, &str),
        conditions: &str,
    ) {
        self.0.push(Row {
            id: id.to_owned(),
            metric: metric.to_owned(),
            value,
            unit: unit.to_owned(),
            peer: None,
            peer_value: None,
            ratio: None,
            conditions: conditions.to_owned(),
            bar: None,
            of_bar: None,
            judged: false,
        });
    }

    /// Puts a peer beside the row that was added last.
    pub(crate) fn beside(&mut self, peer: &str, peer_value: f64) {
        if let Some(row) = self.0.last_mut() {
            row.peer = Some(peer.to_owned());
            row.peer_value = Some(peer_value);
            row.ratio = Some(row.value / peer_value);
        }
    }

    /// Puts what is promised beside the row that was added last.
    pub(crate) fn bar(&mut self, bar: Bar) {
        if let Some(row) = self.0.last_mut() {
            let (text, of_bar) = match bar {
                // nothing is never more than nothing
                Bar::Value(most) | Bar::Shown(most) => (
                    format!("<= {most}"),
                    row.value / most.max(f64::MIN_POSITIVE),
                ),
                Bar::Ratio(most) | Bar::Told(most) => {
                    let ratio = row.ratio.unwrap_or(f64::INFINITY);
                    (format!("ratio <= {most}"), ratio / most)
                }
            };
            row.bar = Some(text);
            row.of_bar = Some(of_bar);
            row.judged = matches!(bar, Bar::Value(_) | Bar::Ratio(_));
        }
    }

    /// The value of an earlier row.
    pub(crate) fn value(&self, id: &str, metric: &str) -> Option<f64> {
        self.0
            .iter()
            .find(|row| row.id == id && row.metric == metric)
            .map(|row| row.value)
    }

    /// Whether every row meets its bar. Times need only be near it, since a machine that others use too is no reason to
    /// fail; what is counted and how much memory it takes depends on nobody else.
    ///
    /// # Errors
    /// Something is beyond what is promised of it.
    pub(crate) fn judge(&self) -> Result<()> {
        let far = |row: &&Row| row.judged && row.of_bar.is_some_and(|of| of > row.bearable());
        let far: Vec<String> = self
            .0
            .iter()
            .filter(far)
            .map(|row| format!("{} {}: {:.2} {}", row.id, row.metric, row.value, row.unit))
            .collect();
        ensure!(far.is_empty(), "beyond the bar: {}", far.join("; "));
        Ok(())
    }

    /// The table, and below it under which conditions each row was measured.
    #[expect(clippy::print_stdout, reason = "the table is what the command is for")]
    pub(crate) fn print(&self) {
        println!(
            "{:<10} {:<56} {:>10} {:<6} {:<34} {:>10} {:>7}  bar",
            "id", "metric", "value", "unit", "peer", "value", "ratio"
        );
        let mut conditions: Vec<&str> = Vec::new();
        for row in &self.0 {
            let peer = row.peer.as_deref().unwrap_or("-");
            let number =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
            let known = conditions.iter().position(|of| *of == row.conditions);
            let note = known.unwrap_or_else(|| {
                conditions.push(&row.conditions);
                conditions.len() - 1
            });
            println!(
                "{:<10} {:<56} {:>10.2} {:<6} {:<34} {:>10} {:>7}  {} [{}]",
                row.id,
                row.metric,
                row.value,
                row.unit,
                peer,
                number(row.peer_value),
                number(row.ratio),
                row.verdict(),
                note + 1
            );
        }
        for (number, conditions) in (1..).zip(conditions) {
            println!("[{number}] {conditions}");
        }
    }
}

/// How many times its bar a time may be.
const FAR: f64 = 3.0;
/// How many MB a MiB has.
const MIB_IN_MB: f64 = 1.048_576;
const TIMES: [&str; 3] = ["s", "ms", "us"];

fn path() -> PathBuf {
    checkout().join("target/bench/results.json")
}
