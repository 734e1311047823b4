//! What every container of the cluster has logged, kept beyond the end of its pod: the kubelet deletes the logs of a pod
//! that is gone. Only a cluster of our own shows them.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{remark::remark, state};

/// Keeps, from now on and for as long as this program runs, each log file that a container begins.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(state) = state::folder("the logs of pods that are gone") {
            let thread = std::thread::Builder::new().name("logs".to_owned());
            let kept = thread.spawn(move || keep_of(&state));
            if let Err(why) = kept {
                remark(&format!("logs are not kept: {why}"));
            }
        }
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "on a thread of its own, which outlives the runtime of each test"
)]
fn keep_of(state: &Path) {
    loop {
        if let Err(why) = link_all(state) {
            remark(&format!("logs are not kept: {why:#}"));
        }
        std::thread::sleep(OFTEN);
    }
}

/// All that were kept, and those that are not yet: each file once.
///
/// # Errors
/// They cannot be listed.
pub fn all(state: &Path) -> Result<Vec<PathBuf>> {
    link_all(state)?;
    let files = fs::read_dir(state.join(KEPT))?;
    files.map(|file| Ok(file?.path())).collect()
}

/// The lines of these files that tell of a panic, each with its file.
///
/// # Errors
/// One of them cannot be read.
pub fn panics(logs: &[PathBuf]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for log in logs {
        let text = fs::read(log).with_context(|| log.display().to_string())?;
        let text = String::from_utf8_lossy(&text);
        let lines = text
            .lines()
            .filter(|line| PANICKED.iter().any(|told| line.contains(told)));
        found.extend(lines.map(|line| format!("{}: {line}", log.display())));
    }
    Ok(found)
}

/// A second name for each log file: what is written to it later is seen under both, and the kubelet deletes one.
fn link_all(state: &Path) -> Result<()> {
    let (logs, kept) = (state.join(LOGS), state.join(KEPT));
    fs::create_dir_all(&kept)?;
    for pod in list(&logs)? {
        for container in list(&pod)? {
            for log in list(&container)? {
                match link(&log, &logs, &kept) {
                    Err(why) if !expected(why.kind()) => {
                        return Err(why).with_context(|| log.display().to_string());
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
    Ok(())
}

/// By the number of the file, not by its name: the kubelet puts one that is large aside and begins another of that name.
fn link(log: &Path, logs: &Path, kept: &Path) -> io::Result<()> {
    let container = log.parent().and_then(|of| of.strip_prefix(logs).ok());
    let container = container.unwrap_or(log).to_string_lossy().replace('/', "_");
    let number = fs::metadata(log)?.ino();
    fs::hard_link(log, kept.join(format!("{container}_{number}.log")))
}

/// What is in a folder, which may be gone.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(why).with_context(|| folder.display().to_string()),
    }
}

/// It was kept already, or is gone.
const fn expected(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::AlreadyExists | ErrorKind::NotFound)
}

/// The kubelet deletes them a minute after the pod.
const OFTEN: Duration = Duration::from_millis(500);
const LOGS: &str = "pod-logs";
const KEPT: &str = "pod-logs-kept";
/// The record of both programs, what Rust itself writes before there are records, and what a sidecar says of a panic that
/// it outlived.
const PANICKED: [&str; 2] = ["\"message\":\"panic\"", " panicked"];

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn write(state: &Path, pod: &str, line: &str) -> Result<()> {
        let folder = state.join(LOGS).join(pod).join("hallpass");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("0.log"), line)?;
        Ok(())
    }

    #[test]
    fn a_log_is_kept_when_its_pod_is_gone_with_what_was_written_after_it_was_seen() -> Result<()> {
        let state = TempDir::new()?;
        write(state.path(), "shop_orders", "listening\n")?;
        assert_eq!(all(state.path())?.len(), 1, "seen");
        write(
            state.path(),
            "shop_orders",
            "{\"message\":\"panic\",\"place\":\"a.rs:1:1\"}\n",
        )?;
        fs::remove_dir_all(state.path().join(LOGS))?;
        write(state.path(), "shop_stock", "listening\n")?;
        let logs = all(state.path())?;
        assert_eq!(logs.len(), 2, "{logs:?}");
        let found = panics(&logs)?;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("shop_orders_hallpass_"), "{found:?}");
        Ok(())
    }

    #[test]
    fn a_log_that_was_put_aside_is_kept_once_and_the_one_that_took_its_name_too() -> Result<()> {
        let state = TempDir::new()?;
        write(state.path(), "shop_orders", "listening\n")?;
        assert_eq!(all(state.path())?.len(), 1, "seen");
        let folder = state.path().join(LOGS).join("shop_orders/hallpass");
        fs::rename(folder.join("0.log"), folder.join("0.log.20260101-000000"))?;
        write(state.path(), "shop_orders", "{\"message\":\"panic\"}\n")?;
        let logs = all(state.path())?;
        assert_eq!(logs.len(), 2, "{logs:?}");
        assert_eq!(panics(&logs)?.len(), 1);
        Ok(())
    }
}
