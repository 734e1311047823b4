//! Logs: one JSON object per line on stderr. Stdout belongs to the audit.

use std::{
    error::Error,
    fmt, io,
    panic::{self, PanicHookInfo},
    time::Duration,
};

use tracing::{error, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets, fmt as lines, layer::SubscriberExt, util::SubscriberInitExt,
};

use self::lossy::Lines;
use super::Metrics;

mod lossy;

/// Starts logging. Other crates never say more than `info`: what they tell below that may hold what
/// they send.
///
/// # Guarantees
/// Nobody who logs waits for who reads it. What finds no room is lost, and counted in `metrics`.
///
/// # Errors
/// If logging was started before, or has no thread.
pub fn start(level: LevelFilter, metrics: Metrics) -> Result<Logs, StartError> {
    let logs = Logs(Lines::to(io::stderr(), metrics).map_err(StartError::Thread)?);
    let lines = lines::layer()
        .json()
        .flatten_event(true)
        .with_writer(logs.0.clone());
    tracing_subscriber::registry()
        .with(filter(level))
        .with(lines)
        .try_init()
        .map_err(StartError::Twice)?;
    panic::set_hook(Box::new(tell_panic));
    Ok(logs)
}

/// The log. Dropped, it waits until all lines are written, for a second at most, and takes no more.
#[derive(Debug)]
#[must_use]
pub struct Logs(Lines);

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.close(LAST);
    }
}

fn filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("hallpass", level)
        // It warns of an answer that it cannot read with all of the answer, which may be a Secret.
        .with_target("kube_client", level.min(LevelFilter::ERROR))
}

/// A panic is one line among the others, not a text of its own form. Its message may hold anything, a
/// token too: the place says enough.
fn tell_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    error!(panic.location = location, "panic");
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing would write it.
    #[error("start the thread that writes the log")]
    Thread(#[source] io::Error),
    /// There is one already.
    #[error("start logging")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Prints an error and all its causes, once: `outer: inner: innermost`.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Some libraries repeat the cause in their own text.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            next = error.source();
        }
        Ok(())
    }
}

/// How long the last lines are waited for.
const LAST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read the Secret")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("ask the API server: refused")]
    struct Middle(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Inner;

    #[test]
    fn t37_the_client_of_the_api_server_never_says_what_it_was_answered() {
        for level in [LevelFilter::WARN, LevelFilter::INFO, LevelFilter::TRACE] {
            let filter = filter(level);
            let says = |target, level| filter.would_enable(target, &level);
            assert!(!says("kube_client::client", Level::WARN), "{level}");
            assert!(says("kube_client::client", Level::ERROR), "{level}");
            assert!(says("kube_runtime::watcher", Level::WARN), "{level}");
            assert!(says("hallpass_operator::app", Level::WARN), "{level}");
            assert!(!says("hyper::proto", Level::DEBUG), "{level}");
        }
    }

    #[test]
    fn a_chain_tells_every_cause_once() {
        let error = Outer(Middle(Inner));
        assert_eq!(
            Chain(&error).to_string(),
            "read the Secret: ask the API server: refused"
        );
    }
}
