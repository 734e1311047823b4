//! Electors against one Lease in memory.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

use super::*;

/// What the API server stores, and how it behaves.
#[derive(Debug, Default)]
struct Server {
    missing: bool,
    version: u64,
    spec: Value,
    conflicts: u32,
}

type Shared = Arc<Mutex<Server>>;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/hallpass-system/leases/hallpass";

impl Server {
    fn answer(&mut self, method: &Method, path: &str, patch: &Value) -> (StatusCode, Value) {
        assert_eq!(path, LEASE);
        if self.missing {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        }
        if method == Method::PATCH {
            if patch["metadata"]["resourceVersion"] != json!(self.version.to_string()) {
                self.conflicts += 1;
                return failure(StatusCode::CONFLICT, "Conflict");
            }
            self.version += 1;
            let mut spec = self.spec.as_object().cloned().unwrap_or_default();
            spec.extend(patch["spec"].as_object().cloned().unwrap());
            self.spec = spec.into();
        } else {
            assert_eq!(method, Method::GET);
        }
        let metadata = json!({"name": "hallpass", "resourceVersion": self.version.to_string()});
        (
            StatusCode::OK,
            json!({"metadata": metadata, "spec": self.spec}),
        )
    }
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({"status": "Failure", "reason": reason, "code": code.as_u16()});
    (code, status)
}

fn client(server: &Shared, cut: &Arc<AtomicBool>) -> Client {
    let (server, cut) = (Arc::clone(server), Arc::clone(cut));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (server, cut) = (Arc::clone(&server), Arc::clone(&cut));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let patch = serde_json::from_slice(&body).unwrap_or(Value::Null);
            if cut.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let path = head.uri.path();
            let (code, answer) = server.lock().unwrap().answer(&head.method, path, &patch);
            let body = Body::from(answer.to_string().into_bytes());
            Response::builder().status(code).body(body)
        }
    });
    Client::new(service, "hallpass-system")
}

/// An elector that runs, and can be cut off from the server.
struct Running {
    cut: Arc<AtomicBool>,
    leads: watch::Receiver<Tenure>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    restores: Restores,
    metrics: Metrics,
}

