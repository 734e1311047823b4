//! What applications read.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::json;

use crate::support::{
    Plan, Pod, eventually,
    operator::problem,
    pass, read,
    request::{get, open, send},
};

#[tokio::test(start_paused = true)]
async fn serves_a_token_as_a_document_as_text_as_a_header_and_as_a_file() {
    let pod = Pod::with_tokens(&["vault"]).await;
    let answer = pod.get("/v1/tokens/vault").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-type"], "application/json");
    let token = answer.json();
    assert_eq!(
        token,
        json!({
            "name": "vault",
            "access_token": "planted.vault.1",
            "token_type": "Bearer",
            "audience": "https://vault.example",
            "issued_at": token["issued_at"],
            "expires_at": token["expires_at"],
            "expires_in": 599,
            "state": "fresh",
        })
    );
    let socket = pod.socket("app");
    let text = get(&socket, "/v1/tokens/vault", &[("accept", "text/plain")]).await;
    assert_eq!(text.body, "planted.vault.1");
    assert_eq!(text.headers["cache-control"], "no-store");
    assert_eq!(
        pod.get("/v1/tokens/vault/header").await.body,
        "Bearer planted.vault.1"
    );
    let file = pod.file("app", "vault");
    assert_eq!(read(&file), "planted.vault.1");
    assert_eq!(
        file.metadata().unwrap().permissions().mode() & 0o7777,
        0o444
    );
    assert_eq!(
        socket.metadata().unwrap().permissions().mode() & 0o7777,
        0o666
    );
}

