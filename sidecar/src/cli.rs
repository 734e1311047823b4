//! The command line.

mod client;
mod get;
mod help;
mod wait;

use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use hallpass_core::{
    name::{ContainerName, TokenName},
    process,
};
use lexopt::{Arg, ValueExt as _};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{app, config::Config, surroundings::Surroundings, telemetry};

/// What the program is asked to do.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Serve,
    Get {
        name: TokenName,
        container: Option<ContainerName>,
    },
    Wait,
    Help,
}

/// Runs the program with its arguments, the program's own name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match execute(arguments) {
        Ok(code) => code,
        Err(error) => {
            let mut line = format!("hallpass-sidecar: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                line.push_str(&format!(": {error}"));
                cause = error.source();
            }
            line.push('\n');
            // Where not even this can be written, the exit code is all there is.
            io::stderr().write_all(line.as_bytes()).unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

type Failed = Box<dyn Error + Send + Sync>;

fn execute(arguments: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failed> {
    // In a pod with shareProcessNamespace another container of the same user would otherwise read the
    // identity token, and every container's tokens, under /proc/PID/root. Each command runs beside them.
    process::conceal()?;
    match parse(lexopt::Parser::from_iter(arguments))? {
        Command::Help => {
            io::stdout().write_all(help::TEXT.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve => {
            let surroundings = Surroundings::system();
            telemetry::init(surroundings.clock.clone());
            let config = Config::from_env()?;
            let runtime = runtime()?;
            runtime.block_on(async {
                let stop = terminated()?;
                // It is large, and there is one.
                Box::pin(app::serve(config, surroundings, stop)).await?;
                Ok::<_, Failed>(())
            })?;
            // A look-up that hangs in its thread must not hold up the end.
            runtime.shutdown_background();
            Ok(ExitCode::SUCCESS)
        }
        Command::Get { name, container } => {
            runtime()?.block_on(get::run(&name, container.as_ref()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Wait => Ok(runtime()?.block_on(wait::run())?),
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut words = Vec::new();
    let mut container = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("container") => {
                container = Some(parser.value()?.parse_with(ContainerName::parse)?);
            }
            Arg::Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match (words.as_slice(), container) {
        (["serve"], None) => Ok(Command::Serve),
        (["wait"], None) => Ok(Command::Wait),
        (["help"], None) => Ok(Command::Help),
        (["get", name], container) => match TokenName::parse(name) {
            Ok(name) => Ok(Command::Get { name, container }),
            Err(error) => Err(format!("the name of a token {error}").into()),
        },
        (["get"], _) => Err("get: which token? hallpass-sidecar get NAME".into()),
        _ => Err("say serve, get NAME or wait; --help says more".into()),
    }
}

/// One thread: what is done here is short, and each thread costs memory in every pod.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Room for 1024 is the usual, and kept: what does not find room is told in the next turn.
        .max_io_events_per_tick(64)
        // The threads that look names up: a second one, where the first one hangs.
        .max_blocking_threads(2)
        .thread_stack_size(256 * 1024)
        .build()
}

/// Resolves at SIGTERM or SIGINT. As process 1 the program gets no signal that it does not handle.
fn terminated() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    use super::*;

    #[test]
    fn t28_no_process_of_the_same_user_may_look_into_this_one() {
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable));
        let code = run(["hallpass-sidecar", "get"].map(OsString::from));
        assert_eq!(code, ExitCode::FAILURE);
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }

    fn parsed(words: &[&str]) -> Result<Command, String> {
        let words = std::iter::once("hallpass-sidecar").chain(words.iter().copied());
        parse(lexopt::Parser::from_iter(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_each_command() {
        assert_eq!(parsed(&["serve"]), Ok(Command::Serve));
        assert_eq!(parsed(&["wait"]), Ok(Command::Wait));
        assert_eq!(parsed(&["get", "--help"]), Ok(Command::Help));
        let name = TokenName::parse("vault").unwrap();
        let container = Some(ContainerName::parse("app").unwrap());
        let get = Command::Get { name, container };
        assert_eq!(parsed(&["get", "vault", "--container=app"]), Ok(get));
    }

    #[test]
    fn says_what_is_wrong_with_the_others() {
        let cases: [(&[&str], &str); 4] = [
            (&[], "say serve, get NAME or wait"),
            (&["get"], "which token"),
            (
                &["get", "Vault"],
                "the name of a token must consist of lower-case",
            ),
            (&["serve", "--port"], "--port"),
        ];
        for (words, expected) in cases {
            let error = parsed(words).unwrap_err();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
    }
}
