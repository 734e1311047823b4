//! How often the status of a policy is written by the two controllers that do, as an API server joins what they
//! apply.

use std::collections::BTreeMap;

use super::*;
use crate::{
    controller::{fixture::Shared, policy as other},
    index::fixture::{policy, service_account},
};

/// A cluster with namespace `shop`, where a replica leads.
struct Cluster {
    server: Shared,
    /// The policies, by name.
    stored: BTreeMap<String, Value>,
    index: Index,
    leader: watch::Sender<Tenure>,
}

/// What is stored after that apply: a condition that somebody else applied stays, and so do the other fields.
fn apply(stored: &mut Value, status: &Value) {
    let mut joined = stored["status"].take();
    let mut conditions = joined["conditions"].take();
    for (field, value) in status.as_object().unwrap() {
        joined[field] = value.clone();
    }
    let mut all = conditions
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    for new in status["conditions"].as_array().unwrap() {
        match all.iter_mut().find(|old| old["type"] == new["type"]) {
            Some(old) => *old = new.clone(),
            None => all.push(new.clone()),
        }
    }
    joined["conditions"] = json!(all);
    stored["status"] = joined;
    let version: u32 = stored["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    stored["metadata"]["resourceVersion"] = json!((version + 1).to_string());
}

fn read(stored: &Value) -> TokenPolicy {
    serde_json::from_value(stored.clone()).unwrap()
}

/// What the index of a replica has read, and a leader that just began.
fn lead(server: &Shared, stored: &BTreeMap<String, Value>) -> (Index, watch::Sender<Tenure>) {
    let accounts = stored.keys().map(|name| service_account("shop", name));
    let policies = stored.values().map(read).collect();
    let index = Index::filled(policies, vec![], accounts.collect());
    let (leader, leads) = watch::channel(Tenure::of(true));
    tokio::spawn(other::run(
        index.clone(),
        client(server),
        leads.clone(),
        context(),
        Metrics::default(),
    ));
    tokio::spawn(run(
        index.clone(),
        client(server),
        leads,
        context(),
        Metrics::default(),
        None,
    ));
    (index, leader)
}

impl Cluster {
    /// With a policy for each of these service accounts, and no pod without the sidecar.
    fn with(names: &[&str]) -> Self {
        let server = Shared::default();
        let stored = names.iter().map(|name| {
            let policy = serde_json::to_value(policy("shop", name, name)).unwrap();
            ((*name).to_owned(), policy)
        });
        let stored = stored.collect();
        let (index, leader) = lead(&server, &stored);
        Self {
            server,
            stored,
            index,
            leader,
        }
    }

    /// Another replica begins to lead.
    fn change_leader(&mut self) {
        self.leader.send_replace(Tenure::of(false));
        (self.index, self.leader) = lead(&self.server, &self.stored);
    }

    /// The service accounts of which one pod runs without the sidecar; `run` is part of its name.
    fn lack(&self, accounts: &[&str], run: usize) {
        let pods = accounts.iter().map(|account| {
            let name = format!("{account}-{run}");
            pod("shop", &name, account, json!({}))
        });
        self.server.lock().unwrap().pods.stored = pods.collect();
    }

    /// Lets so much time pass, in which the watch brings back what was written; returns the conditions of each
    /// write.
    async fn writes(&mut self, seconds: usize) -> Vec<String> {
        let mut writes = vec![];
        for _ in 0..seconds {
            sleep(Duration::from_secs(1)).await;
            let sent = std::mem::take(&mut self.server.lock().unwrap().statuses);
            for sent in sent {
                let (body, name) = (
                    &sent["body"],
                    sent["body"]["metadata"]["name"].as_str().unwrap(),
                );
                let stored = self.stored.get_mut(name).unwrap();
                let version = &body["metadata"]["resourceVersion"];
                assert_eq!(*version, stored["metadata"]["resourceVersion"], "{name}");
                apply(stored, &body["status"]);
                self.index.deliver(Stored(Ok(read(stored))));
                let conditions = body["status"]["conditions"].as_array().unwrap().iter();
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let told =
                    conditions.map(|c| format!("{}={}", text(&c["type"]), text(&c["status"])));
                writes.push(format!("{name} {}", told.collect::<Vec<_>>().join(" ")));
            }
        }
        let unexpected = &self.server.lock().unwrap().unexpected;
        assert_eq!(*unexpected, [] as [&str; 0]);
        writes
    }
}

const NONE: [&str; 0] = [];

#[tokio::test(start_paused = true)]
async fn a_policy_whose_pods_lack_nothing_is_written_once() {
    let mut cluster = Cluster::with(&["billing", "orders"]);
    let once = ["billing Ready=True", "orders Ready=True"];
    assert_eq!(cluster.writes(1).await, once);
    // It is looked at again every minute, and by the other controller every five.
    assert_eq!(cluster.writes(1000).await, NONE);
    let whole = cluster.stored.values().map(|p| Stored(Ok(read(p))));
    whole.for_each(|policy| cluster.index.deliver(policy));
    assert_eq!(cluster.writes(1000).await, NONE);
}

#[tokio::test(start_paused = true)]
async fn f03_a_new_leader_writes_nothing_where_nothing_changed() {
    let mut cluster = Cluster::with(&["always", "lacking", "mended"]);
    cluster.lack(&["lacking", "mended"], 1);
    assert_eq!(cluster.writes(70).await.len(), 3 + 2);
    cluster.lack(&["lacking"], 1);
    assert_eq!(cluster.writes(70).await, ["mended Injected=True"]);
    let before = cluster.stored.clone();
    for _ in 0..3 {
        cluster.change_leader();
        assert_eq!(cluster.writes(400).await, NONE);
    }
    assert_eq!(cluster.stored, before);
}

#[tokio::test(start_paused = true)]
async fn t27_what_is_lacking_is_written_once_and_once_that_it_is_not_any_more() {
    let mut cluster = Cluster::with(&["orders"]);
    cluster.writes(30).await;
    cluster.lack(&["orders"], 1);
    assert_eq!(cluster.writes(60).await, ["orders Injected=False"]);
    assert_eq!(cluster.writes(1000).await, NONE);
    cluster.lack(&[], 1);
    assert_eq!(cluster.writes(60).await, ["orders Injected=True"]);
    assert_eq!(cluster.writes(1000).await, NONE);
    let conditions = cluster.stored["orders"]["status"]["conditions"]
        .as_array()
        .unwrap();
    let types: Vec<_> = conditions.iter().map(|c| &c["type"]).collect();
    assert_eq!(types, ["Ready", "Injected"]);
}

#[tokio::test(start_paused = true)]
async fn t27_a_pod_that_comes_and_goes_for_hours_costs_a_few_writes_in_each() {
    let mut cluster = Cluster::with(&["orders"]);
    cluster.writes(1).await;
    for hour in 0..4 {
        let mut writes = vec![];
        for minute in (0..60).step_by(2) {
            cluster.lack(&["orders"], minute);
            writes.extend(cluster.writes(60).await);
            cluster.lack(&[], minute);
            writes.extend(cluster.writes(60).await);
        }
        let count = writes.len();
        assert!((8..=14).contains(&count), "{count} writes in hour {hour}");
        let last = writes.last().map(String::as_str);
        assert_eq!(last, Some("orders Injected=False"), "what is wrong is said");
    }
    assert_eq!(cluster.writes(3600).await, ["orders Injected=True"]);
}

#[tokio::test(start_paused = true)]
async fn t27_pods_that_take_the_place_of_each_other_are_named_anew_every_ten_minutes() {
    let mut cluster = Cluster::with(&["orders"]);
    cluster.writes(1).await;
    let mut writes = vec![];
    for minute in 0..60 {
        cluster.lack(&["orders"], minute);
        writes.extend(cluster.writes(60).await);
    }
    assert_eq!(writes, ["orders Injected=False"; 6]);
    // That all is well is said all the same.
    cluster.lack(&[], 0);
    assert_eq!(cluster.writes(60).await, ["orders Injected=True"]);
}

#[tokio::test(start_paused = true)]
async fn another_generation_is_told_in_both_conditions_if_there_are_two() {
    let mut cluster = Cluster::with(&["always", "lacking"]);
    cluster.lack(&["lacking"], 1);
    cluster.writes(70).await;
    for stored in cluster.stored.values_mut() {
        stored["metadata"]["generation"] = json!(2);
        cluster.index.deliver(Stored(Ok(read(stored))));
    }
    let mut writes = cluster.writes(70).await;
    writes.sort();
    assert_eq!(
        writes,
        [
            "always Ready=True",
            "lacking Injected=False",
            "lacking Ready=True"
        ]
    );
}
