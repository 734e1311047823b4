//! A publisher against an API server that keeps one Lease.

use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

use super::{super::fixture::identity, *};

#[derive(Debug, Default)]
struct Server {
    /// What was written, and when.
    written: Vec<(Instant, Value)>,
    deleted: bool,
    broken: bool,
    /// Of the Lease, if it is there.
    version: Option<u64>,
    /// Of all that is stored: it only grows.
    revision: u64,
}

type Shared = Arc<Mutex<Server>>;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/hallpass-system/leases/hallpass-0";

fn client(server: &Shared) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut server = server.lock().unwrap();
            assert_eq!(head.uri.path(), LEASE);
            let (code, answer) = match head.method {
                _ if server.broken => (500, json!({"kind": "Status", "code": 500})),
                Method::GET => match server.version {
                    Some(version) => (200, stored(&json!({}), version)),
                    None => (
                        404,
                        json!({"kind": "Status", "reason": "NotFound", "code": 404}),
                    ),
                },
                Method::PATCH => {
                    let query = head.uri.query().unwrap();
                    assert!(query.contains("force=true"), "{query}");
                    assert_eq!(head.headers["content-type"], "application/apply-patch+yaml");
                    let lease: Value = serde_json::from_slice(&body).unwrap();
                    let read = &lease["metadata"]["resourceVersion"];
                    let version = server.version.map(|version| json!(version.to_string()));
                    assert_eq!(*read, json!(version), "not what was read");
                    server.written.push((Instant::now(), lease.clone()));
                    server.revision += 1;
                    server.version = Some(server.revision);
                    (200, stored(&lease, server.revision))
                }
                Method::DELETE => {
                    server.deleted = true;
                    (200, json!({"kind": "Status", "status": "Success"}))
                }
                method => panic!("unexpected call: {method}"),
            };
            let body = Body::from(answer.to_string().into_bytes());
            Response::builder().status(code).body(body)
        }
    });
    Client::new(service, "hallpass-system")
}

fn stored(lease: &Value, version: u64) -> Value {
    let mut lease = lease.clone();
    lease["metadata"]["name"] = json!("hallpass-0");
    lease["metadata"]["resourceVersion"] = json!(version.to_string());
    lease
}

struct Running {
    server: Shared,
    observed: watch::Sender<Observed>,
    keys: watch::Sender<u64>,
    restores: Restores,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn start() -> Running {
    let server = Shared::default();
    let (observed, seen) = watch::channel(Observed::default());
    let (keys, changes) = watch::channel(0);
    let restores = Restores::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let clock = || Timestamp::UNIX_EPOCH;
    let publisher = Publisher::new(
        client(&server),
        identity("hallpass-0", 1),
        seen,
        changes,
        restores.clone(),
        clock,
    );
    let task = tokio::spawn(publisher.run(async { stopped.await.unwrap() }));
    Running {
        server,
        observed,
        keys,
        restores,
        stop,
        task,
    }
}

impl Running {
    /// How long after `since` each write since then happened.
    fn times(&self, since: Instant) -> Vec<u128> {
        let server = self.server.lock().unwrap();
        let times = server.written.iter().map(|(at, _)| *at);
        let later = times.filter(|at| *at >= since);
        later.map(|at| (at - since).as_millis()).collect()
    }

