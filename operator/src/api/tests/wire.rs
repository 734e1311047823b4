//! Sidecars of former versions, as `wire/` has recorded them: each of their requests is answered today with
//! what they were answered then.

use std::{fs, path::PathBuf};

use axum::body::Body;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tower::Service;

use crate::{
    api::{
        Front,
        fixture::{Operator, identity, request, send},
    },
    index::Index,
    issuer::fixture::{START, mint, now, status},
    telemetry::Metrics,
};

/// How an operator is when it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Well,
    /// The pod may hold nothing.
    NoPolicy,
    /// The API server refuses one of the two tokens.
    Some,
    /// The API server refuses every token.
    Refused,
    /// The same was asked for a moment ago, twice.
    Often,
    /// The API server fails.
    Unavailable,
    /// No audit record can be written.
    Internal,
    /// The cluster has not been read yet.
    NotSynced,
    /// The identity token is for somebody else.
    Stranger,
}

/// The answers that are recorded, by what was asked: all that a sidecar has to understand.
const EXCHANGES: [(&str, &str, Mood); 13] = [
    ("assignments", "assignments", Mood::Well),
    ("assignments-again", "assignments-again", Mood::Well),
    ("assignments-none", "assignments", Mood::NoPolicy),
    ("assignments-not-synced", "assignments", Mood::NotSynced),
    ("assignments-stranger", "assignments", Mood::Stranger),
    ("tokens", "tokens", Mood::Well),
    ("tokens-some", "tokens", Mood::Some),
    ("tokens-refused", "tokens", Mood::Refused),
    ("tokens-often", "tokens", Mood::Often),
    ("tokens-unavailable", "tokens", Mood::Unavailable),
    ("tokens-internal", "tokens", Mood::Internal),
    ("tokens-not-synced", "tokens", Mood::NotSynced),
    ("trust", "trust", Mood::Well),
];

#[tokio::test(start_paused = true)]
async fn every_request_of_a_former_sidecar_is_answered_with_what_it_needs() {
    for version in versions() {
        let folder = root().join(&version);
        let bundle = bundle(&folder);
        for (name, asked, mood) in EXCHANGES {
            let request = read(&folder.join("requests").join(asked));
            let today = recorded(&answer(mood, &request, &bundle).await);
            let file = folder.join("responses").join(format!("{name}.http"));
            if recording() && version == current() {
                fs::write(&file, &today).unwrap();
            }
            let then = fs::read_to_string(&file).unwrap();
            holds(&format!("{version}/{name}"), &today, &then);
        }
    }
}

#[tokio::test]
async fn a_request_of_a_future_sidecar_is_answered_as_far_as_it_is_understood() {
    let request = read(&root().join("future/requests/tokens"));
    assert!(request.contains("of-the-future"), "{request}");
    let answer = answer(Mood::Well, &request, "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let names = [0, 1].map(|n| body["tokens"][n]["name"].clone());
    assert_eq!(names, ["queue", "vault"]);
}

#[test]
fn there_is_a_folder_for_this_version_and_for_the_three_before_it() {
    let minor: u32 = env!("CARGO_PKG_VERSION_MINOR").parse().unwrap();
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    let first = minor.saturating_sub(3).max(1);
    let expected: Vec<_> = (first..=minor).map(|n| format!("{major}.{n}")).collect();
    assert_eq!(versions(), expected, "wire/README.md says what to do");
}

/// What an operator in that mood answers, as it goes over the wire.
async fn answer(mood: Mood, text: &str, bundle: &str) -> String {
    let mut operator = match mood {
        Mood::NotSynced => Operator::with(Index::new(Metrics::new(), now), mint).await,
        Mood::Refused => Operator::minting(|_| status(422, "", "no")).await,
        Mood::Unavailable => Operator::minting(|_| status(500, "", "no")).await,
        Mood::Some => {
            let is_queue = |body: &Value| body["spec"]["audiences"][0] == "https://queue.example";
            Operator::minting(move |body| {
                if is_queue(body) {
                    status(422, "", "no")
                } else {
                    mint(body)
                }
            })
            .await
        }
        _ => Operator::new().await,
    };
    if mood == Mood::Internal {
        operator.lines.fail_after(10);
    }
    operator.anchors().set(bundle.into());
    let bearer = match mood {
        Mood::NoPolicy => operator.bearer("idle-0", "idle"),
        Mood::Stranger => {
            let mut claims = identity("orders-0", "orders");
            claims["aud"] = json!(["https://vault.example"]);
            operator.signed(&claims)
        }
        _ => operator.bearer("orders-0", "orders"),
    };
    let router = operator.router();
    if mood == Mood::Often {
        for _ in 0..2 {
            send(&router, request("POST", "/v1/tokens", &bearer, "{}")).await;
        }
    }
    let known = send(&router, request("GET", "/v1/assignments", &bearer, "")).await;
    let text = text.replace("{identity}", &bearer);
    let text = text.replace("{etag}", known.header("etag"));
    exchange(router, &text.replace("{host}", "hallpass")).await
}

/// Sends the request, byte for byte, and reads the answer.
async fn exchange(router: Front, text: &str) -> String {
    let (mut ours, theirs) = duplex(64 * 1024);
    let service =
        service_fn(move |request: Request<Incoming>| router.clone().call(request.map(Body::new)));
    let serving = http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
    let asking = async move {
        let (head, body) = text.split_once("\n\n").unwrap();
        let head = head.replace('\n', "\r\n");
        let length = match body.len() {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        let text = format!("{head}\r\n{length}\r\n{body}");
        ours.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !is_whole(&answer) {
            let mut part = [0; 4096];
            let size = ours.read(&mut part).await.unwrap();
            assert!(size > 0, "cut off: {answer}");
            answer += std::str::from_utf8(&part[..size]).unwrap();
        }
        answer
    };
    // It ends when nobody asks any more, or with an answer that ends the connection.
    tokio::join!(asking, serving).0
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() == length.parse::<usize>().unwrap())
}

/// The answer as it is kept: without what differs each time, and without tokens.
fn recorded(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = Vec::new();
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("content-length", _)) => {}
            Some(("date", _)) => lines.push(format!("date: {}", date())),
            Some(("x-request-id", _)) => lines.push(format!("x-request-id: {NO_ID}")),
            _ => lines.push(line.to_owned()),
        }
    }
    let body = serde_json::from_str(body).map_or_else(
        |_pem| body.to_owned(),
        |mut body| {
            blank(&mut body);
            body.to_string()
        },
    );
    format!("{}\n\n{body}", lines.join("\n"))
}

