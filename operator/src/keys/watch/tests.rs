use futures::FutureExt;
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    super::fixture::{Cluster, id, namespace, now, secret},
    *,
};
use crate::{index::freshness::LONGEST_LAG, telemetry::Metrics};

struct Running {
    cluster: Cluster,
    keys: Keys,
    restores: Restores,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A replica that has read a key that signs and one that waits.
async fn start() -> Running {
    let cluster = Cluster::new();
    cluster.with(|server| {
        server.put(secret(2, -60, Some(-50)));
        server.put(secret(3, -40, None));
    });
    let (keys, restores) = (Keys::new(Metrics::default()), Restores::default());
    let running = keys
        .clone()
        .run(cluster.client(), namespace(), restores.clone());
    let running = Running {
        task: tokio::spawn(running),
        cluster,
        keys,
        restores,
    };
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.keys(), Some(2));
    running
}

impl Running {
    /// How many keys are taken; [`None`] while none signs.
    fn keys(&self) -> Option<usize> {
        let ring = self.keys.ring(&id())?;
        Some(ring.verifying().len())
    }

    /// The watch breaks, and what is listed then has a key that was removed.
    fn breaks(&self) {
        self.cluster.with(|server| {
            let mut removed = secret(1, -120, Some(-110));
            removed["metadata"]["uid"] = json!("uid-of-1");
            server.secrets.insert("abcdefgh-1".into(), removed);
            server.say(json!({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_after_a_failure_counts_when_it_is_known_not_to_be_restored() {
    let running = start().await;
    running.breaks();
    running.restores.wanted().await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(running.keys(), Some(2), "nobody has looked yet");
    running.restores.looked();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.keys(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn no_key_that_was_there_before_a_restore_is_used_after_it() {
    let running = start().await;
    running.breaks();
    running.restores.wanted().await;
    running.restores.note(now(), now());
    // It is listed anew for that, and the new list waits too.
    running.restores.wanted().await;
    assert_eq!(running.keys(), None, "what was known before is not used");
    running.restores.looked();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.keys(), None, "none signs");
    let activated = secret(3, -40, Some(0));
    running.cluster.with(|server| server.put(activated));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.keys(), None, "it may have signed before");
    running
        .cluster
        .with(|server| server.put(secret(4, 0, Some(0))));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.keys(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn no_key_of_before_is_used_after_a_restore_even_while_nothing_can_be_listed() {
    let running = start().await;
    let cluster = &running.cluster;
    running.breaks();
    cluster.with(|server| server.garbage = Some("the API server is not there yet"));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(running.keys(), Some(2), "nobody has noticed yet");
    running.restores.note(now(), now());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.keys(), None);
    cluster.with(|server| {
        server.garbage = None;
        server.put(secret(4, 0, Some(0)));
    });
    running.restores.wanted().await;
    running.restores.looked();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.keys(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_list_counts_after_a_while_though_nobody_can_look() {
    let running = start().await;
    running.breaks();
    running.restores.wanted().await;
    assert_eq!(running.restores.wanted().now_or_never(), None);
    sleep(Duration::from_secs(16)).await;
    assert_eq!(running.keys(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn f10_a_watch_that_falls_silent_is_noticed_and_back_within_ten_seconds() {
    let running = start().await;
    let restores = running.restores.clone();
    tokio::spawn(async move {
        loop {
            restores.wanted().await;
            restores.looked();
        }
    });
    // At each point of a watch's life.
    for wait in [0, 1, 2, 3, 4] {
        sleep(Duration::from_secs(wait)).await;
        running.cluster.with(|server| {
            server.fall_silent();
            server.put(secret(4, -30, None));
        });
        let mut oldest = Duration::ZERO;
        for _ in 0..200 {
            let age = running.keys.freshness().age(Instant::now());
            oldest = oldest.max(age.unwrap());
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(running.keys(), Some(3), "within ten seconds");
        assert!(oldest <= LONGEST_LAG, "{oldest:?}");
        running.cluster.with(|server| server.remove("abcdefgh-4"));
        sleep(Duration::from_millis(50)).await;
        assert_eq!(running.keys(), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn f10_a_watch_that_a_busy_api_server_begins_late_is_not_taken_for_dead() {
    let running = start().await;
    running
        .cluster
        .with(|server| server.busy = Duration::from_secs(4));
    // After a failure the list is looked at.
    let failed = timeout(Duration::from_secs(60), running.restores.wanted());
    assert!(failed.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn how_old_the_keys_may_be_is_told_while_nothing_answers() {
    let running = start().await;
    running.cluster.with(|server| {
        server.fall_silent();
        server.budget = Some(0);
    });
    sleep(Duration::from_secs(30)).await;
    let age = running.keys.freshness().age(Instant::now()).unwrap();
    assert!(age > LONGEST_LAG && running.keys.are_behind(Instant::now()));
    assert_eq!(running.keys(), Some(2), "they are used meanwhile");
}
