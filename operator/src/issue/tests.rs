use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::{
    audit::tests::Lines,
    index::fixture::{policy, token},
    issuer::{
        fixture::{
            ApiServer, PLANTED, REVIEW_PATH, Reply, TOKEN_PATH, issuers, mint, now, status, subject,
        },
        kubernetes::OperatorId,
    },
};

fn issuance(server: &ApiServer, names: &[&str]) -> (Issuance, Lines, Metrics) {
    let mut policy = policy("shop", "policy", "orders");
    policy.spec.tokens = names.iter().map(|n| token(n)).collect();
    let index = Index::filled(vec![policy], vec![], vec![]);
    let (lines, metrics) = (Lines::default(), Metrics::new());
    let operator = OperatorId {
        namespace: "hallpass-system".into(),
        name: "hallpass".into(),
    };
    let issuers = issuers(server, operator, &metrics);
    (
        Issuance::new(index, issuers, Audit::new(lines.clone()), metrics.clone()),
        lines,
        metrics,
    )
}

fn ask() -> Ask {
    Ask {
        request: RequestId::random(),
        subject: subject(),
        at: now(),
        since: Instant::now(),
        expires_in: 0,
    }
}

fn names(names: &[&str]) -> Option<Vec<TokenName>> {
    Some(names.iter().map(|n| TokenName::parse(n).unwrap()).collect())
}

/// Each name with `-` for a token, or the code of its refusal.
fn told(outcomes: &Outcomes) -> Vec<(&str, &str)> {
    let word = |o: &Result<_, Refusal>| o.as_ref().err().map_or("-", |r| r.code.as_str());
    outcomes
        .iter()
        .map(|(name, o)| (name.as_str(), word(o)))
        .collect()
}

fn events(lines: &Lines) -> Vec<(String, String)> {
    let text = lines.text();
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    text.lines()
        .map(read)
        .map(|r| (word(&r["token.name"]), word(&r["denial.code"])))
        .collect()
}

#[tokio::test]
async fn answers_for_each_name_in_the_order_asked() {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let (issuance, lines, metrics) = issuance(&server, &["a", "b", "c"]);
    let outcomes = issuance
        .issue(&ask(), names(&["c", "x", "a"]))
        .await
        .unwrap();
    assert_eq!(told(&outcomes), [("c", "-"), ("x", "NoPolicy"), ("a", "-")]);
    let mut written = events(&lines);
    written.sort();
    let expected = [("a", ""), ("c", ""), ("x", "NoPolicy")];
    assert_eq!(written, expected.map(|(n, c)| (n.to_owned(), c.to_owned())));
    let text = metrics.encode().unwrap();
    assert!(text.contains("hallpass_tokens_issued_total 2\n"), "{text}");
    assert!(
        text.contains("hallpass_denials_total{code=\"NoPolicy\"} 1\n"),
        "{text}"
    );
    assert!(!format!("{outcomes:?}{}", lines.text()).contains(PLANTED));
}

#[tokio::test]
async fn without_names_it_issues_all_that_the_pod_may_hold() {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let (issuance, ..) = issuance(&server, &["b", "a"]);
    let outcomes = issuance.issue(&ask(), None).await.unwrap();
    assert_eq!(told(&outcomes), [("a", "-"), ("b", "-")]);
}

#[tokio::test]
async fn a_pod_without_a_policy_may_hold_nothing() {
    let server = ApiServer::default();
    let (issuance, ..) = issuance(&server, &["a"]);
    let mut other = ask();
    other.subject = crate::issuer::fixture::subject_in("bank", "orders-0");
    let refusal = issuance.issue(&other, None).await.unwrap_err();
    assert_eq!(refusal.code, Code::NoPolicy);
    assert!(!refusal.detail.contains("shop"), "{}", refusal.detail);
}

#[tokio::test]
async fn of_no_pod_it_is_said_that_it_may_hold_nothing_where_another_replica_may_know_better() {
    let (issuance, ..) = issuance(&ApiServer::default(), &["a"]);
    issuance.index.standing().be_cut_off(Instant::now());
    let mut other = ask();
    other.subject = crate::issuer::fixture::subject_in("bank", "orders-0");
    let refusal = issuance.issue(&other, None).await.unwrap_err();
    assert_eq!(refusal.code, Code::NotSynced);
}

#[tokio::test]
async fn a_pod_that_may_hold_nothing_is_counted_all_the_same() {
    let server = ApiServer::default();
    let (issuance, ..) = issuance(&server, &["a"]);
    let mut other = ask();
    other.subject = crate::issuer::fixture::subject_in("bank", "orders-0");
    let mut refused = BTreeMap::new();
    for _ in 0..300 {
        let refusal = issuance.issue(&other, None).await.unwrap_err();
        *refused.entry(refusal.code.as_str()).or_insert(0) += 1;
    }
    assert_eq!(
        refused,
        BTreeMap::from([("NoPolicy", 256), ("TooOften", 44)])
    );
}

