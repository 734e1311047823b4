//! What a container has logged since it was started the last time, line by line with the time that the node put before
//! it. Only a cluster of our own shows it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::state;

/// The log of a container.
#[derive(Debug)]
pub struct PodLog(Vec<(Timestamp, String)>);

impl PodLog {
    /// Of that container of the pod that runs under that name.
    ///
    /// # Errors
    /// There is none.
    pub fn latest(namespace: &str, pod: &str, container: &str) -> Result<Self> {
        let state = state::folder("a pod's log").context("another's cluster")?;
        let begins = format!("{namespace}_{pod}_");
        let pods = list(&state.join("pod-logs"))?;
        let named = pods.iter().filter(|path| name(path).starts_with(&begins));
        let mut logs = Vec::new();
        for pod in named {
            logs.extend(list(&pod.join(container))?);
        }
        // 0.log is that of the first start, 1.log that of the second
        let start = |path: &PathBuf| name(path).strip_suffix(".log")?.parse::<u32>().ok();
        let latest = logs.into_iter().max_by_key(start).context("no log")?;
        let text = fs::read_to_string(&latest).with_context(|| latest.display().to_string())?;
        let lines = text.lines().map(|line| {
            let (time, rest) = line.split_once(' ').context("a time")?;
            Ok((time.parse()?, rest.to_owned()))
        });
        Ok(Self(lines.collect::<Result<_>>()?))
    }

    /// When the lines with that text were logged.
    #[must_use]
    pub fn times(&self, text: &str) -> Vec<Timestamp> {
        let told = self.0.iter().filter(|(_, line)| line.contains(text));
        told.map(|(time, _)| *time).collect()
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn name(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str());
    name.unwrap_or_default()
}
