//! The least client of HTTP/1.1 over TLS there can be, so that its own work does not count.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::Target;

pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self> {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, target.port)).await;
        let tcp = tcp.with_context(|| format!("connect to port {}", target.port))?;
        tcp.set_nodelay(true)?;
        let tls = TlsConnector::from(target.tls.clone());
        let stream = tls.connect(target.name.clone(), tcp).await;
        Ok(Self {
            stream: stream.context("shake hands")?,
            request: Vec::with_capacity(4096),
            answer: Vec::with_capacity(16384),
        })
    }

    /// Makes the request of that number and returns the body of its answer.
    pub(super) async fn ask(&mut self, target: &Target, number: usize) -> Result<&[u8]> {
        self.request.clear();
        (target.write)(number, &mut self.request);
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        let head = loop {
            self.more().await?;
            if let Some(head) = Head::read(&self.answer)? {
                break head;
            }
        };
        let begin = head.length;
        match head.body {
            Some(length) => {
                while self.answer.len() < begin + length {
                    self.more().await?;
                }
            }
            None => {
                while !self.answer.ends_with(LAST_CHUNK) {
                    self.more().await?;
                }
                let whole = unchunked(&self.answer[begin..])?;
                self.answer.truncate(begin);
                self.answer.extend_from_slice(&whole);
            }
        }
        let (status, body) = (head.status, &self.answer[begin..]);
        let good = (target.good)(status, body);
        ensure!(good, "answered {status}: {}", String::from_utf8_lossy(body));
        Ok(body)
    }

    async fn more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.answer).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) length: usize,
    /// The length of the body; [`None`] where it comes in chunks.
    pub(crate) body: Option<usize>,
}

impl Head {
    /// [`None`] while it is not all there.
    pub(crate) fn read(answer: &[u8]) -> Result<Option<Self>> {
        let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&answer[..end]).context("a head in ASCII")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then_some(value)
        });
        let status = head.get(9..12).context("a status line")?.parse()?;
        let body = length.map(|text| text.trim().parse()).transpose()?;
        Ok(Some(Self {
            status,
            length: end + 4,
            body,
        }))
    }
}

/// The body of which those are the chunks (RFC 9112, section 7.1).
fn unchunked(mut chunks: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = chunks.windows(2).position(|bytes| bytes == b"\r\n");
        let (length, rest) = chunks.split_at(end.context("a length")?);
        let length = usize::from_str_radix(std::str::from_utf8(length)?.trim(), 16)?;
        if length == 0 {
            return Ok(whole);
        }
        let chunk = rest.get(2..2 + length).context("a chunk")?;
        whole.extend_from_slice(chunk);
        chunks = &rest[4 + length..];
    }
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
