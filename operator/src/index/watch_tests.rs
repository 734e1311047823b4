//! The watches against an API server that fails in every way that it has.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use axum::body::Bytes;
use futures::{Stream, StreamExt, stream};
use hallpass_crds::token_policy::TokenPolicy;
use http::{Request, Response, Uri, header::ACCEPT};
use http_body_util::StreamBody;
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::BoxError;

use super::{
    fixture::{pod, policy, service_account, unreadable},
    *,
};

mod definitions;
mod undefined;

use definitions::{DEFINITIONS, Definitions, not_found};

/// What the API server stores, and what goes wrong with it.
#[derive(Debug, Default)]
struct Server {
    policies: Vec<Value>,
    pods: Vec<Value>,
    service_accounts: Vec<Value>,
    /// What the next watch of policies says, a line each.
    next: Vec<Value>,
    revocations: Vec<Value>,
    /// The same of revocations.
    next_of_revocations: Vec<Value>,
    /// Of the definitions of all kinds of ours.
    definitions: Definitions,
    /// How many of the next lists of pods are refused.
    refusals: u32,
    /// Nothing is answered any more.
    silent: bool,
    queries: Vec<String>,
    /// The paths of which only metadata was asked for, and those of which all was.
    described: BTreeSet<String>,
    whole: BTreeSet<String>,
}

type Shared = Arc<Mutex<Server>>;

impl Server {
    fn asked(&mut self, path: &str, described: bool) {
        let of = if described {
            &mut self.described
        } else {
            &mut self.whole
        };
        of.insert(path.to_owned());
    }

    /// The code and the lines of an answer, and whether more may follow.
    fn answer(&mut self, path: &str, query: &str) -> (u16, Vec<Value>, bool) {
        self.queries.push(format!("{path}?{query}"));
        let watches = query.contains("watch=true");
        if let Some(name) = path.strip_prefix(DEFINITIONS) {
            return self.definitions.answer(name);
        }
        match path {
            ours if ours.starts_with("/apis/") && self.definitions == Definitions::Gone => {
                not_found(&json!({}))
            }
            "/apis/hallpass.dev/v1alpha1/tokenpolicies" if watches => {
                (200, std::mem::take(&mut self.next), true)
            }
            "/apis/hallpass.dev/v1alpha1/tokenrevocations" if watches => {
                (200, std::mem::take(&mut self.next_of_revocations), true)
            }
            _ if watches => (200, vec![], true),
            "/apis/hallpass.dev/v1alpha1/tokenrevocations" => {
                (200, vec![list(&self.revocations)], false)
            }
            "/apis/hallpass.dev/v1alpha1/tokenpolicies" => (200, vec![list(&self.policies)], false),
            "/api/v1/serviceaccounts" => (200, vec![list(&self.service_accounts)], false),
            "/api/v1/pods" if self.refusals > 0 => {
                self.refusals -= 1;
                let status = json!({"kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError"});
                (500, vec![status], false)
            }
            "/api/v1/pods" => (200, vec![list(&self.pods)], false),
            "/apis/hallpass.dev/v1alpha1/tokenaudiences"
            | "/apis/hallpass.dev/v1alpha1/tokenissuers"
            | "/apis/hallpass.dev/v1alpha1/clustertokenrevocations"
            | "/api/v1/namespaces" => (200, vec![list(&[])], false),
            path => panic!("unexpected call: {path}"),
        }
    }
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "10"}, "items": items})
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

/// As the API server writes it: the type of an event comes before its object.
fn written(line: &Value) -> String {
    match (&line["type"], &line["object"]) {
        (Value::String(kind), object) => format!(r#"{{"type":"{kind}","object":{object}}}"#),
        _ => line.to_string(),
    }
}

fn stored(policy: &TokenPolicy) -> Value {
    serde_json::to_value(policy).unwrap()
}

/// The stored form of the object that `unreadable` makes.
fn stored_unreadable(name: &str) -> Value {
    let metadata = unreadable("shop", name).0.unwrap_err().metadata;
    json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenPolicy",
        "metadata": metadata, "spec": {"subjects": "everybody"},
    })
}

