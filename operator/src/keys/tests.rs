//! The keys against an API server that stores them.

use std::sync::atomic::AtomicI64;

use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use super::{
    fixture::{Cluster, at, id, namespace, now, plan, secret},
    rotate::Plans,
    *,
};
use crate::{clock::since_boot, lease::tenure::Tenure};

mod clocks;

/// The time of day of the leader's clock.
static CLOCK: AtomicI64 = AtomicI64::new(0);

fn clock() -> Timestamp {
    now()
}

struct Running {
    cluster: Cluster,
    keys: Keys,
    restores: Restores,
    leads: Sender<Tenure>,
    plans: Sender<Plans>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn start(cluster: &Cluster, clock: fn() -> Timestamp, leads: bool) -> Running {
    let metrics = Metrics::new();
    let (keys, restores) = (Keys::new(metrics.clone()), Restores::default());
    let (leads, leader) = tokio::sync::watch::channel(Tenure::of(leads));
    let (plans, wanted) = tokio::sync::watch::channel(Plans::default());
    let rotate = rotate::run(
        keys.clone(),
        cluster.client(),
        namespace(),
        leader,
        wanted,
        clock,
        metrics,
    );
    let tasks = [
        tokio::spawn(
            keys.clone()
                .run(cluster.client(), namespace(), restores.clone()),
        ),
        tokio::spawn(rotate),
    ];
    Running {
        cluster: cluster.clone(),
        keys,
        restores,
        leads,
        plans,
        tasks,
    }
}

impl Running {
    fn plan(&self, plan: Plan) {
        self.plans
            .send_replace(Arc::new(BTreeMap::from([(id(), plan)])));
    }

    fn counted(&self, line: &str) -> bool {
        self.keys
            .0
            .metrics
            .encode()
            .unwrap()
            .lines()
            .any(|l| l == line)
    }

