//! Requests as the API server takes them.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures::stream;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    document::{self, failure},
    store::{Key, Patch, Refused, Selection, Store},
};

pub(super) fn router(store: Arc<Store>, key: Value) -> Router {
    let keys = Json(json!({"keys": [key]}));
    Router::new()
        .route("/openid/v1/jwks", get(async move || keys.clone()))
        .route("/.well-known/openid-configuration", get(document::issuer))
        .route("/api", get(document::versions))
        .route("/apis", get(document::groups))
        .route("/api/v1", get(document::core))
        .route("/apis/hallpass.dev/v1alpha1", get(document::ours))
        .route(
            "/apis/admissionregistration.k8s.io/v1",
            get(document::admission),
        )
        .route("/apis/certificates.k8s.io/v1", get(document::certificates))
        .fallback(answer)
        .with_state(store)
}

/// What a path names.
struct Place {
    /// Where the objects of its kind are kept.
    kind: String,
    namespace: Option<String>,
    name: Option<String>,
    status: bool,
    token: bool,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/').peekable();
        let version = match parts.next()? {
            "api" => parts.next()?.to_owned(),
            "apis" => format!("{}/{}", parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest[..] {
            ["namespaces", namespace, _, ..] => (Some(namespace.to_owned()), &rest[2..]),
            _ => (None, &rest[..]),
        };
        let plural = rest.first()?;
        let of = |place: usize| rest.get(place).copied();
        Some(Self {
            kind: format!("{version}/{plural}"),
            namespace,
            name: of(1).map(ToOwned::to_owned),
            status: of(2) == Some("status"),
            token: of(2) == Some("token"),
        })
    }

    fn key(&self, name: &str) -> Key {
        (self.namespace.clone().unwrap_or_default(), name.to_owned())
    }
}

type Wishes = HashMap<String, String>;

/// The query, as it stands: what is looked for in it has nothing that would be escaped.
fn wishes(query: &str) -> Wishes {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The objects that a list or a watch is to have.
fn selection(place: &Place, wishes: &Wishes) -> Selection {
    let selector = wishes.get("labelSelector").map_or("", String::as_str);
    let selector = selector
        .replace("%2F", "/")
        .replace("%3D", "=")
        .replace("%2C", ",");
    let labels = selector.split(',').filter(|label| !label.is_empty());
    let labels = labels.map(|label| match label.split_once('=') {
        Some((name, value)) => format!(r#""{name}":"{}""#, value.trim_start_matches('=')),
        None => format!(r#""{label}":"#),
    });
    Selection {
        namespace: place.namespace.clone(),
        labels: labels.collect(),
    }
}

async fn answer(State(store): State<Arc<Store>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let wishes = wishes(head.uri.query().unwrap_or_default());
    let Some(place) = Place::of(head.uri.path()) else {
        return refusal(404, "NotFound");
    };
    let Ok(body) = axum::body::to_bytes(body, 4 << 20).await else {
        return refusal(400, "BadRequest");
    };
    let partial = partial(&head.headers);
    match (head.method, &place.name) {
        (Method::GET, Some(name)) => match store.get(&place.kind, &place.key(name)) {
            Some(object) => json_text(200, object.text(partial)),
            None => refusal(404, "NotFound"),
        },
        (Method::GET, None) if wishes.contains_key("watch") => {
            watch(store, &place, &wishes, partial)
        }
        (Method::GET, None) => list(&store, &place, &wishes, partial),
        (Method::POST, _) => create(&store, &place, &body, partial),
        (Method::PATCH, Some(name)) => patch(&store, &place, name, &head.headers, &body),
        (Method::DELETE, Some(name)) if store.delete(&place.kind, &place.key(name)) => {
            let done = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
            json_text(200, done.to_string())
        }
        (Method::DELETE, Some(_)) => refusal(404, "NotFound"),
        _ => refusal(405, "MethodNotAllowed"),
    }
}

fn list(store: &Store, place: &Place, wishes: &Wishes, partial: bool) -> Response {
    let number = |name: &str| wishes.get(name).and_then(|text| text.parse().ok());
    let limit = number("limit")
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    // a namespace has no dot in its name
    let after = wishes.get("continue").and_then(|key| key.split_once('.'));
    let after = after.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    let page = store.list(&place.kind, &selection(place, wishes), after, limit);
    let next = page.next.map_or_else(String::new, |(namespace, name)| {
        format!("{namespace}.{name}")
    });
    let metadata = json!({"resourceVersion": page.version.to_string(), "continue": next});
    let items: Vec<String> = page
        .objects
        .iter()
        .map(|object| object.text(partial))
        .collect();
    let (version, kind) = if partial {
        ("meta.k8s.io/v1", "PartialObjectMetadataList")
    } else {
        let (version, _plural) = place.kind.rsplit_once('/').unwrap_or_default();
        (version, "List")
    };
    let items = items.join(",");
    let text = format!(
        r#"{{"apiVersion":"{version}","kind":"{kind}","metadata":{metadata},"items":[{items}]}}"#
    );
    json_text(200, text)
}

/// Changes, a line each, until the time is up.
fn watch(store: Arc<Store>, place: &Place, wishes: &Wishes, partial: bool) -> Response {
    let number = |name: &str| wishes.get(name).and_then(|text| text.parse::<u64>().ok());
    let Some(after) =
        number("resourceVersion").filter(|_| !wishes.contains_key("sendInitialEvents"))
    else {
        // as an API server that cannot begin a watch with a list
        return refusal(422, "Invalid");
    };
    let end = Instant::now() + Duration::from_secs(number("timeoutSeconds").unwrap_or(300));
    let state = Some((after, store.version()));
    let wanted = Arc::new((place.kind.clone(), selection(place, wishes)));
    let lines = stream::unfold(state, move |state| {
        let (store, wanted) = (Arc::clone(&store), Arc::clone(&wanted));
        async move {
            let (kind, selection) = &*wanted;
            let (mut after, mut versions) = state?;
            loop {
                versions.borrow_and_update();
                let Some((changes, version)) = store.changes(kind, selection, after) else {
                    let gone = json!({"type": "ERROR", "object": failure(410, "Expired")});
                    return Some((line(&gone.to_string()), None));
                };
                after = version;
                if !changes.is_empty() {
                    let lines = changes.iter().map(|change| {
                        let (how, object) = (change.kind, change.object.text(partial));
                        format!("{{\"type\":\"{how}\",\"object\":{object}}}\n")
                    });
                    let lines: String = lines.collect();
                    return Some((Ok(Bytes::from(lines)), Some((after, versions))));
                }
                match timeout_at(end, versions.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return None,
                }
            }
        }
    });
    let head = [(header::CONTENT_TYPE, "application/json")];
    (head, Body::from_stream(lines)).into_response()
}

fn line(text: &str) -> Result<Bytes, Infallible> {
    Ok(Bytes::from(format!("{text}\n")))
}

fn create(store: &Store, place: &Place, body: &[u8], partial: bool) -> Response {
    let Ok(mut object) = serde_json::from_slice::<Value>(body) else {
        return refusal(400, "BadRequest");
    };
    if place.token {
        return refusal(403, "Forbidden");
    }
    if place.kind.ends_with("accessreviews") {
        object["status"] = json!({"allowed": true});
        return json_text(201, object.to_string());
    }
    let name = object["metadata"]["name"].as_str();
    let name = name.map_or_else(
        || format!("made-{:08x}", rand::random::<u32>()),
        ToOwned::to_owned,
    );
    match store.create(&place.kind, place.key(&name), object) {
        Some(object) => json_text(201, object.text(partial)),
        None => refusal(409, "AlreadyExists"),
    }
}

fn patch(store: &Store, place: &Place, name: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let Ok(patch) = serde_json::from_slice::<Value>(body) else {
        return refusal(400, "BadRequest");
    };
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.as_bytes());
    let apply = kind.is_some_and(|kind| kind.starts_with(b"application/apply-patch"));
    let how = if apply { Patch::Apply } else { Patch::Merge };
    match store.patch(&place.kind, place.key(name), patch, (how, place.status)) {
        Ok(object) => json_text(200, object.text(partial(headers))),
        Err(Refused::Missing) => refusal(404, "NotFound"),
        Err(Refused::Conflict) => refusal(409, "Conflict"),
    }
}

fn partial(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("as=PartialObjectMetadata"))
}

fn json_text(status: u16, text: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let head = [(header::CONTENT_TYPE, "application/json")];
    (status, head, text).into_response()
}

fn refusal(code: u16, reason: &str) -> Response {
    json_text(code, failure(code, reason).to_string())
}
