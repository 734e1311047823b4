//! The controller against an API server that answers what is expected and notes what is not.

use hallpass_core::{
    issuer::{Issuer, IssuerUrl},
    name::{Namespace, TrustDomain},
    token::signing::Algorithm,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::{
    controller::fixture::{Shared, after, client, context, issuer, noon, stored, two_keys},
    index::fixture::deep_fields,
};

struct Running {
    server: Shared,
    index: Index,
    leader: watch::Sender<Tenure>,
    changes: watch::Sender<u64>,
    /// Whether the issuers have keys.
    keys: watch::Sender<bool>,
    /// Whether the keys have been read.
    read: watch::Sender<bool>,
}

fn release(url: &str) -> Release {
    let name = |text| Namespace::parse(text).unwrap();
    Release {
        names: Names::new(name("hallpass"), name("hallpass-system")),
        issuer: DefaultIssuer {
            url: IssuerUrl::parse(url).unwrap(),
            algorithm: Some(Algorithm::EdDsa),
            rotate_every: Some(Duration::from_secs(30 * 86400)),
            spiffe_trust_domain: Some(TrustDomain::parse("prod.example").unwrap()),
        },
    }
}

fn start(server: &Shared, leads: bool) -> Running {
    let index = Index::filled(vec![], vec![], vec![]);
    let (leader, leading) = watch::channel(Tenure::of(leads));
    let (keys, have) = watch::channel(true);
    let changes = watch::Sender::new(0);
    let look = move |issuer: &_, now| {
        if *have.borrow() {
            two_keys(issuer, now)
        } else {
            IssuerKeys::default()
        }
    };
    let (read, is_read) = watch::channel(true);
    let reports = KeyReports::new(look, move || *is_read.borrow(), changes.subscribe());
    tokio::spawn(run(
        index.clone(),
        reports,
        release("https://hallpass.example"),
        client(server),
        leading,
        context(),
        Metrics::default(),
    ));
    Running {
        server: Shared::clone(server),
        index,
        leader,
        changes,
        keys,
        read,
    }
}

impl Running {
    /// The watch delivers the issuer in that generation.
    fn deliver(&self, generation: i64) {
        let mut issuer = issuer("hallpass");
        issuer.metadata.generation = Some(generation);
        self.index.allow(vec![], vec![issuer], vec![]);
    }

    /// Lets so much time pass and returns the writes of the issuer in it.
    async fn writes(&self, seconds: u64) -> Vec<Value> {
        sleep(Duration::from_secs(seconds)).await;
        let mut server = self.server.lock().unwrap();
        assert_eq!(server.unexpected, [] as [&str; 0]);
        std::mem::take(&mut server.writes)
    }
}

fn desired_object() -> Value {
    let owner = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "name": "hallpass-operator", "uid": "role",
    });
    json!({
        "apiVersion": "hallpass.dev/v1alpha1",
        "kind": "TokenIssuer",
        "metadata": {"name": "hallpass", "ownerReferences": [owner]},
        "spec": {"hallpass": {
            "issuerURL": "https://hallpass.example", "algorithm": "EdDSA",
            "rotateEvery": "30d", "spiffeTrustDomain": "prod.example",
        }},
    })
}

/// An API server that stores what the operator would, changed by `change`.
fn storing(change: impl FnOnce(&mut Value)) -> Shared {
    let mut object = stored(desired_object());
    change(&mut object);
    let server = Shared::default();
    server.lock().unwrap().issuer = Some(object);
    server
}

