//! A request to a socket of the sidecar: written by hand, since a second HTTP client would cost every
//! pod 60 kB, and the other end is this program too.

use std::{
    io,
    path::{Path, PathBuf},
    str,
    time::Duration,
};

use hallpass_core::{secret::Secret, wire::Problem};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

/// An answer. Its body may be a token.
pub(super) struct Answer {
    pub status: u16,
    pub body: Secret<Vec<u8>>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect to {}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("cannot talk to {}", path.display())]
    Exchange { path: PathBuf, source: io::Error },
    #[error("the answer from {} is not whole", path.display())]
    Broken { path: PathBuf },
    #[error("no answer from {} within {} s", path.display(), limit.as_secs())]
    TooSlow { path: PathBuf, limit: Duration },
}

impl Answer {
    /// The refusal, where the body is one.
    pub(super) fn problem(&self) -> Option<Problem> {
        serde_json::from_slice(self.body.expose()).ok()
    }
}

/// Asks the socket at `path` for `target`, with one more header.
pub(super) async fn ask(
    path: &Path,
    target: &str,
    header: &str,
    limit: Duration,
) -> Result<Answer, ClientError> {
    let exchange = async {
        let at = || path.to_owned();
        let connected = UnixStream::connect(path).await;
        let mut stream = connected.map_err(|source| ClientError::Connect { path: at(), source })?;
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: hallpass\r\nconnection: close\r\n{header}\r\n\r\n"
        );
        let mut answer = Vec::with_capacity(4096);
        let read = async {
            stream.write_all(request.as_bytes()).await?;
            stream.take(LARGEST).read_to_end(&mut answer).await
        };
        let outcome = read.await;
        let answer = Secret::new(answer);
        outcome.map_err(|source| ClientError::Exchange { path: at(), source })?;
        parse(&answer).ok_or_else(|| ClientError::Broken { path: at() })
    };
    timeout(limit, exchange).await.unwrap_or_else(|_elapsed| {
        Err(ClientError::TooSlow {
            path: path.to_owned(),
            limit,
        })
    })
}

/// Reads an answer whose length is told (RFC 9112 §6.2), as every one to `connection: close` is here.
fn parse(answer: &Secret<Vec<u8>>) -> Option<Answer> {
    let bytes = answer.expose();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut head = str::from_utf8(bytes.get(..end)?).ok()?.split("\r\n");
    let status = head.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let length = head.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse::<usize>().ok()).flatten()
    })?;
    let body = bytes.get(end + 4..)?;
    Some(Answer {
        status: status.parse().ok()?,
        body: Secret::new((body.len() == length).then(|| body.to_vec())?),
    })
}

const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(u16, Vec<u8>)> {
        let answer = parse(&Secret::new(text.as_bytes().to_vec()))?;
        Some((answer.status, answer.body.expose().clone()))
    }

    #[test]
    fn a_whole_answer_is_read_and_a_broken_one_is_none() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\ntoken";
        assert_eq!(parsed(whole), Some((200, b"token".to_vec())));
        for end in 0..whole.len() {
            assert_eq!(parsed(&whole[..end]), None, "{end}");
        }
        assert_eq!(parsed("HTTP/1.1 200 OK\r\n\r\ntoken"), None);
    }
}
