//! `get NAME`: prints a token.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use hallpass_core::name::{ContainerName, TokenName};

use super::client::{ClientError, ask};
use crate::{
    app::{StartError, containers},
    config::{CONTAINERS, told_socket},
    serve::SOCKET,
};

/// Why no token was printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum GetError {
    #[error(transparent)]
    Containers(#[from] StartError),
    #[error("which container? --container {}", names.join(" or "))]
    WhichContainer { names: Vec<String> },
    #[error(transparent)]
    Ask(#[from] ClientError),
    #[error("{detail} ({code})")]
    Refused { code: String, detail: String },
    #[error("cannot write the token")]
    Print(#[source] io::Error),
}

pub(super) async fn run(
    name: &TokenName,
    container: Option<&ContainerName>,
) -> Result<(), GetError> {
    let socket = match (container, told_socket()) {
        (None, Some(told)) => told,
        (container, _) => socket(Path::new(CONTAINERS), container)?,
    };
    let token = fetch(&socket, name).await?;
    let mut out = io::stdout();
    out.write_all(token.expose()).map_err(GetError::Print)?;
    if out.is_terminal() {
        out.write_all(b"\n").map_err(GetError::Print)?;
    }
    out.flush().map_err(GetError::Print)
}

type Token = hallpass_core::secret::Secret<Vec<u8>>;

async fn fetch(socket: &Path, name: &TokenName) -> Result<Token, GetError> {
    let answer = ask(
        socket,
        &format!("/v1/tokens/{name}"),
        "accept: text/plain",
        LIMIT,
    )
    .await?;
    if answer.status == 200 {
        return Ok(answer.body);
    }
    let (code, detail) = match answer.problem() {
        Some(problem) => (problem.code.into_owned(), problem.detail),
        None => (answer.status.to_string(), "no token".to_owned()),
    };
    Err(GetError::Refused { code, detail })
}

fn socket(directory: &Path, container: Option<&ContainerName>) -> Result<PathBuf, GetError> {
    let container = match container {
        Some(container) => container.clone(),
        None => match <[_; 1]>::try_from(containers(directory)?) {
            Ok([only]) => only,
            Err(several) => {
                let names = several.into_iter().map(String::from).collect();
                return Err(GetError::WhichContainer { names });
            }
        },
    };
    Ok(directory.join(container.as_str()).join(SOCKET))
}

/// Longer than the sidecar itself waits for a token that is on its way.
const LIMIT: Duration = Duration::from_secs(15);