    /// The phase of each key.
    fn phases(&self, now: Timestamp) -> Vec<Phase> {
        self.keys
            .states(&id(), now)
            .iter()
            .map(|key| key.phase)
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.cluster
            .with(|server| server.secrets.keys().cloned().collect())
    }
}

fn stored(secrets: &[Value]) -> Cluster {
    let cluster = Cluster::new();
    cluster.with(|server| secrets.iter().for_each(|secret| server.put(secret.clone())));
    cluster
}

async fn told(changes: &mut Receiver<u64>) {
    let told = tokio::time::timeout(Duration::from_secs(5), changes.changed()).await;
    told.expect("the change is told").unwrap();
}

async fn seconds(n: u64) {
    sleep(Duration::from_secs(n)).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_issuer_gets_a_key_that_signs_and_one_that_waits() {
    let running = start(&Cluster::new(), clock, true);
    seconds(1).await;
    assert!(running.keys.synced());
    assert!(running.keys.ring(&id()).is_none());
    running.plan(plan());
    seconds(2).await;
    assert_eq!(running.names(), ["abcdefgh-1", "abcdefgh-2"]);
    assert_eq!(running.phases(now()), [Phase::Active, Phase::Next]);
    let ring = running.keys.ring(&id()).unwrap();
    assert_eq!(ring.verifying().len(), 2);
    assert_eq!(
        running.keys.next_rotation(&id(), &plan(), now()),
        Some(at(86_400))
    );
    assert!(running.counted(r#"hallpass_key_steps_total{step="Create",outcome="Done"} 2"#));
    assert!(running.counted(r#"hallpass_watch_objects{kind="SigningKey"} 2"#));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_writes_nothing() {
    let running = start(&Cluster::new(), clock, false);
    running.plan(plan());
    seconds(400).await;
    assert_eq!(running.cluster.writes(), [] as [&str; 0]);
    running.leads.send_replace(Tenure::of(true));
    seconds(2).await;
    assert_eq!(running.names(), ["abcdefgh-1", "abcdefgh-2"]);
    running.leads.send_replace(Tenure::of(false));
    let emergency = Plan {
        rotate_now: Some(now() + Duration::from_millis(1)),
        ..plan()
    };
    running.plan(emergency);
    seconds(400).await;
    assert_eq!(running.cluster.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_goes_through_all_its_steps() {
    fn clock() -> Timestamp {
        at(CLOCK.load(Ordering::Relaxed))
    }
    let cluster = stored(&[secret(1, 0, Some(0)), secret(2, 1, None)]);
    let running = start(&cluster, clock, true);
    CLOCK.store(700, Ordering::Relaxed);
    running.plan(Plan {
        rotate: Some(at(700)),
        ..plan()
    });
    seconds(2).await;
    assert_eq!(
        running.phases(at(701)),
        [Phase::Retired, Phase::Active, Phase::Next]
    );
    let before = running.keys.ring(&id()).unwrap();
    CLOCK.store(700 + 3635, Ordering::Relaxed);
    seconds(301).await;
    assert_eq!(running.names(), ["abcdefgh-2", "abcdefgh-3"]);
    let after = running.keys.ring(&id()).unwrap();
    assert_eq!((before.verifying().len(), after.verifying().len()), (3, 2));
    assert_ne!(before.jwks().etag, after.jwks().etag);
    let expected = ["PATCH", "POST", "DELETE"];
    let writes = running.cluster.writes();
    let writes: Vec<_> = writes
        .iter()
        .map(|call| call.split(' ').next().unwrap())
        .collect();
    assert_eq!(writes, expected);
}

#[tokio::test(start_paused = true)]
async fn f4_a_leader_that_is_killed_at_any_call_leaves_what_the_next_one_can_finish() {
    let plan = Plan {
        rotate: Some(at(0)),
        ..plan()
    };
    let mut seen = Vec::new();
    for calls in 0..7 {
        let cluster = stored(&[secret(1, -9000, Some(-9000)), secret(2, -8000, None)]);
        // What the last call did is stored; the answer never comes.
        cluster.with(|server| server.budget = Some(calls));
        let killed = start(&cluster, clock, true);
        killed.plan(plan.clone());
        seconds(2).await;
        drop(killed);
        seen.push(cluster.with(|server| server.secrets.len()));
        cluster.with(|server| server.budget = None);
        let running = start(&cluster, clock, true);
        running.plan(plan.clone());
        seconds(2).await;
        let phases = running.phases(now());
        assert_eq!(
            phases,
            [Phase::Retired, Phase::Active, Phase::Next],
            "{calls} calls"
        );
    }
    seen.dedup();
    assert!(
        seen.contains(&2) && seen.contains(&3),
        "{seen:?}: killed in the middle, too"
    );
}

#[tokio::test(start_paused = true)]
async fn in_an_emergency_the_old_keys_are_gone_at_once() {
    let cluster = stored(&[secret(1, -50, Some(-50)), secret(2, -1, None)]);
    let running = start(&cluster, clock, true);
    running.plan(Plan {
        rotate_now: Some(now()),
        ..plan()
    });
    seconds(2).await;
    assert_eq!(running.names(), ["abcdefgh-2", "abcdefgh-3"]);
    assert_eq!(running.phases(now()), [Phase::Active, Phase::Next]);
}

#[tokio::test(start_paused = true)]
async fn t32_a_key_that_changed_since_it_was_read_is_not_touched() {
    let cluster = stored(&[secret(1, -9000, Some(-9000)), secret(2, -8000, None)]);
    cluster.with(|server| {
        server.rival = Some(|server| {
            // Another one of the same name takes its place.
            server.remove("abcdefgh-2");
            let mut other = secret(2, 0, None);
            other["metadata"]["uid"] = json!("another");
            server.put(other);
        });
    });
    let running = start(&cluster, clock, true);
    running.plan(Plan {
        rotate: Some(at(0)),
        ..plan()
    });
    seconds(2).await;
    assert_eq!(running.phases(now()), [Phase::Active, Phase::Next]);
    assert!(running.counted(r#"hallpass_key_steps_total{step="Activate",outcome="Overtaken"} 1"#));
    assert_eq!(running.cluster.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_taken_is_looked_at_again() {
    let cluster = Cluster::new();
    cluster.with(|server| {
        server.rival = Some(|server| server.put(secret(1, 0, Some(0))));
    });
    let running = start(&cluster, clock, true);
    running.plan(plan());
    seconds(2).await;
    assert_eq!(running.names(), ["abcdefgh-1", "abcdefgh-2"]);
    assert!(running.counted(r#"hallpass_key_steps_total{step="Create",outcome="Overtaken"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_tried_again() {
    let cluster = Cluster::new();
    cluster.with(|server| server.refusals = 3);
    let running = start(&cluster, clock, true);
    running.plan(plan());
    seconds(10).await;
    assert_eq!(running.names(), ["abcdefgh-1", "abcdefgh-2"]);
    assert!(running.counted(r#"hallpass_key_steps_total{step="Create",outcome="Failed"} 3"#));
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_is_off_touches_no_key() {
    let cluster = Cluster::new();
    let date = |seconds: u8| Some(format!("Mon, 21 Sep 2026 14:13:{seconds:02} GMT"));
    assert_eq!(now().to_string(), "2026-09-21T14:13:20Z");
    cluster.with(|server| server.date = date(27));
    let running = start(&cluster, clock, true);
    running.plan(plan());
    seconds(20).await;
    assert_eq!(running.cluster.writes(), [] as [&str; 0]);
    let behind = running.keys.clock_fault(now(), since_boot());
    assert_eq!(behind.unwrap().as_secs(), -7);
    cluster.with(|server| server.date = date(15));
    seconds(20).await;
    assert_eq!(running.names(), ["abcdefgh-1", "abcdefgh-2"]);
    assert_eq!(running.keys.clock_fault(now(), since_boot()), None);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_does_not_stop_the_others() {
    let mut broken = secret(7, 0, None);
    broken["data"]["signing"] = json!("Z2FyYmFnZQ==");
    let mut twin = secret(1, 0, Some(0));
    let first = twin.clone();
    twin["metadata"]["name"] = json!("abcdefgh-3");
    let running = start(&stored(&[first, broken, twin]), clock, true);
    running.plan(plan());
    seconds(2).await;
    assert_eq!(running.phases(now()), [Phase::Active, Phase::Next]);
    assert_eq!(running.names().last().unwrap(), "abcdefgh-8");
    assert!(running.counted(r#"hallpass_unreadable_objects{kind="SigningKey"} 2"#));
}

#[tokio::test(start_paused = true)]
async fn the_watch_goes_on_after_its_end_and_a_change_is_told() {
    let cluster = stored(&[secret(1, 0, Some(0))]);
    let running = start(&cluster, clock, false);
    seconds(33).await;
    let mut changes = running.keys.changes();
    changes.mark_unchanged();
    cluster.with(|server| server.put(secret(2, 0, None)));
    told(&mut changes).await;
    assert_eq!(running.phases(now()), [Phase::Active, Phase::Next]);
    cluster.with(|server| server.remove("abcdefgh-2"));
    told(&mut changes).await;
    assert_eq!(running.phases(now()), [Phase::Active]);
    let lists = cluster.with(|server| server.calls.len());
    assert!(lists < 9, "{lists} calls");
    assert!(!running.keys.are_behind(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fell_behind_lists_anew_and_serves_meanwhile() {
    let cluster = stored(&[secret(1, 0, Some(0))]);
    let running = start(&cluster, clock, false);
    seconds(1).await;
    cluster.with(|server| {
        server.garbage = Some("planted-key-material");
        server.say(json!({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}));
    });
    seconds(20).await;
    assert_eq!(running.phases(now()), [Phase::Active]);
    assert!(running.keys.are_behind(Instant::now()));
    cluster.with(|server| {
        server.garbage = None;
        server.put(secret(2, 0, None));
    });
    // Here nobody looks whether it was restored.
    seconds(21).await;
    assert_eq!(running.phases(now()), [Phase::Active, Phase::Next]);
}

#[tokio::test]
async fn t37_an_answer_that_cannot_be_read_is_in_no_error() {
    let cluster = Cluster::new();
    let store = Store::new(cluster.client(), &namespace());
    for garbage in [
        "planted-key",
        r#"{"metadata":{"resourceVersion":"1"},"items":["planted-key"]}"#,
    ] {
        cluster.with(|server| server.garbage = Some(garbage));
        let error = store.list(None).await.unwrap_err();
        let told = format!("{error:?} {}", crate::telemetry::log::Chain(&error));
        assert!(!told.contains("planted"), "{told}");
    }
    cluster.with(|server| server.refusals = 1);
    let error = store
        .create(&hallpass_core::secret::Secret::new(b"{}".to_vec()))
        .await;
    let error = error.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the API server refused: 500 Internal Server Error InternalError"
    );
    assert!(!format!("{error:?}").contains("planted"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_whose_state_went_back_is_listed_anew_though_the_watch_hangs() {
    let cluster = stored(&[secret(2, -60, Some(-50))]);
    let running = start(&cluster, clock, false);
    seconds(1).await;
    let numbers = || running.keys.ring(&id()).map(|ring| ring.verifying().len());
    assert_eq!(numbers(), Some(1));
    // The restored cluster has a key that was removed; its watches wait for a version of the future.
    cluster.with(|server| {
        let old = secret(1, -120, Some(-110));
        let mut old = old;
        old["metadata"]["resourceVersion"] = json!("1");
        old["metadata"]["uid"] = json!("uid-old");
        server.secrets.insert("abcdefgh-1".into(), old);
    });
    seconds(60).await;
    assert_eq!(numbers(), Some(1), "nobody noticed yet");
    running.restores.note(at(-125), now());
    seconds(1).await;
    assert_eq!(numbers(), Some(2));
}
