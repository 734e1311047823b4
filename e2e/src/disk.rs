//! The node's disk, and the search for tokens on it. Only a cluster of our own shows it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

use crate::{command::run, hay::blocks};

/// The files in which one of these tokens is written, or 40 bytes in a row of it: below the folders in which the kubelet
/// and containerd keep what they know, the layers that containers write to, and the logs. What is mounted there is left
/// out, since a volume in memory is on no disk.
///
/// # Errors
/// The search failed.
pub async fn files_with(state: &Path, tokens: &[String]) -> Result<Vec<String>> {
    let patterns = NamedTempFile::new()?;
    let texts: Result<Vec<_>> = tokens.iter().map(|token| blocks(token)).collect();
    fs::write(patterns.path(), texts?.concat().join("\n"))?;
    let patterns = patterns.path().to_str().context("a path in UTF-8")?;
    let state = state.to_str().context("a path in UTF-8")?;
    let script = r#"cd "$1"; find kubelet containerd containerd-state pod-logs log -xdev -type f ! -fstype nsfs -exec grep -aFl -f "$2" {} +"#;
    let found = run("sh", &["-c", script, "sh", state, patterns], None).await?;
    // files come and go meanwhile; find ends with 1 where grep finds nothing
    let gone = |line: &str| line.ends_with("No such file or directory");
    ensure!(found.stderr.lines().all(gone), "{}", found.stderr);
    Ok(found.stdout.lines().map(str::to_owned).collect())
}
