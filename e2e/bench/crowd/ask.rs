//! Who reads the tokens of one sidecar.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::sleep,
};

use super::{Served, TOKENS, token_name};

/// Reads all tokens there, one after the other, and says when it had the first and the last.
pub(super) async fn all(socket: PathBuf, began: Instant, pause: Duration) -> Result<Served> {
    let mut first = None;
    let mut number = 0;
    loop {
        let outcome = from(&socket, began, &mut number, &mut first).await;
        match (outcome, first) {
            (Ok(last), Some(first)) => return Ok(Served { first, last }),
            (Err(why), _) if began.elapsed() > LONGEST => {
                let socket = socket.display();
                return Err(why.context(format!("token {number} of {socket}")));
            }
            // it does not listen yet, or the token is not there yet
            _ => sleep(pause).await,
        }
    }
}

/// Reads over one connection from that number on.
async fn from(
    socket: &Path,
    began: Instant,
    number: &mut usize,
    first: &mut Option<Duration>,
) -> Result<Duration> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    loop {
        read(&mut stream, &token_name(*number)).await?;
        first.get_or_insert_with(|| began.elapsed());
        *number += 1;
        if *number == TOKENS {
            return Ok(began.elapsed());
        }
    }
}

async fn read(stream: &mut BufReader<UnixStream>, name: &str) -> Result<()> {
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
    ensure!(good, "{status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

const LONGEST: Duration = Duration::from_secs(120);
