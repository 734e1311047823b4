//! How often the API server is asked, and what becomes of that where it does not answer.

use super::*;

#[tokio::test(start_paused = true)]
async fn ten_thousand_policies_cost_ten_requests_a_second() {
    let policies = (0..10_000).map(|n| {
        let (namespace, name) = (format!("n-{}", n / 10), format!("p-{n}"));
        policy(&namespace, &name, &name, &[])
    });
    let running = start(policies.collect(), vec![]);
    sleep(Duration::from_secs(30)).await;
    let lists = running.lists().len();
    assert!((290..=301).contains(&lists), "{lists} lists in 30 s");
    sleep(Duration::from_secs(75)).await;
    let lists = running.lists();
    assert!(
        lists.iter().any(|list| list.starts_with("n-999 ")),
        "all are reached"
    );
}

#[tokio::test(start_paused = true)]
async fn t27_one_namespace_of_many_accounts_does_not_keep_the_others_waiting() {
    let crowd = (0..120).map(|n| {
        let name = format!("p-{n:03}");
        policy("crowd", &name, &name, &[])
    });
    let policies = crowd.chain([policy("shop", "orders", "orders", &[])]);
    let lacking = ["p-000", "p-060", "p-119"].map(|name| pod("crowd", name, name, json!({})));
    let running = start(policies.collect(), lacking.into());
    sleep(Duration::from_secs(20)).await;
    let lists = running.lists();
    let of_crowd = |list: &&String| list.starts_with("crowd ");
    let other = lists.iter().position(|list| list.starts_with("shop "));
    let before = lists[..other.unwrap()].iter().filter(of_crowd).count();
    assert_eq!(before, 51, "the namespace, and 50 of its accounts");
    let all = lists.iter().filter(of_crowd).count();
    assert_eq!(all, 121, "each of its accounts, once");
    assert_eq!(running.uninjected()[2], r#""Policy"} 3"#);
    let statuses = running.server.lock().unwrap().statuses.len();
    assert_eq!(statuses, 3);
}

#[tokio::test(start_paused = true)]
async fn what_changes_between_two_visits_is_looked_for_anew() {
    let crowd = (0..200).map(|n| {
        let name = format!("p-{n:03}");
        policy("crowd", &name, &name, &[])
    });
    let lacking = vec![pod("crowd", "p-000", "p-000", json!({}))];
    let running = start(crowd.collect(), lacking);
    sleep(Duration::from_secs(3)).await;
    let new = policy("crowd", "new", "a-000", &[]);
    running.index.deliver(Stored(Ok(new)));
    sleep(Duration::from_secs(45)).await;
    let lists = running.lists();
    let new = lists.iter().filter(|l| l.contains("=a-000,")).count();
    assert_eq!(new, 1, "one that comes before those that were looked at");
    assert_eq!(running.uninjected()[2], r#""Policy"} 1"#);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_takes_nothing_back() {
    let lacking = || vec![pod("shop", "orders-5d9-x", "orders", json!({}))];
    let running = start(vec![policy("shop", "orders", "orders", &[])], lacking());
    assert_eq!(running.writes(1).await, ["orders False PodsWithoutSidecar"]);
    running.events();
    running.pods(vec![]);
    running.server.lock().unwrap().pods.refusal = Some(500);
    assert_eq!(running.writes(200).await, [] as [&str; 0]);
    assert_eq!(running.uninjected()[2], r#""Policy"} 1"#);
    running.pods(lacking());
    running.server.lock().unwrap().pods.refusal = None;
    assert_eq!(running.writes(61).await, [] as [&str; 0]);
    assert_eq!(running.events(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn every_page_is_read() {
    let pods = (0..7).map(|n| {
        pod(
            "shop",
            &format!("p-{n}"),
            "orders",
            json!({"hallpass.dev/inject": "true"}),
        )
    });
    let running = start(vec![], vec![]);
    {
        let mut server = running.server.lock().unwrap();
        server.pods.stored = pods.collect();
        server.pods.page = Some(3);
    }
    assert_eq!(running.writes(1).await, [] as [&str; 0]);
    assert_eq!(running.uninjected()[1], r#""PodLabel"} 7"#);
    assert_eq!(running.lists().len(), 3);
}