fn client(server: &Shared) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            if server.lock().unwrap().silent {
                std::future::pending::<()>().await;
            }
            let uri = request.uri().clone();
            let accepted = request.headers().get(ACCEPT);
            let accepted = accepted.map_or("", |accepted| accepted.to_str().unwrap());
            let described = accepted.contains("as=PartialObjectMetadata");
            server.lock().unwrap().asked(uri.path(), described);
            let (code, lines, open) = server
                .lock()
                .unwrap()
                .answer(uri.path(), uri.query().unwrap_or_default());
            let lines = lines.into_iter().map(|line| {
                let line = Bytes::from(format!("{}\n", written(&line)));
                Ok::<_, BoxError>(Frame::data(line))
            });
            let frames = if open {
                stream::iter(lines).chain(ends(&uri)).boxed()
            } else {
                stream::iter(lines).boxed()
            };
            Response::builder()
                .status(code)
                .body(StreamBody::new(frames))
        }
    });
    Client::new(service, "hallpass-system")
}

/// Says nothing more, and ends after the time that the watch asked for.
fn ends(uri: &Uri) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send + use<> {
    let query = uri.query().unwrap_or_default().split('&');
    let mut seconds = query.filter_map(|pair| pair.strip_prefix("timeoutSeconds="));
    let seconds: u64 = seconds.next_back().unwrap().parse().unwrap();
    let end = sleep(Duration::from_secs(seconds));
    stream::once(end).filter_map(|()| async { None })
}

fn server() -> Shared {
    let object = |o| serde_json::to_value(o).unwrap();
    Arc::new(Mutex::new(Server {
        policies: vec![stored(&policy("shop", "orders", "orders"))],
        pods: vec![object(pod("shop", "orders-1", "orders"))],
        service_accounts: vec![serde_json::to_value(service_account("shop", "orders")).unwrap()],
        ..Server::default()
    }))
}

fn start(server: &Shared) -> Index {
    start_with(server, &Restores::default())
}

fn start_with(server: &Shared, restores: &Restores) -> Index {
    let index = Index::new(Metrics::default(), crate::issuer::fixture::now);
    let (runs, client, restores) = (index.clone(), client(server), restores.clone());
    tokio::spawn(async move { Box::pin(runs.run(client, &restores)).await });
    index
}

async fn seconds(n: u64) {
    sleep(Duration::from_secs(n)).await;
}

fn names(index: &Index) -> Vec<String> {
    let snapshot = index.snapshot().unwrap();
    let mut names: Vec<String> = snapshot
        .rules()
        .policies
        .of("shop")
        .iter()
        .map(|p| p.id.name.to_string())
        .collect();
    names.sort();
    names
}

fn counted(index: &Index, line: &str) -> bool {
    index.0.metrics.encode().unwrap().lines().any(|l| l == line)
}

#[tokio::test(start_paused = true)]
async fn is_filled_by_three_lists_that_ask_for_no_more_than_is_used() {
    let server = server();
    let index = start(&server);
    seconds(1).await;
    let snapshot = index.snapshot().unwrap();
    assert_eq!(names(&index), ["orders"]);
    assert!(snapshot.pod("shop", "orders-1").is_some());
    assert!(snapshot.service_account("shop", "orders").is_some());
    let queries = server.lock().unwrap().queries.clone();
    let of_pods = queries
        .iter()
        .find(|q| q.starts_with("/api/v1/pods?"))
        .unwrap();
    assert!(
        of_pods.contains("labelSelector=hallpass.dev%2Finjected%3Dtrue"),
        "{of_pods}"
    );
    assert!(
        of_pods.contains("fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"),
        "{of_pods}"
    );
    let watch = queries.iter().find(|q| q.contains("watch=true")).unwrap();
    assert!(watch.contains("timeoutSeconds=5"), "{watch}");
}

