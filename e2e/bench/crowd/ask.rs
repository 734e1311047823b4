//! Who reads the tokens of one sidecar.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::sleep,
};

use super::{Served, TOKENS, token_name};

/// How far somebody is who reads all tokens of a sidecar.
#[derive(Debug, Default)]
struct Reading {
    number: usize,
    first: Option<Duration>,
    refused: usize,
    broken: usize,
}

/// Reads all tokens there, one after the other, and says when it had the first and the last.
pub(super) async fn all(socket: PathBuf, began: Instant, pause: Duration) -> Result<Served> {
    let mut reading = Reading::default();
    loop {
        let outcome = reading.go_on(&socket, began).await;
        match (outcome, reading.first) {
            (Ok(last), Some(first)) => {
                return Ok(Served {
                    first,
                    last,
                    refused: reading.refused,
                    broken: reading.broken,
                });
            }
            (Err(why), _) if began.elapsed() > LONGEST => {
                let (number, socket) = (reading.number, socket.display());
                return Err(why.context(format!("token {number} of {socket}")));
            }
            // it does not listen yet, or the token is not there yet
            _ => sleep(pause).await,
        }
    }
}

impl Reading {
    /// Reads over one connection what is not read yet.
    async fn go_on(&mut self, socket: &Path, began: Instant) -> Result<Duration> {
        let mut stream = BufReader::new(UnixStream::connect(socket).await?);
        loop {
            match read(&mut stream, &token_name(self.number)).await {
                Ok(None) => {}
                Ok(Some(refusal)) => {
                    self.refused += 1;
                    bail!(refusal);
                }
                Err(why) => {
                    self.broken += 1;
                    return Err(why);
                }
            }
            self.first.get_or_insert_with(|| began.elapsed());
            self.number += 1;
            if self.number == TOKENS {
                return Ok(began.elapsed());
            }
        }
    }
}

/// Why there is no token, if there is none.
async fn read(stream: &mut BufReader<UnixStream>, name: &str) -> Result<Option<String>> {
    let request = format!("GET /v1/tokens/{name} HTTP/1.1\r\nhost: hallpass\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line).await? > 0, "it hung up");
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        match text.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?;
            }
            None => text.clone_into(&mut status),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.context("the body")?;
    let good = status.starts_with("HTTP/1.1 200") && length > 300;
    Ok((!good).then(|| format!("{status}: {}", String::from_utf8_lossy(&body))))
}

const LONGEST: Duration = Duration::from_secs(120);