#[tokio::test(start_paused = true)]
async fn the_charts_issuer_is_made_once_and_owned_by_the_release() {
    let running = start(&Shared::default(), true);
    assert_eq!(running.writes(1).await, [desired_object()]);
    running.deliver(1);
    assert_eq!(running.writes(400).await, [] as [Value; 0]);
    // Once more than it was written, and then every five minutes.
    assert_eq!(running.server.lock().unwrap().reads, 3);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_was_deleted_is_made_again() {
    let running = start(&storing(|_| {}), true);
    running.deliver(1);
    assert_eq!(running.writes(2).await, [] as [Value; 0]);
    running.server.lock().unwrap().issuer = None;
    running.index.allow(vec![], vec![], vec![]);
    assert_eq!(running.writes(1).await, [desired_object()]);
}

#[tokio::test(start_paused = true)]
async fn it_is_kept_in_step_with_the_chart_and_remains_the_same_object() {
    let changes: [fn(&mut Value); 3] = [
        |object| object["spec"]["hallpass"]["rotateEvery"] = json!("7d"),
        |object| object["metadata"]["ownerReferences"][0]["uid"] = json!("a role of before"),
        |object| {
            object["spec"]["audiences"] =
                json!([{"pattern": "a", "namespaces": {"matchLabels": {"a": "b"}}}])
        },
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let server = storing(change);
        let mut expected = desired_object();
        expected["metadata"]["uid"] = json!("uid--hallpass");
        // What another leader made of it since it was read is left alone.
        expected["metadata"]["resourceVersion"] = json!("7");
        let running = start(&server, true);
        assert_eq!(running.writes(1).await, [expected], "change {i}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_edited_is_left_alone() {
    let edited = |manager: &str, fields: Value| {
        let manager = manager.to_owned();
        storing(move |object| {
            object["spec"]["hallpass"]["rotateEvery"] = json!("7d");
            let entry = json!({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields});
            let entries = object["metadata"]["managedFields"].as_array_mut();
            entries.unwrap().push(entry);
        })
    };
    let spec = json!({"f:spec": {"f:hallpass": {"f:rotateEvery": {}}}});
    let running = start(&edited("kubectl-edit", spec), true);
    assert_eq!(running.writes(400).await, [] as [Value; 0]);
    // Who only labels it takes nothing.
    let labels = json!({"f:metadata": {"f:labels": {}}});
    let running = start(&edited("kubectl-label", labels), true);
    assert_eq!(running.writes(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_edited_it_is_seen_however_deep_the_managed_fields_are() {
    let managed = |top: &'static str| {
        storing(move |object| {
            object["spec"]["hallpass"]["rotateEvery"] = json!("7d");
            object["metadata"]["managedFields"] = deep_fields(top);
        })
    };
    let running = start(&managed("f:spec"), true);
    running.deliver(1);
    assert_eq!(running.writes(400).await, [] as [Value; 0]);
    // Who says nothing of its spec takes nothing, and what is answered to the write is as deep.
    let running = start(&managed("f:status"), true);
    running.server.lock().unwrap().answers_managed = Some(deep_fields("f:status"));
    assert_eq!(running.writes(400).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_to_be_the_charts_alone_holds_up_nothing() {
    let server = storing(|object| {
        object["spec"]["hallpass"]["rotateEvery"] = json!("7d");
        object["metadata"]["managedFields"] = json!([{"manager": "x", "fieldsV1": "none"}]);
    });
    let running = start(&server, true);
    running.deliver(1);
    assert_eq!(after(&running.server, 1).await, ["hallpass True Ready"]);
    assert_eq!(running.writes(400).await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_url_of_before_is_never_changed() {
    let server = storing(|object| {
        object["spec"]["hallpass"] = json!({"issuerURL": "https://old.example"});
    });
    let running = start(&server, true);
    assert_eq!(running.writes(400).await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_deleted_or_cannot_be_read_is_left_alone() {
    let leaving = storing(|object| {
        object["metadata"]["deletionTimestamp"] = json!("2026-11-01T11:59:59Z");
        object["spec"]["hallpass"]["rotateEvery"] = json!("7d");
    });
    let unreadable = storing(|object| object["spec"] = json!("none"));
    for server in [leaving, unreadable] {
        let running = start(&server, true);
        assert_eq!(running.writes(400).await, [] as [Value; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_tried_again_ever_more_rarely() {
    for code in [409, 500] {
        let server = Shared::default();
        server.lock().unwrap().refusal = Some(code);
        let running = start(&server, true);
        let tries = running.writes(60).await.len();
        assert!((5..=9).contains(&tries), "{tries} tries");
        server.lock().unwrap().refusal = None;
        assert_eq!(running.writes(61).await, [desired_object()]);
    }
}

#[tokio::test(start_paused = true)]
async fn f03_a_leader_whose_tenure_is_over_makes_nothing_although_nobody_told_it() {
    let running = start(&Shared::default(), false);
    running.deliver(1);
    running.leader.send_replace(Tenure::over());
    assert_eq!(running.writes(400).await, [] as [Value; 0]);
    assert_eq!(after(&running.server, 0).await, [] as [&str; 0]);
    assert!(running.server.lock().unwrap().reads > 0, "it looks");
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let running = start(&Shared::default(), false);
    running.deliver(1);
    assert_eq!(running.writes(60).await, [] as [Value; 0]);
    assert_eq!(after(&running.server, 0).await, [] as [&str; 0]);
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(running.writes(1).await, [desired_object()]);
    assert_eq!(after(&running.server, 0).await, ["hallpass True Ready"]);
    running.leader.send_replace(Tenure::of(false));
    running.deliver(2);
    assert_eq!(running.writes(60).await, [] as [Value; 0]);
    assert_eq!(after(&running.server, 0).await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_status_follows_the_keys() {
    let running = start(&storing(|_| {}), true);
    running.keys.send_replace(false);
    running.deliver(1);
    assert_eq!(
        after(&running.server, 1).await,
        ["hallpass False IssuerNotReady"]
    );
    running.keys.send_replace(true);
    running.changes.send_replace(1);
    assert_eq!(after(&running.server, 1).await, ["hallpass True Ready"]);
    let events = std::mem::take(&mut running.server.lock().unwrap().events);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["regarding"]["kind"], "TokenIssuer");
    assert_eq!(events[0]["regarding"].get("namespace"), None);
}

#[tokio::test(start_paused = true)]
async fn f03_a_new_leader_takes_nothing_back_before_it_has_read_the_keys() {
    let running = start(&storing(|_| {}), true);
    running.deliver(1);
    sleep(Duration::from_secs(1)).await;
    let written = running.server.lock().unwrap().statuses[0].clone();
    let mut reported = issuer("hallpass");
    reported.status = serde_json::from_value(written["body"]["status"].clone()).unwrap();
    assert_eq!(after(&running.server, 0).await, ["hallpass True Ready"]);
    running.leader.send_replace(Tenure::of(false));
    running.keys.send_replace(false);
    running.read.send_replace(false);
    running.index.allow(vec![], vec![reported], vec![]);
    sleep(Duration::from_secs(1)).await;
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(after(&running.server, 60).await, [] as [&str; 0]);
    running.read.send_replace(true);
    running.changes.send_replace(1);
    let writes = after(&running.server, 1).await;
    assert_eq!(writes, ["hallpass False IssuerNotReady"]);
}

#[test]
fn looks_again_soon_after_a_key_was_to_do_something_else() {
    let mut keys = two_keys(&parsed(), noon());
    let next = keys.next_rotation;
    assert_eq!(keys.next_change(noon()), next);
    assert_eq!(keys.next_change(next.unwrap()), None);
    let soon = noon() + Duration::from_secs(9);
    keys.keys[0].until = Some(soon);
    assert_eq!(keys.next_change(noon()), Some(soon));
}

fn parsed() -> Issuer {
    Issuer::parse(&hallpass_core::issuer::RawIssuer::from(&issuer("hallpass"))).unwrap()
}