fn date() -> String {
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    printer.timestamp_to_rfc9110_string(&now()).unwrap()
}

fn blank(body: &mut Value) {
    match body {
        Value::Object(members) => {
            for (name, member) in members {
                match name.as_str() {
                    "token" => *member = json!("{token}"),
                    "request_id" => *member = json!(NO_ID),
                    _ => blank(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank),
        _ => {}
    }
}

/// Whether today's answer holds what was in that of then: the status, every header and every member, with the
/// same values. There may be more.
fn holds(what: &str, today: &str, then: &str) {
    let parts = |text: &str| -> (String, Vec<(String, String)>, String) {
        let (head, body) = text.split_once("\n\n").unwrap();
        let (status, headers) = head.split_once('\n').unwrap();
        let headers = headers.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        (status.to_owned(), headers.collect(), body.to_owned())
    };
    let (today, then) = (parts(today), parts(then));
    assert_eq!(today.0, then.0, "{what}");
    for (name, value) in &then.1 {
        let told = today.1.iter().filter(|(told, _)| told == name);
        let told: Vec<_> = told.map(|(_, value)| value.as_str()).collect();
        let [told] = told[..] else {
            panic!("{what}: {name} in {:?}", today.1);
        };
        assert_eq!(kept(name, told), kept(name, value), "{what}: {name}");
    }
    match serde_json::from_str::<Value>(&then.2) {
        Err(_pem) => assert_eq!(today.2, then.2, "{what}"),
        Ok(body) => includes(what, &serde_json::from_str(&today.2).unwrap(), &body),
    }
}

/// What of a header's value may not change: all of it, but for these.
fn kept<'a>(name: &str, value: &'a str) -> &'a str {
    match name {
        // made from all that is said, of which there may be more; it is sent back as it is
        "etag" if value.len() > 2 && value.starts_with('"') && value.ends_with('"') => "a tag",
        // words, which may be chosen better
        "www-authenticate" => value.split(", error_description=").next().unwrap(),
        _ => value,
    }
}

fn includes(what: &str, today: &Value, then: &Value) {
    match then {
        Value::Object(members) => {
            for (name, member) in members {
                let told = &today[name];
                match name.as_str() {
                    // words, which may be chosen better
                    "title" | "detail" => {
                        assert!(!told.is_null(), "{what}: {name} in {today}");
                    }
                    _ => includes(what, told, member),
                }
            }
        }
        Value::Array(items) => {
            assert_eq!(today.as_array().map(Vec::len), Some(items.len()), "{what}");
            for (n, item) in items.iter().enumerate() {
                includes(what, &today[n], item);
            }
        }
        _ => assert_eq!(today, then, "{what}"),
    }
}

/// The CAs that the recorded operator had, or for the first recording some.
fn bundle(folder: &std::path::Path) -> String {
    let file = folder.join("responses/trust.http");
    if let Ok(text) = fs::read_to_string(file) {
        return text.split_once("\n\n").unwrap().1.to_owned();
    }
    let certificate = || {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.self_signed(&key).unwrap().pem()
    };
    certificate() + &certificate()
}

fn read(file: &std::path::Path) -> String {
    let file = file.with_extension("http");
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The folders of versions, in their order.
fn versions() -> Vec<String> {
    let folders = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    let names = folders.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "future").collect();
    names.sort_by_key(|name| {
        let (major, minor) = name.split_once('.').unwrap();
        [major, minor].map(|part| part.parse::<u32>().unwrap())
    });
    names
}

fn current() -> String {
    let (major, minor) = (
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
    );
    format!("{major}.{minor}")
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../wire"))
}

/// Whether the answers of this version are written anew.
#[expect(clippy::disallowed_methods, reason = "whoever runs the test says it")]
fn recording() -> bool {
    std::env::var("HALLPASS_RECORD_WIRE").is_ok_and(|value| value == "1")
}

const NO_ID: &str = "00000000000000000000000000000000";
const _: () = assert!(START == 1_790_000_000, "what is recorded is of that time");