/// What a pod's specification says is nobody's business here.
#[tokio::test(start_paused = true)]
async fn of_what_is_not_its_own_it_asks_for_metadata_alone() {
    let server = server();
    let _index = start(&server);
    seconds(1).await;
    let server = server.lock().unwrap();
    let paths = ["namespaces", "pods", "serviceaccounts"].map(|kind| format!("/api/v1/{kind}"));
    let ours = ["policies", "audiences", "issuers", "revocations"].map(|of| format!("token{of}"));
    let ours = ours.into_iter().chain(["clustertokenrevocations".into()]);
    let definitions = ours.map(|name| format!("{DEFINITIONS}{name}.hallpass.dev"));
    assert_eq!(
        server.described,
        definitions.chain(paths).collect::<BTreeSet<_>>()
    );
    assert_eq!(server.whole.len(), 5, "{:?}", server.whole);
    assert!(server.described.is_disjoint(&server.whole));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_refused_is_tried_again() {
    let server = server();
    server.lock().unwrap().refusals = 3;
    let index = start(&server);
    seconds(1).await;
    assert_eq!(index.snapshot().unwrap_err(), NotSynced);
    seconds(8).await;
    assert!(index.snapshot().is_ok());
    assert!(counted(
        &index,
        r#"hallpass_watch_errors_total{kind="Pod"} 3"#
    ));
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_past_an_object_that_cannot_be_read() {
    let server = server();
    server.lock().unwrap().next = vec![
        event("ADDED", &stored_unreadable("broken")),
        event("ADDED", &stored(&policy("shop", "more", "orders"))),
    ];
    let index = start(&server);
    seconds(1).await;
    assert_eq!(names(&index), ["more", "orders"]);
    assert!(counted(
        &index,
        r#"hallpass_unreadable_objects{kind="TokenPolicy"} 1"#
    ));
    assert!(counted(
        &index,
        r#"hallpass_watch_errors_total{kind="TokenPolicy"} 0"#
    ));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fell_behind_lists_anew_and_serves_meanwhile() {
    let server = server();
    let gone = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
    server.lock().unwrap().next = vec![event("ERROR", &gone)];
    let index = start(&server);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(names(&index), ["orders"]);
    server.lock().unwrap().policies = vec![stored(&policy("shop", "renamed", "orders"))];
    seconds(2).await;
    assert_eq!(names(&index), ["renamed"]);
    assert!(counted(
        &index,
        r#"hallpass_watch_errors_total{kind="TokenPolicy"} 1"#
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_served_while_the_api_server_is_silent() {
    let server = server();
    let index = start(&server);
    seconds(1).await;
    server.lock().unwrap().silent = true;
    seconds(600).await;
    assert_eq!(names(&index), ["orders"]);
    assert!(!counted(
        &index,
        r#"hallpass_watch_errors_total{kind="TokenPolicy"} 0"#
    ));
    server.lock().unwrap().silent = false;
    server.lock().unwrap().next = vec![event("ADDED", &stored(&policy("shop", "more", "orders")))];
    seconds(21).await;
    assert_eq!(names(&index), ["more", "orders"]);
}

#[tokio::test(start_paused = true)]
async fn is_never_far_behind_an_api_server_that_answers() {
    let server = server();
    let index = start(&server);
    assert_eq!(index.heard(Instant::now()), None);
    seconds(1).await;
    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        let heard = index.heard(Instant::now()).unwrap();
        assert!(heard <= Duration::from_secs(6), "{heard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn is_as_far_behind_as_its_last_watch_requests_are_past() {
    let server = server();
    let index = start(&server);
    seconds(1).await;
    server.lock().unwrap().silent = true;
    seconds(60).await;
    let heard = index.heard(Instant::now()).unwrap().as_secs();
    assert!((60..=66).contains(&heard), "{heard}");
    server.lock().unwrap().silent = false;
    seconds(15).await;
    let heard = index.heard(Instant::now()).unwrap();
    assert!(heard < freshness::LONGEST_LAG, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_whose_state_went_back_is_listed_anew_though_its_watches_hang() {
    let (server, restores) = (server(), Restores::default());
    let index = start_with(&server, &restores);
    seconds(1).await;
    // The watches go on from a version of the future: they are granted, and nothing comes.
    server.lock().unwrap().policies = vec![stored(&policy("shop", "restored", "orders"))];
    seconds(60).await;
    assert_eq!(names(&index), ["orders"], "nobody noticed yet");
    restores.note(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    seconds(1).await;
    assert_eq!(names(&index), ["restored"]);
    let queries = server.lock().unwrap().queries.clone();
    for kind in [
        "/api/v1/pods",
        "/api/v1/namespaces",
        "/api/v1/serviceaccounts",
    ] {
        let lists = queries.iter().filter(|query| {
            query.starts_with(&format!("{kind}?")) && !query.contains("watch=true")
        });
        assert_eq!(lists.count(), 2, "{kind}");
    }
}
