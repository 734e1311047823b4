//! What must not end the sidecar, and what must.

use std::{
    os::unix::net::UnixStream,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};

use hallpass_sidecar::surroundings::Jitter;
use http::Request;
use http_body_util::Full;

use crate::support::{
    Plan, Pod, eventually,
    operator::problem,
    pass, read,
    request::{open, send},
};

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_refresh_loop_is_outlived() {
    static DRAWS: AtomicU32 = AtomicU32::new(0);
    let plan = Plan {
        // The second draw is that of the first token: the answer is in hand when the loop breaks.
        jitter: Jitter::new(|| {
            assert_ne!(DRAWS.fetch_add(1, SeqCst), 1, "a planted panic");
            0.5
        }),
        ..Plan::default()
    };
    let pod = Pod::planned(plan, |operator| operator.assign("vault", "a", 600)).await;
    let (token, ()) = tokio::join!(pod.token("vault"), pass(Duration::from_secs(5)));
    assert_eq!(token, "planted.vault.2");
    let metrics = pod.get("/metrics").await.body;
    assert!(
        metrics.contains("hallpass_sidecar_panics_total 1"),
        "{metrics}"
    );
    assert!(pod.serves());
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_answers_the_open_request_and_leaves_the_files() {
    let mut pod = Pod::with_tokens(&["bank", "vault"]).await;
    pod.token("bank").await;
    pod.operator.assign("late", "a", 600);
    pod.operator
        .refuse("late", problem("NotSynced", 503, "starting"));
    pass(Duration::from_secs(33)).await;
    eventually("assigned", async || pod.state("late").await == "pending").await;
    let socket = pod.socket("app");
    let open = tokio::spawn(async move {
        let request = Request::get("/v1/tokens/late").header("host", "x");
        send(&socket, request.body(Full::default()).unwrap())
            .await
            .status
    });
    pass(Duration::from_millis(500)).await;
    let (stopped, ()) = tokio::join!(pod.stop(), pass(Duration::from_secs(2)));
    stopped.unwrap();
    open.abort();
    assert_eq!(read(&pod.file("app", "bank")), "planted.bank.1");
    assert!(pod.socket("app").exists());
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_predecessor_left_is_replaced() {
    let mut pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pod.stop().await.unwrap();
    assert!(
        UnixStream::connect(pod.socket("app")).is_err(),
        "a socket that nobody listens on"
    );
    let run = pod.directory.path().join("run");
    std::fs::write(run.join("app/tokens/gone"), "of a life before").unwrap();
    let again = pod.again().await;
    assert_eq!(again.token("vault").await, "planted.vault.2");
    assert!(!run.join("app/tokens/gone").exists());
}

#[tokio::test(start_paused = true)]
async fn many_connections_wait_and_none_is_refused() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    let request = || {
        Request::get("/healthz")
            .header("host", "x")
            .body(Full::default())
            .unwrap()
    };
    let mut open_ones = Vec::new();
    for _ in 0..300 {
        open_ones.push(
            tokio::net::UnixStream::connect(pod.socket("app"))
                .await
                .unwrap(),
        );
    }
    open_ones.clear();
    assert_eq!(open(&pod.socket("app"), request()).await.status(), 200);
}