fn start(server: &Shared, identity: &str) -> Running {
    let (metrics, cut) = (Metrics::default(), Arc::default());
    let restores = Restores::new(metrics.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let elector = Elector::new(
        client(server, &cut),
        "hallpass-system",
        "hallpass",
        identity,
        restores.clone(),
        metrics.clone(),
    );
    let leads = elector.watch();
    let task = tokio::spawn(elector.run(async { stopped.await.unwrap() }));
    Running {
        cut,
        leads,
        stop,
        task,
        restores,
        metrics,
    }
}

async fn seconds(n: u64) {
    sleep(Duration::from_secs(n)).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_one_leads_and_goes_on_leading() {
    let server = Shared::default();
    let (a, b) = (start(&server, "a"), start(&server, "b"));
    for _ in 0..60 {
        seconds(1).await;
        assert_ne!(a.leads.borrow().leads(), b.leads.borrow().leads());
    }
    assert_eq!(server.lock().unwrap().spec["leaseTransitions"], 1);
    assert_eq!(server.lock().unwrap().spec["leaseDurationSeconds"], 15);
    let leader = if a.leads.borrow().leads() { a } else { b };
    let metrics = leader.metrics.encode().unwrap();
    assert!(metrics.contains("hallpass_leader 1"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_hands_over_within_seconds() {
    let server = Shared::default();
    let a = start(&server, "a");
    seconds(1).await;
    let b = start(&server, "b");
    seconds(20).await;
    assert!(a.leads.borrow().leads());
    a.stop.send(()).unwrap();
    a.task.await.unwrap();
    assert!(!a.leads.borrow().leads());
    assert_eq!(server.lock().unwrap().spec["holderIdentity"], "");
    assert_eq!(server.lock().unwrap().spec["leaseDurationSeconds"], 1);
    seconds(5).await;
    assert!(b.leads.borrow().leads());
    assert_eq!(server.lock().unwrap().spec["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_ends_before_another_begins() {
    let server = Shared::default();
    let mut a = start(&server, "a");
    a.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    let mut b = start(&server, "b");
    seconds(7).await;
    a.cut.store(true, Ordering::Relaxed);
    a.leads.wait_for(|tenure| !tenure.leads()).await.unwrap();
    assert!(!b.leads.borrow().leads());
    let ended = Instant::now();
    b.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    let gap = ended.elapsed().as_secs();
    assert!((4..=13).contains(&gap), "nobody led for {gap} s");
    a.cut.store(false, Ordering::Relaxed);
    seconds(30).await;
    assert!(b.leads.borrow().leads() && !a.leads.borrow().leads());
}

#[tokio::test(start_paused = true)]
async fn a_crashed_leader_is_followed_after_the_lease_has_run_out() {
    let server = Shared::default();
    let mut a = start(&server, "a");
    a.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    let mut b = start(&server, "b");
    seconds(6).await;
    a.task.abort();
    let crashed = Instant::now();
    b.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    let took = crashed.elapsed().as_secs();
    assert!((9..=20).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_write_of_somebody_else_costs_one_try() {
    let server = Shared::default();
    let mut a = start(&server, "a");
    a.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    for _ in 0..20 {
        seconds(1).await;
        server.lock().unwrap().version += 1;
        assert!(a.leads.borrow().leads());
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_leads_without_the_lease_object() {
    let server = Shared::default();
    server.lock().unwrap().missing = true;
    let mut a = start(&server, "a");
    seconds(30).await;
    assert!(!a.leads.borrow().leads());
    server.lock().unwrap().missing = false;
    a.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_came_back_leads_on_under_its_own_name() {
    let server = Shared::default();
    let mut a = start(&server, "a");
    a.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    a.task.abort();
    let mut again = start(&server, "a");
    let started = Instant::now();
    again.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(server.lock().unwrap().spec["leaseTransitions"], 1);
}

fn went_back(replica: &Running) -> (bool, bool) {
    let metrics = replica.metrics.encode().unwrap();
    let counted = metrics.contains("hallpass_state_went_back_total 1\n");
    (replica.restores.watch().borrow().is_some(), counted)
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_older_than_before_tells_every_replica_of_a_restore() {
    let server = Shared::default();
    let (a, b) = (start(&server, "a"), start(&server, "b"));
    seconds(30).await;
    let backup = {
        let server = server.lock().unwrap();
        (server.version, server.spec.clone())
    };
    seconds(30).await;
    assert_eq!(
        (went_back(&a), went_back(&b)),
        ((false, false), (false, false))
    );
    {
        let mut server = server.lock().unwrap();
        (server.version, server.spec) = backup;
    }
    seconds(5).await;
    assert_eq!((went_back(&a), went_back(&b)), ((true, true), (true, true)));
    seconds(60).await;
    assert_eq!(went_back(&a), (true, true), "it is told once");
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_had_not_read_the_last_renewal_hides_a_restore_from_everybody() {
    let server = Shared::default();
    let mut a = start(&server, "a");
    a.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    let mut b = start(&server, "b");
    seconds(9).await;
    b.cut.store(true, Ordering::Relaxed);
    let backup = {
        let server = server.lock().unwrap();
        (server.version, server.spec.clone())
    };
    seconds(5).await;
    a.cut.store(true, Ordering::Relaxed);
    assert!(server.lock().unwrap().version > backup.0);
    seconds(20).await;
    {
        let mut server = server.lock().unwrap();
        (server.version, server.spec) = backup;
    }
    b.cut.store(false, Ordering::Relaxed);
    b.leads.wait_for(|tenure| tenure.leads()).await.unwrap();
    a.cut.store(false, Ordering::Relaxed);
    seconds(60).await;
    // That is why each replica has a Lease of its own as well.
    assert_eq!(
        (went_back(&a), went_back(&b)),
        ((false, false), (false, false))
    );
}

#[tokio::test(start_paused = true)]
async fn f03_a_renewal_lets_the_leader_write_on_and_begin_nothing_anew() {
    let server = Shared::default();
    let mut a = start(&server, "a");
    a.leads.wait_for(Tenure::leads).await.unwrap();
    a.leads.mark_unchanged();
    for _ in 0..60 {
        seconds(1).await;
        assert!(a.leads.borrow().may_write());
    }
    assert!(!a.leads.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn f03_the_tenure_ends_although_the_elector_stands_still_and_tells_nobody() {
    let server = Shared::default();
    let mut a = start(&server, "a");
    a.leads.wait_for(Tenure::leads).await.unwrap();
    a.task.abort();
    seconds(9).await;
    assert!(a.leads.borrow().may_write());
    seconds(2).await;
    let tenure = *a.leads.borrow();
    assert!(tenure.leads() && !tenure.may_write(), "{tenure:?}");
}
