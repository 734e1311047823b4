//! The calls to the API server that keys go through.
//!
//! They go around the typed client on purpose: that one logs an answer that it cannot read, and the
//! answer holds private keys. Nothing of an answer gets into an error here but its status and the one
//! word of its reason.

use std::time::Duration;

use hallpass_core::{name::IssuerId, secret::Secret};
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt, Limited};
use jiff::{Timestamp, fmt::rfc2822};
use kube::{Client, client::Body};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use super::secret::{ACTIVATED, LABEL, Object, Version};

/// The Secrets of one namespace.
#[derive(Clone)]
pub(super) struct Store {
    client: Client,
    path: Box<str>,
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the request could not be made")]
    Make(#[source] http::Error),
    #[error("no answer")]
    Send(#[source] Box<kube::Error>),
    #[error("no answer within {0:?}")]
    Silence(Duration),
    #[error("the answer broke off")]
    ReadAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer cannot be read")]
    Unreadable,
    #[error("the API server refused: {status} {reason}")]
    Refused { status: StatusCode, reason: Reason },
}

/// The one word in which the API server says why it refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Reason(Box<str>);

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Somebody was faster: what it was decided from is no longer true.
    Overtaken,
}

/// A whole list.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) objects: Vec<Object>,
    pub(super) resource_version: Box<str>,
    /// The time of day by the API server's clock.
    pub(super) date: Option<Timestamp>,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    #[serde(rename = "type")]
    pub(super) kind: ChangeKind,
    #[serde(default)]
    pub(super) object: Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ChangeKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
}

impl Store {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/secrets").into();
        Self { client, path }
    }

    /// The keys of that issuer, or of all of them, as they are now: no cache answers.
    pub(super) async fn list(&self, issuer: Option<&IssuerId>) -> Result<Listed, CallError> {
        let selector = selector(issuer);
        let (mut listed, mut next) = (Listed::default(), String::new());
        loop {
            let query = format!("{selector}&limit={PAGE}&continue={}", escape(&next));
            let request = self.request(Method::GET, None, &query);
            let (head, body) = self.call(request, Body::empty()).await?;
            let page: Page = parse(&body)?;
            listed.objects.extend(page.items);
            listed.resource_version = page.metadata.resource_version;
            listed.date = date(&head);
            next = page.metadata.next;
            if next.is_empty() {
                return Ok(listed);
            }
        }
    }

    /// What changes after `resource_version`, until the API server ends it.
    pub(super) async fn watch(&self, resource_version: &str) -> Result<Lines, CallError> {
        let query = format!(
            "{}&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}",
            selector(None),
            escape(resource_version)
        );
        let request = self.request(Method::GET, None, &query);
        // A stream that is compressed comes late.
        let request = request.header(header::ACCEPT_ENCODING, "identity");
        let response = self.send(request, Body::empty()).await?;
        // Not from when it was asked: an API server that is busy begins a watch, and its time, late.
        let end = Instant::now() + SILENCE;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(Lines {
                date: date(&head.headers),
                end,
                body,
                rest: Vec::new(),
            });
        }
        Err(refused(head.status, &read(body).await?))
    }

    /// Stores a new key, unless its number is taken.
    pub(super) async fn create(&self, manifest: &Secret<Vec<u8>>) -> Result<Written, CallError> {
        let request = self.request(Method::POST, None, MANAGER);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.write(request, manifest.expose().clone(), StatusCode::CONFLICT)
            .await
    }

    /// Lets a key sign from `at` on, if it is still as it was read.
    pub(super) async fn activate(
        &self,
        key: &Version,
        at: Timestamp,
    ) -> Result<Written, CallError> {
        let patch = json!({"metadata": {
            "uid": key.uid, "resourceVersion": key.resource_version,
            "annotations": {ACTIVATED: at.to_string()},
        }});
        let request = self.request(Method::PATCH, Some(&key.name), MANAGER);
        let request = request.header(header::CONTENT_TYPE, "application/merge-patch+json");
        self.write(
            request,
            patch.to_string().into_bytes(),
            StatusCode::NOT_FOUND,
        )
        .await
    }

    /// Removes a key, if it is still as it was read.
    pub(super) async fn remove(&self, key: &Version) -> Result<Written, CallError> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": key.uid, "resourceVersion": key.resource_version},
        });
        let request = self.request(Method::DELETE, Some(&key.name), "");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.write(
            request,
            options.to_string().into_bytes(),
            StatusCode::NOT_FOUND,
        )
        .await
    }

    /// `overtaken` says that somebody was faster, as a conflict always does.
    async fn write(
        &self,
        request: request::Builder,
        body: Vec<u8>,
        overtaken: StatusCode,
    ) -> Result<Written, CallError> {
        // Only the metadata comes back: no need to read the keys once more.
        let request = request.header(header::ACCEPT, METADATA);
        match self.call(request, Body::from(body)).await {
            Ok(_) => Ok(Written::Done),
            Err(CallError::Refused { status, .. })
                if status == StatusCode::CONFLICT || status == overtaken =>
            {
                Ok(Written::Overtaken)
            }
            Err(error) => Err(error),
        }
    }

    fn request(&self, method: Method, name: Option<&str>, query: &str) -> request::Builder {
        let slash = if name.is_some() { "/" } else { "" };
        let uri = format!("{}{slash}{}?{query}", self.path, name.unwrap_or_default());
        Request::builder().method(method).uri(uri)
    }

    /// One call, from the request to the last byte of the answer, within [`LIMIT`].
    async fn call(
        &self,
        request: request::Builder,
        body: Body,
    ) -> Result<(HeaderMap, Secret<Vec<u8>>), CallError> {
        let answer = async {
            let response = self.send(request, body).await?;
            let (head, body) = response.into_parts();
            let body = read(body).await?;
            if head.status.is_success() {
                Ok((head.headers, body))
            } else {
                Err(refused(head.status, &body))
            }
        };
        // Elapsed says nothing but that.
        timeout(LIMIT, answer)
            .await
            .unwrap_or(Err(CallError::Silence(LIMIT)))
    }

    async fn send(
        &self,
        request: request::Builder,
        body: Body,
    ) -> Result<Response<Body>, CallError> {
        let request = request.body(body).map_err(CallError::Make)?;
        let answer = timeout(LIMIT, self.client.send(request)).await;
        let answer = answer.ok().ok_or(CallError::Silence(LIMIT))?;
        answer.map_err(|error| CallError::Send(Box::new(error)))
    }
}