    fn annotation(&self, key: &str) -> Value {
        let server = self.server.lock().unwrap();
        server.written.last().unwrap().1["metadata"]["annotations"][key].clone()
    }
}

async fn milliseconds(n: u64) {
    // A timer of tokio's fires within the millisecond after.
    sleep(Duration::from_millis(n)).await;
}

#[tokio::test(start_paused = true)]
async fn renews_every_five_seconds_and_tells_of_progress_with_that() {
    let (began, running) = (Instant::now(), start());
    milliseconds(1).await;
    running.observed.send_modify(|o| o.epochs = [7, 8]);
    milliseconds(15_100).await;
    assert_eq!(running.times(began), [0, 5000, 10_000, 15_000]);
    assert_eq!(
        running.annotation("hallpass.dev/observed"),
        "TokenRevocation=7,ClusterTokenRevocation=8"
    );
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_told_at_once_and_many_four_times_a_second() {
    let running = start();
    milliseconds(1000).await;
    let began = Instant::now();
    for revocation in 1..=1000 {
        running.observed.send_modify(|o| {
            o.epochs = [revocation, 0];
            o.revocations = revocation;
        });
        milliseconds(1).await;
    }
    milliseconds(1000).await;
    let times = running.times(began);
    assert_eq!(times, [0, 250, 500, 750, 1000]);
    assert_eq!(
        running.annotation("hallpass.dev/observed"),
        "TokenRevocation=1000,ClusterTokenRevocation=0"
    );
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_is_told_when_the_api_server_is_back() {
    let running = start();
    milliseconds(1000).await;
    running.server.lock().unwrap().broken = true;
    running.observed.send_modify(|o| {
        o.refused = 2;
        o.revocations = 1;
    });
    milliseconds(10_000).await;
    running.server.lock().unwrap().broken = false;
    milliseconds(1000).await;
    assert_eq!(running.annotation("hallpass.dev/refused"), "2");
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_told_at_once() {
    let running = start();
    milliseconds(1000).await;
    running
        .restores
        .note(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    milliseconds(10).await;
    assert_eq!(
        running.annotation("hallpass.dev/went-back"),
        "1970-01-01T00:00:00Z"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_came_or_went_is_followed_by_a_write() {
    let running = start();
    milliseconds(1000).await;
    let began = Instant::now();
    running.keys.send_replace(1);
    milliseconds(10).await;
    assert_eq!(running.times(began), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_older_than_what_was_written_last_tells_of_a_restore() {
    // The cluster goes on with the next revision, with one that was passed long before, or far ahead.
    for revision in [2, 50, 1_000_000] {
        let running = start();
        let noticed = || running.restores.watch().borrow().is_some();
        milliseconds(19_000).await;
        {
            let mut server = running.server.lock().unwrap();
            assert_eq!(server.version, Some(4));
            server.version = Some(2);
            server.revision = revision;
        }
        assert!(!noticed());
        milliseconds(5000).await;
        assert!(noticed(), "it goes on at {revision}");
        assert_eq!(
            running.annotation("hallpass.dev/went-back"),
            "1970-01-01T00:00:00Z"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_comparison_that_somebody_wants_is_made_at_once() {
    let running = start();
    milliseconds(1000).await;
    let began = Instant::now();
    running.restores.look().await;
    assert!(began.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_deleted_is_made_again_and_tells_of_nothing() {
    let running = start();
    milliseconds(1000).await;
    running.server.lock().unwrap().version = None;
    milliseconds(10_000).await;
    assert!(running.server.lock().unwrap().version.is_some());
    assert_eq!(*running.restores.watch().borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_gone_tells_of_a_restore_if_the_new_one_has_a_lower_version() {
    // The last one was written as the fourth change of the cluster. Whoever deletes it is a change too, so
    // that a new one as the fifth proves nothing: the cluster may have gone on from a backup so far.
    for (revision, expected) in [(0, true), (2, true), (4, false), (1_000_000, false)] {
        let running = start();
        milliseconds(19_000).await;
        {
            let mut server = running.server.lock().unwrap();
            assert_eq!(server.version, Some(4));
            server.version = None;
            server.revision = revision;
        }
        milliseconds(5000).await;
        let noticed = running.restores.watch().borrow().is_some();
        assert_eq!(noticed, expected, "it goes on at {revision}");
    }
}

#[tokio::test(start_paused = true)]
async fn is_deleted_at_the_end() {
    let running = start();
    milliseconds(1000).await;
    assert!(!running.server.lock().unwrap().deleted);
    running.stop.send(()).unwrap();
    running.task.await.unwrap();
    assert!(running.server.lock().unwrap().deleted);
    let last = Instant::now();
    milliseconds(10_000).await;
    let server = running.server.lock().unwrap();
    assert!(server.written.iter().all(|(at, _)| *at < last));
}