#[tokio::test]
async fn the_third_token_at_once_waits() {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let (issuance, ..) = issuance(&server, &["a"]);
    for expected in ["-", "-", "TooOften"] {
        let outcomes = issuance.issue(&ask(), None).await.unwrap();
        assert_eq!(told(&outcomes), [("a", expected)]);
    }
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn t39_a_pod_that_makes_names_up_cannot_flood_the_audit_stream() {
    let server = ApiServer::default();
    let (issuance, lines, metrics) = issuance(&server, &["a"]);
    let many: Vec<String> = (0..64).map(|i| format!("t{i:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let ask = ask();
    for _ in 0..4 {
        issuance.issue(&ask, names(&many)).await.unwrap();
    }
    for _ in 0..10 {
        let refusal = issuance.issue(&ask, names(&many)).await.unwrap_err();
        assert_eq!(refusal.code, Code::TooOften);
        assert_eq!(refusal.retry_after_seconds(), Some(4));
    }
    assert_eq!(events(&lines).len(), 256);
    let text = metrics.encode().unwrap();
    assert!(
        text.contains("hallpass_denials_total{code=\"TooOften\"} 10\n"),
        "{text}"
    );
    // Another pod is not the worse for it.
    let mut other = self::ask();
    other.subject = crate::issuer::fixture::subject_in("shop", "orders-1");
    assert!(issuance.issue(&other, names(&["x"])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_all_and_waits_as_told_is_not_too_early() {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let many: Vec<String> = (0..30).map(|i| format!("t{i:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (issuance, ..) = issuance(&server, &many);
    let ask = ask();
    for _ in 0..8 {
        issuance.issue(&ask, None).await.unwrap();
    }
    // Of the 256 at once 16 are left.
    let refusal = issuance.issue(&ask, None).await.unwrap_err();
    assert_eq!(refusal.code, Code::TooOften);
    tokio::time::advance(refusal.retry_after.unwrap()).await;
    assert!(issuance.issue(&ask, None).await.is_ok());
}

#[tokio::test]
async fn a_missing_right_is_told_at_every_try_and_asked_about_twice() {
    let server = ApiServer::default()
        .on(TOKEN_PATH, |_| status(403, "serviceaccounts", "forbidden"))
        .on(REVIEW_PATH, |_| {
            Reply::Json(
                201,
                serde_json::json!({"spec": {}, "status": {"allowed": false}}),
            )
        });
    let (issuance, ..) = issuance(&server, &["a"]);
    for _ in 0..5 {
        let outcomes = issuance.issue(&ask(), None).await.unwrap();
        assert_eq!(told(&outcomes), [("a", "MintForbidden")]);
    }
    assert_eq!(server.calls().len(), 4);
}

#[tokio::test]
async fn without_an_audit_record_there_is_no_token() {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let (issuance, lines, metrics) = issuance(&server, &["a"]);
    lines.fail_after(0);
    let outcomes = issuance.issue(&ask(), None).await.unwrap();
    assert_eq!(told(&outcomes), [("a", "Internal")]);
    assert!(
        metrics
            .encode()
            .unwrap()
            .contains("hallpass_tokens_issued_total 0\n")
    );
}

#[tokio::test]
async fn what_could_not_be_written_down_is_not_even_minted() {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let (mut issuance, ..) = issuance(&server, &["a"]);
    issuance.audit = Audit::full();
    let outcomes = issuance.issue(&ask(), None).await.unwrap();
    assert_eq!(told(&outcomes), [("a", "Internal")]);
    assert_eq!(server.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn that_nothing_takes_records_is_said_once_a_minute() {
    let said = Lines::default();
    let writer = said.clone();
    let log = tracing_subscriber::fmt().json().flatten_event(true);
    let log = log.with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(log);
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let (mut issuance, ..) = issuance(&server, &["a"]);
    issuance.audit = Audit::full();
    for _ in 0..2 {
        for _ in 0..10 {
            issuance.issue(&ask(), names(&["a", "x"])).await.unwrap();
        }
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    let said = said.text();
    let read = |line| serde_json::from_str::<Value>(line).unwrap();
    let lines: Vec<Value> = said.lines().map(read).collect();
    // Both a token and what is refused for want of it have no record, and neither has the other name.
    for (message, times) in [
        ("no token: no audit record", [1, 10]),
        ("refusal without an audit record", [1, 20]),
    ] {
        let of = lines.iter().filter(|line| line["message"] == message);
        let told: Vec<_> = of.map(|line| line["times"].as_u64().unwrap()).collect();
        assert_eq!(told, times, "{said}");
    }
    assert_eq!(lines.len(), 4, "{said}");
}

#[tokio::test]
async fn decides_nothing_before_the_index_is_there() {
    let server = ApiServer::default();
    let (mut issuance, ..) = issuance(&server, &["a"]);
    issuance.index = Index::new(Metrics::new(), now);
    let refusal = issuance.issue(&ask(), None).await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.retry_after_seconds()),
        (Code::NotSynced, Some(2))
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_does_not_take_the_whole_time_of_the_request() {
    let server = ApiServer::default().on(TOKEN_PATH, |_| Reply::Silence);
    let many: Vec<String> = (0..30).map(|i| format!("t{i:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (issuance, ..) = issuance(&server, &many);
    let ask = ask();
    let outcomes = issuance.issue(&ask, None).await.unwrap();
    assert!(
        told(&outcomes)
            .iter()
            .all(|(_, word)| *word == "Unavailable")
    );
    // The second eight have what is left, and not 8 s more.
    assert_eq!(ask.since.elapsed(), LAST_END);
    assert!(LAST_END < wire::ANSWER_WITHIN);
    assert_eq!(server.calls().len(), 16);
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_on_old_knowledge_ends_as_if_it_were_of_then() {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let (issuance, ..) = issuance(&server, &["a", "b", "c"]);
    for (name, minutes, seconds) in [("a", 0, 3600), ("b", 5, 3299), ("c", 8, 2819)] {
        tokio::time::advance(Duration::from_secs(60 * minutes)).await;
        let outcomes = issuance.issue(&ask(), names(&[name])).await.unwrap();
        assert_eq!(told(&outcomes), [(name, "-")]);
        let calls = server.calls();
        let (_, body) = calls.last().unwrap();
        assert_eq!(body["spec"]["expirationSeconds"], seconds, "{name}");
    }
}

mod storm;