/// The lines of a watch that is open.
pub(super) struct Lines {
    /// When the API server began to answer, by its own clock.
    pub(super) date: Option<Timestamp>,
    /// It has died if it goes on until then.
    end: Instant,
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line; [`None`] at the end. Any line is a proof that the API server is there.
    pub(super) async fn next(&mut self) -> Result<Option<Change>, CallError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = Secret::new(self.rest.drain(..=end).collect::<Vec<u8>>());
                return change(&line).map(Some);
            }
            if self.rest.len() > LONGEST_ANSWER {
                return Err(CallError::Unreadable);
            }
            let frame = timeout_at(self.end, self.body.frame()).await;
            let frame = frame.ok().ok_or(CallError::Silence(SILENCE))?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| CallError::ReadAnswer(Box::new(error)))?;
            // A watch has no trailers.
            if let Ok(bytes) = frame.into_data() {
                self.rest.extend_from_slice(&bytes);
            }
        }
    }
}

/// A change, or what the API server says instead.
fn change(line: &Secret<Vec<u8>>) -> Result<Change, CallError> {
    if let Ok(failed) = parse::<Failed>(line)
        && failed.kind == "ERROR"
    {
        let status = StatusCode::from_u16(failed.object.code);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Err(CallError::Refused {
            status,
            reason: failed.object.reason,
        });
    }
    parse(line)
}

fn refused(status: StatusCode, body: &Secret<Vec<u8>>) -> CallError {
    let said: Status = parse(body).unwrap_or_default();
    CallError::Refused {
        status,
        reason: said.reason,
    }
}

async fn read(body: Body) -> Result<Secret<Vec<u8>>, CallError> {
    let body = Limited::new(body, LONGEST_ANSWER).collect().await;
    let body = body.map_err(CallError::ReadAnswer)?;
    Ok(Secret::new(Vec::from(body.to_bytes())))
}

/// The error of `serde_json` quotes what it met, which may be a key: it goes no further.
fn parse<T: DeserializeOwned>(json: &Secret<Vec<u8>>) -> Result<T, CallError> {
    serde_json::from_slice(json.expose())
        .ok()
        .ok_or(CallError::Unreadable)
}

fn date(head: &HeaderMap) -> Option<Timestamp> {
    let date = head.get(header::DATE)?.to_str().ok()?;
    Some(rfc2822::parse(date).ok()?.timestamp())
}

fn selector(issuer: Option<&IssuerId>) -> String {
    let equals = issuer.map(|id| format!("={id}")).unwrap_or_default();
    format!("labelSelector={}", escape(&format!("{LABEL}{equals}")))
}

/// RFC 3986 §2.1.
fn escape(text: &str) -> String {
    let byte = |b: u8| match b {
        b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMeta,
    #[serde(default)]
    items: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: Box<str>,
    #[serde(rename = "continue", default)]
    next: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    reason: Reason,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(rename = "type")]
    kind: String,
    object: Status,
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        let word = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphabetic());
        Self(if word { text.into() } else { Box::default() })
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Whose the fields are that this program writes.
const MANAGER: &str = "fieldManager=hallpass-operator";

const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// How long one call may take. A write that is longer on its way uses up what rotation allows a replica
/// to lag.
const LIMIT: Duration = Duration::from_secs(5);

/// How long the API server lets a watch run: as all the others, so that one whose connection died in silence is
/// back within 10 s.
const WATCH_SECONDS: u64 = 5;

/// The longest time that a watch may go on after it began: one that the API server has not ended by then has
/// died in silence.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS + 3);

/// Objects in one answer to a list: each has about 4 kB, and what people add to it.
const PAGE: usize = 20;

/// A Secret has at most 1 MB of data, which base64 makes longer.
const LONGEST_ANSWER: usize = 32 * 1024 * 1024;
