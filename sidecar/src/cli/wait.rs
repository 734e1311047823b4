//! `wait`: the startup probe. What it prints is what `kubectl describe pod` shows.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use hallpass_core::wire::Problem;
use tokio::time::{Instant, sleep};

use super::client::{Answer, ClientError, ask};
use crate::{app::containers, config::CONTAINERS, serve::SOCKET, telemetry::chain};

/// Waits, and prints what is missing.
pub(super) async fn run() -> io::Result<ExitCode> {
    let missing = missing(Path::new(CONTAINERS), PATIENCE).await;
    let mut out = io::stdout();
    for line in &missing {
        writeln!(out, "{line}")?;
    }
    Ok(if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A line for each thing that is missing on any socket after `patience`; none when all are ready.
async fn missing(directory: &Path, patience: Duration) -> BTreeSet<String> {
    let deadline = Instant::now() + patience;
    let mut lines = BTreeSet::new();
    let containers = match containers(directory) {
        Ok(containers) => containers,
        Err(error) => {
            lines.insert(chain(&error));
            return lines;
        }
    };
    for container in containers {
        let socket = directory.join(container.as_str()).join(SOCKET);
        match ready(&socket, deadline).await {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => lines.extend(told(answer.status, answer.problem())),
            Err(error) => {
                lines.insert(chain(&error));
            }
        }
    }
    lines
}

/// Asks until there is an answer: the program may be about to bind its socket.
async fn ready(socket: &Path, deadline: Instant) -> Result<Answer, ClientError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let prefer = format!("prefer: wait={}", left.as_secs());
        match ask(socket, "/readyz", &prefer, left + GRACE).await {
            Err(ClientError::Connect { .. }) if left > AGAIN => sleep(AGAIN).await,
            outcome => return outcome,
        }
    }
}

fn told(status: u16, problem: Option<Problem>) -> Vec<String> {
    let Some(problem) = problem else {
        return vec![format!("the sidecar answers {status}")];
    };
    if problem.tokens.is_empty() {
        return vec![format!("{}: {}", problem.code, problem.detail)];
    }
    let tokens = problem.tokens.iter();
    tokens
        .map(|token| {
            format!(
                "token {}: {}: {}",
                token.name, token.problem.code, token.problem.detail
            )
        })
        .collect()
}

/// The probe is cut off at 12 s.
const PATIENCE: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hallpass_core::{
        name::ContainerName,
        wire::{Assignments, TokenEntry},
    };
    use tokio::sync::watch;

    use super::*;
    use crate::{
        hold::{
            Asked, Hold,
            fixture::{assignment, issued, polled, token_name},
        },
        serve::{self, files::Files, http::Socket},
        surroundings::{Jitter, Surroundings},
    };

    #[tokio::test]
    async fn tells_what_is_missing_and_nothing_once_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("app");
        std::fs::create_dir(&own).unwrap();
        let lines = missing(directory.path(), Duration::ZERO).await;
        let line = lines.first().unwrap();
        assert!(line.starts_with("cannot connect to "), "{line}");

        let app = ContainerName::parse("app").unwrap();
        let clock = Surroundings::system().clock;
        let now = clock.now();
        let places = [(app.clone(), Files::open(&own).unwrap())];
        let hold = Arc::new(Hold::new(places, now, Jitter::new(|| 0.5), Arc::default()));
        let tokens = vec![assignment("vault", 600)];
        let assignments = Assignments {
            tokens,
            notice: None,
        };
        hold.polled(polled(assignments, 30), now);
        let (_stopping, stopped) = watch::channel(false);
        let socket = Socket::new(
            app,
            Arc::clone(&hold),
            clock,
            Arc::default(),
            stopped.clone(),
        );
        let listener = Arc::new(serve::bind(&own).unwrap());
        let answer = move |request| {
            let socket = socket.clone();
            async move { socket.answer(request).await }
        };
        let waiting = async {
            let lines = missing(directory.path(), Duration::ZERO).await;
            assert_eq!(
                Vec::from_iter(lines),
                ["token vault: Pending: the token is on its way"]
            );
            // The wait is under way when the token comes.
            let coming = async {
                let entry = TokenEntry::Issued(issued("vault", "planted", 600));
                hold.fetched(&[token_name("vault")], vec![entry], Asked::at(now), now);
            };
            let (lines, ()) = tokio::join!(missing(directory.path(), PATIENCE), coming);
            assert_eq!(lines, BTreeSet::new());
        };
        tokio::select! {
            () = waiting => {}
            () = serve::accept(listener, answer, Arc::default(), stopped) => panic!("closed"),
        }
    }
}