#[tokio::test(start_paused = true)]
async fn lists_what_there_is_without_a_token() {
    let pod = Pod::with_tokens(&["bank", "vault"]).await;
    pod.token("vault").await;
    let list = pod.get("/v1/tokens").await;
    assert!(!list.body.contains("planted"), "{}", list.body);
    let names: Vec<_> = list.json()["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| {
            (
                token["name"].clone(),
                token["state"].clone(),
                token["audience"].clone(),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            (json!("bank"), json!("fresh"), json!("https://bank.example")),
            (
                json!("vault"),
                json!("fresh"),
                json!("https://vault.example")
            ),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_answered_with_the_names_that_exist() {
    let pod = Pod::with_tokens(&["bank", "vault"]).await;
    pod.token("vault").await;
    let answer = pod.get("/v1/tokens/valut").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "NoSuchToken")
    );
    assert_eq!(
        answer.detail(),
        "this container has no token 'valut'; it has: bank, vault"
    );
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(answer.json()["request_id"], id);
    assert_eq!(pod.get("/v1/tokens/a%2Fb").await.code(), "NoSuchToken");
    assert_eq!(pod.get("/v1/secrets").await.code(), "NoSuchPath");
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_policy_is_told_so() {
    let pod = Pod::planned(Plan::default(), |operator| {
        operator.notice("no policy selects service account default");
    })
    .await;
    let answer = pod.get("/v1/tokens/vault").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "NoSuchToken")
    );
    assert_eq!(
        answer.detail(),
        "this container has no token 'vault', and no other: no policy selects service account default"
    );
    assert_eq!(pod.get("/readyz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn other_methods_and_bodies_are_refused() {
    let pod = Pod::with_tokens(&["vault"]).await;
    let socket = pod.socket("app");
    let post = Request::post("/v1/tokens/vault")
        .header("host", "x")
        .body(Full::default());
    let answer = send(&socket, post.unwrap()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (405, "WrongMethod")
    );
    assert_eq!(answer.headers["allow"], "GET, HEAD");
    let get = Request::get("/v1/tokens/vault")
        .header("host", "x")
        .body("x".into());
    let answer = send(&socket, get.unwrap()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "MalformedRequest")
    );
    let head = Request::head("/v1/tokens/vault")
        .header("host", "x")
        .body(Full::default());
    let answer = send(&socket, head.unwrap()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[tokio::test(start_paused = true)]
async fn each_container_sees_its_own_tokens_and_no_others() {
    let plan = Plan {
        containers: vec!["app", "proxy"],
        ..Plan::default()
    };
    let pod = Pod::planned(plan, |operator| {
        operator.assign_to("bank", "a", 600, Some(&["app"]));
        operator.assign_to("mesh", "b", 600, Some(&["proxy"]));
        operator.assign_to("shared", "c", 600, None);
        operator.assign_to("elsewhere", "d", 600, Some(&["gone"]));
    })
    .await;
    pod.token("bank").await;
    let proxy = pod.socket("proxy");
    let refused = get(&proxy, "/v1/tokens/bank", &[]).await;
    assert_eq!(
        refused.detail(),
        "this container has no token 'bank'; it has: mesh, shared"
    );
    assert_eq!(get(&proxy, "/v1/tokens/mesh", &[]).await.status, 200);
    let metrics = get(&proxy, "/metrics", &[]).await.body;
    assert!(
        metrics.contains(r#"{token="mesh"}"#) && !metrics.contains("bank"),
        "{metrics}"
    );
    let files = |container: &str| {
        let directory = pod
            .file(container, "x")
            .parent()
            .unwrap()
            .read_dir()
            .unwrap();
        let mut names: Vec<_> = directory
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(files("app"), ["bank", "shared"]);
    assert_eq!(files("proxy"), ["mesh", "shared"]);
    let asked = pod.operator.asked("/v1/tokens");
    assert_eq!(asked.len(), 1, "all in one request");
    assert_eq!(
        asked[0].names,
        ["bank", "mesh", "shared"],
        "what nobody here sees is not held"
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_of_a_token_on_its_way_waits_ten_seconds_and_then_says_why() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.operator.refuse(
        "vault",
        problem("MintForbidden", 403, "bind the role with kubectl"),
    );
    let reading = async { pod.get("/v1/tokens/vault").await };
    let (answer, ()) = tokio::join!(reading, async {
        eventually("asked", async || {
            !pod.operator.asked("/v1/tokens").is_empty()
        })
        .await;
        pass(Duration::from_secs(11)).await;
    });
    assert_eq!((answer.status, answer.code().as_str()), (503, "Pending"));
    let detail = answer.detail();
    assert!(
        detail.starts_with("token 'vault' is on its way; the last try, "),
        "{detail}"
    );
    assert!(
        detail.ends_with(" s ago, failed with MintForbidden: bind the role with kubectl"),
        "{detail}"
    );
    assert!(!pod.file("app", "vault").exists());

    pod.operator.relent("vault");
    pass(Duration::from_secs(12)).await;
    assert_eq!(pod.token("vault").await, "planted.vault.1");
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_was_never_reached_is_no_unknown_token() {
    let pod = Pod::planned(Plan::default(), |operator| operator.away(true)).await;
    let reading = async { pod.get("/v1/tokens/vault").await };
    let (answer, ()) = tokio::join!(reading, pass(Duration::from_secs(11)));
    assert_eq!((answer.status, answer.code().as_str()), (503, "Pending"));
    assert!(
        answer
            .detail()
            .contains("failed with Unavailable: cannot agree on TLS with 127.0.0.1:"),
        "{}",
        answer.detail()
    );

    pod.operator.assign("vault", "a", 600);
    pod.operator.away(false);
    let reading = async { pod.token("vault").await };
    let (token, ()) = tokio::join!(reading, pass(Duration::from_secs(9)));
    assert_eq!(token, "planted.vault.1");
}

#[tokio::test(start_paused = true)]
async fn readiness_names_each_missing_token_with_its_reason() {
    let pod = Pod::with_tokens(&["bank", "vault"]).await;
    pod.operator
        .refuse("vault", problem("MintForbidden", 403, "bind the role"));
    eventually("asked", async || pod.state("bank").await == "fresh").await;
    let socket = pod.socket("app");
    let waiting = get(&socket, "/readyz", &[("prefer", "wait=5")]);
    let (answer, ()) = tokio::join!(waiting, pass(Duration::from_secs(6)));
    assert_eq!((answer.status, answer.code().as_str()), (503, "Pending"));
    assert_eq!(answer.headers["preference-applied"], "wait=5");
    assert_eq!(answer.detail(), "required tokens are missing: vault");
    let entry = &answer.json()["tokens"][0];
    assert_eq!(
        (&entry["name"], &entry["problem"]["code"]),
        (&json!("vault"), &json!("MintForbidden"))
    );

    pod.operator.relent("vault");
    let waiting = get(&socket, "/readyz", &[("prefer", "wait=20")]);
    let (answer, ()) = tokio::join!(waiting, pass(Duration::from_secs(12)));
    assert_eq!(answer.status, 200);
    let said = answer.body;
    assert!(said.starts_with("ready\noperator: answered "), "{said}");
    assert!(
        said.ends_with(" s ago\ntoken bank: fresh\ntoken vault: fresh\n"),
        "{said}"
    );
    assert_eq!(pod.get("/healthz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_each_change_without_a_token_and_ends_with_the_program() {
    let mut pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    let request = || {
        Request::get("/v1/watch")
            .header("host", "x")
            .body(Full::default())
            .unwrap()
    };
    let answer = open(&pod.socket("app"), request()).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut events = answer.into_body();
    let mut next = async || {
        let frame = events.frame().await?.unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let data = text
            .strip_prefix("data: ")
            .unwrap()
            .strip_suffix("\n\n")
            .unwrap();
        Some(serde_json::from_str::<serde_json::Value>(data).unwrap())
    };
    let first = next().await.unwrap();
    assert_eq!(
        first,
        json!({"name": "vault", "state": "fresh", "expires_at": first["expires_at"]})
    );
    pass(Duration::from_secs(301)).await;
    let second = next().await.unwrap();
    assert_eq!(second["state"], "fresh");
    assert_ne!(second["expires_at"], first["expires_at"]);
    pod.operator.away(true);
    pass(Duration::from_secs(700)).await;
    assert_eq!(next().await.unwrap()["state"], "stale");
    assert_eq!(next().await.unwrap()["state"], "expired");

    let mut others = Vec::new();
    for _ in 1..16 {
        others.push(open(&pod.socket("app"), request()).await);
    }
    assert_eq!(pod.get("/v1/watch").await.code(), "TooOften");
    pod.stop().await.unwrap();
    assert_eq!(next().await, None);
}

#[tokio::test(start_paused = true)]
async fn counts_reads_refreshes_and_polls() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    pod.get("/v1/tokens/nothing").await;
    let metrics = pod.get("/metrics").await;
    assert_eq!(
        metrics.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for line in [
        r#"hallpass_sidecar_reads_total{code="OK"} 1"#,
        r#"hallpass_sidecar_reads_total{code="NoSuchToken"} 1"#,
        r#"hallpass_sidecar_refreshes_total{code="OK"} 1"#,
        r#"hallpass_sidecar_polls_total{code="OK"} 1"#,
        "hallpass_sidecar_panics_total 0",
        r#"hallpass_sidecar_tokens{state="fresh"} 1"#,
        r#"hallpass_sidecar_token_expiry_timestamp_seconds{token="vault"} 1800000600"#,
        "hallpass_sidecar_last_poll_timestamp_seconds 1800000000",
        "hallpass_sidecar_last_answer_age_seconds 0",
        r#"hallpass_sidecar_token_state{token="vault",state="fresh",code="OK"} 1"#,
    ] {
        assert!(
            metrics.body.lines().any(|l| l == line),
            "{line} is not in\n{}",
            metrics.body
        );
    }
}
