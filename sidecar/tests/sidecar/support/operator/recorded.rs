//! An operator that says what another one said once, byte for byte.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    FakeOperator, Script,
    tls::{Listener, certificates},
};

/// Answers by what was asked: `assignments`, `assignments-again` (with a tag), `tokens` and `trust`.
pub(crate) type Answers = BTreeMap<&'static str, String>;

impl FakeOperator {
    /// One that gives these answers, heads with line feeds alone. What has none ends the connection.
    pub(crate) async fn recorded(answers: Answers) -> Self {
        let (ca, config) = certificates(Timestamp::UNIX_EPOCH);
        let tls = TlsAcceptor::from(Arc::new(config));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let mut listener = Listener {
            tcp,
            tls: [tls.clone(), tls],
            script: Arc::clone(&script),
            replica: 0,
            held: Vec::new(),
        };
        let (answers, log) = (Arc::new(answers), Arc::clone(&script));
        tokio::spawn(async move {
            loop {
                let (stream, _) = axum::serve::Listener::accept(&mut listener).await;
                tokio::spawn(talk(stream, Arc::clone(&answers), Arc::clone(&log)));
            }
        });
        Self {
            addresses: [address; 2],
            next_ca: ca.clone(),
            ca,
            script,
        }
    }

    /// What was asked by that name so far, as it is kept: heads with line feeds alone, and without what
    /// differs each time.
    pub(crate) fn requests(&self, name: &str) -> Vec<String> {
        let script = self.script.lock().unwrap();
        let asked = script.requests.iter().filter(|(of, _)| *of == name);
        asked.map(|(_, text)| text.clone()).collect()
    }
}

async fn talk(mut stream: TlsStream<TcpStream>, answers: Arc<Answers>, script: Arc<Mutex<Script>>) {
    while let Some(request) = request(&mut stream).await {
        let name = name(&request);
        let answer = answers.get(name).map(|answer| sent(answer));
        let closes = answer
            .as_ref()
            .is_none_or(|answer| answer.contains("connection: close"));
        script.lock().unwrap().requests.push((name, kept(&request)));
        if let Some(answer) = answer {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        if closes {
            return stream.shutdown().await.unwrap_or_default();
        }
    }
}

/// The next request of a connection, or its end.
async fn request(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lines = head.lines();
            let mut length = lines.filter_map(|line| line.strip_prefix("content-length: "));
            let length = length.next().map_or(0, |length| length.parse().unwrap());
            if body.len() == length {
                return Some(text);
            }
        }
        let mut part = [0; 4096];
        let size = stream.read(&mut part).await.unwrap_or_default();
        if size == 0 {
            return None;
        }
        text += std::str::from_utf8(&part[..size]).unwrap();
    }
}

fn name(request: &str) -> &'static str {
    let path = request.split(' ').nth(1).unwrap();
    let again = request.contains("\r\nif-none-match: ");
    let known = match path.strip_prefix("/v1/").unwrap_or_default() {
        "assignments" if again => Some("assignments-again"),
        "assignments" => Some("assignments"),
        "tokens" => Some("tokens"),
        "trust" => Some("trust"),
        _ => None,
    };
    known.ok_or(path).unwrap()
}

fn kept(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = Vec::new();
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("content-length", _)) => {}
            Some(("authorization", _)) => lines.push("authorization: Bearer {identity}"),
            Some(("host", _)) => lines.push("host: {host}"),
            Some(("if-none-match", _)) => lines.push("if-none-match: {etag}"),
            _ => lines.push(line),
        }
    }
    format!("{}\n\n{body}", lines.join("\n"))
}

/// The answer with a token in each place of one.
fn sent(answer: &str) -> String {
    let (head, body) = answer.split_once("\n\n").unwrap();
    let (head, body) = (head.replace('\n', "\r\n"), body.replace("{token}", TOKEN));
    let length = match body.len() {
        0 => String::new(),
        length => format!("content-length: {length}\r\n"),
    };
    format!("{head}\r\n{length}\r\n{body}")
}

/// What stands where a token was recorded.
pub(crate) const TOKEN: &str = "planted.token.1";
