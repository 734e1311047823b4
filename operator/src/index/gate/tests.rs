use std::sync::{Arc, Mutex};

use hallpass_crds::{token_policy::TokenPolicy, token_revocation::TokenRevocation};
use http::{Request, Response};
use kube::client::Body;
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::index::freshness::Freshness;

/// What the API server says of the definition.
#[derive(Clone, Copy)]
enum Says {
    /// It is there, under that uid.
    There(&'static str),
    Gone,
    Nothing,
}
use Says::{Gone, Nothing, There};

/// A gate, and the API server behind it.
struct Fixture {
    gate: Gate,
    says: Arc<Mutex<(Says, usize)>>,
    freshness: Freshness,
    metrics: Metrics,
}

impl Fixture {
    fn of<K: Resource<DynamicType = ()>>(kind: Kind) -> Self {
        let says = Arc::new(Mutex::new((There("one"), 0)));
        let service = tower::service_fn({
            let says = Arc::clone(&says);
            move |request: Request<Body>| {
                let (answer, asked) = &mut *says.lock().unwrap();
                *asked += 1;
                let answer = *answer;
                let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
                async move {
                    let (code, text) = match answer {
                        There(uid) => (200, json!({"metadata": {"name": name, "uid": uid}})),
                        Gone => (
                            404,
                            json!({"code": 404, "reason": "NotFound", "details": {"name": name}}),
                        ),
                        Nothing => std::future::pending().await,
                    };
                    let body = Body::from(text.to_string().into_bytes());
                    Response::builder().status(code).body(body)
                }
            }
        });
        let (freshness, metrics) = (Freshness::default(), Metrics::default());
        let client = Client::new(service, "default");
        Self {
            gate: Gate::of::<K>(client, kind, freshness.stamp(kind), metrics.clone()),
            says,
            freshness,
            metrics,
        }
    }

    fn policies() -> Self {
        Self::of::<TokenPolicy>(Kind::TokenPolicy)
    }

    /// After a first list with `a`.
    async fn synced(mut self) -> Self {
        self.gate.ready().await;
        assert_eq!(self.list(&["a"]).await, "[ +a ]");
        self
    }

    fn say(&self, says: Says) {
        self.says.lock().unwrap().0 = says;
    }

    fn asked(&self) -> usize {
        self.says.lock().unwrap().1
    }

    /// What becomes of events, each as [`text`] writes it; `gone` at the end where the watch is over.
    async fn pass(&mut self, events: Vec<Event<&str>>) -> String {
        let mut texts = Vec::new();
        let take = |events: Vec<Event<&str>>| texts.extend(events.iter().map(text));
        let there = self.gate.pass(events, take).await;
        texts.extend((!there).then(|| "gone".to_owned()));
        texts.join(" ")
    }

    async fn list(&mut self, names: &[&'static str]) -> String {
        let names = names.iter().copied().map(Event::InitApply);
        let list = [Event::Init]
            .into_iter()
            .chain(names)
            .chain([Event::InitDone]);
        self.pass(list.collect()).await
    }

    /// Whether what a list lacked goes within that time.
    async fn lapses(&mut self, within: Duration) -> bool {
        timeout(within, self.gate.lapsed()).await.is_ok()
    }

    fn is_missing(&self) -> bool {
        let kind = self.gate.kind.as_str();
        let line = format!("hallpass_definition_missing{{kind=\"{kind}\"}} 1");
        self.metrics.encode().unwrap().lines().any(|l| l == line)
    }

    /// The definition goes, and is back under another uid after that time.
    async fn replaced(&mut self, away: Duration) {
        self.say(Gone);
        assert_eq!(self.pass(vec![Event::Delete("a")]).await, "gone");
        timeout(away, self.gate.ready()).await.unwrap_err();
        assert!(self.is_missing());
        self.say(There("two"));
        self.gate.ready().await;
    }
}

fn text(event: &Event<&str>) -> String {
    match event {
        Event::Init => "[".to_owned(),
        Event::InitApply(name) => format!("+{name}"),
        Event::InitDone => "]".to_owned(),
        Event::Apply(name) => format!("={name}"),
        Event::Delete(name) => format!("-{name}"),
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn f20_what_somebody_deletes_goes_and_is_looked_at_once_for_all_that_come_together() {
    let mut policies = Fixture::policies().synced().await;
    let before = policies.asked();
    let events = vec![Event::Delete("a"), Event::Apply("b"), Event::Delete("c")];
    assert_eq!(policies.pass(events).await, "-a =b -c");
    assert_eq!(policies.asked(), before + 1);
    assert_eq!(policies.pass(vec![Event::Apply("d")]).await, "=d");
    assert_eq!(policies.asked(), before + 1, "nothing went");
}

#[tokio::test(start_paused = true)]
async fn f20_what_goes_with_the_definition_stays_and_what_came_with_it_counts() {
    for says in [Gone, There("two")] {
        let mut policies = Fixture::policies().synced().await;
        policies.say(says);
        let events = vec![Event::Delete("a"), Event::Apply("b"), Event::Delete("c")];
        assert_eq!(policies.pass(events).await, "=b gone");
    }
    let mut revocations = Fixture::of::<TokenRevocation>(Kind::TokenRevocation)
        .synced()
        .await;
    revocations.say(Gone);
    assert_eq!(revocations.pass(vec![Event::Delete("a")]).await, "gone");
}

#[tokio::test(start_paused = true)]
async fn f20_where_nobody_says_what_is_deleted_goes_within_a_second_and_no_revocation_does() {
    let mut policies = Fixture::policies().synced().await;
    let mut revocations = Fixture::of::<TokenRevocation>(Kind::TokenRevocation)
        .synced()
        .await;
    // A revocation that somebody deleted stays a while; one that went with its definition may not go.
    for (fixture, passed) in [(&mut policies, "-a"), (&mut revocations, "gone")] {
        fixture.say(Nothing);
        let start = Instant::now();
        assert_eq!(fixture.pass(vec![Event::Delete("a")]).await, passed);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        fixture.gate.ready().await;
        assert_eq!(fixture.list(&["b"]).await, "[ +b ]");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_a_deletion_does_not_wait_for_the_look_that_it_needs() {
    let mut revocations = Fixture::of::<TokenRevocation>(Kind::TokenRevocation)
        .synced()
        .await;
    revocations.say(Nothing);
    let (start, mut taken) = (Instant::now(), Vec::new());
    let events = vec![Event::Apply("lock"), Event::Delete("a"), Event::Apply("b")];
    let take = |events: Vec<Event<&str>>| {
        let texts = events.iter().map(text);
        taken.extend(texts.map(|text| (text, start.elapsed().as_secs())));
    };
    assert!(!revocations.gate.pass(events, take).await);
    assert_eq!(taken, [("=lock".to_owned(), 0), ("=b".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn f20_where_nobody_says_which_definition_is_back_what_is_deleted_then_goes() {
    let mut policies = Fixture::policies().synced().await;
    policies.say(Gone);
    assert_eq!(policies.pass(vec![Event::Delete("a")]).await, "gone");
    timeout(MINUTE, policies.gate.ready()).await.unwrap_err();
    policies.say(Nothing);
    policies.gate.ready().await;
    assert_eq!(policies.list(&["b"]).await, "[ =b");
    policies.say(There("two"));
    assert_eq!(policies.pass(vec![Event::Delete("b")]).await, "-b");
}

#[tokio::test(start_paused = true)]
async fn f20_a_list_that_the_definition_was_deleted_under_takes_nothing_away() {
    let mut policies = Fixture::policies().synced().await;
    policies.say(Gone);
    assert_eq!(policies.list(&["b"]).await, "[ +b gone");
    policies.say(There("two"));
    policies.gate.ready().await;
    // And once more, between the look before the list and that after it.
    policies.say(There("three"));
    assert_eq!(policies.list(&["b"]).await, "[ =b gone");
    policies.gate.ready().await;
    assert_eq!(policies.list(&["b"]).await, "[ =b");
    assert!(!policies.is_missing());
}

#[tokio::test(start_paused = true)]
async fn f20_while_the_definition_is_gone_this_replica_is_current_as_long_as_it_is_told_so() {
    let mut policies = Fixture::policies().synced().await;
    policies.say(Gone);
    for _ in 0..60 {
        timeout(MINUTE, policies.gate.ready()).await.unwrap_err();
        let age = policies.freshness.age(Instant::now()).unwrap();
        assert!(age <= PACE + PACE, "{age:?}");
    }
    assert!(policies.is_missing());
    policies.say(Nothing);
    policies.gate.ready().await;
    let age = policies.freshness.age(Instant::now()).unwrap();
    assert!(
        age >= Duration::from_secs(1),
        "silence is no proof: {age:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn f20_a_replica_that_starts_without_a_definition_waits_for_it_and_says_so() {
    let mut policies = Fixture::policies();
    policies.say(Gone);
    timeout(MINUTE, policies.gate.ready()).await.unwrap_err();
    assert!(policies.is_missing());
    assert_eq!(policies.freshness.age(Instant::now()), None);
    policies.say(There("two"));
    policies.gate.ready().await;
    assert_eq!(policies.list(&["b"]).await, "[ +b ]", "it spares nothing");
    assert!(!policies.is_missing());
}

#[tokio::test(start_paused = true)]
async fn f20_what_a_definition_that_is_back_lacks_goes_a_quarter_of_an_hour_after_its_first_list() {
    let mut policies = Fixture::policies().synced().await;
    policies.replaced(60 * MINUTE).await;
    assert!(policies.is_missing(), "nothing is listed yet");
    assert_eq!(
        policies.list(&["b"]).await,
        "[ =b",
        "it counts at once, and takes nothing away"
    );
    assert!(!policies.is_missing());
    assert_eq!(
        policies.pass(vec![Event::Delete("b")]).await,
        "-b",
        "this one is meant"
    );
    assert!(!policies.lapses(14 * MINUTE).await);
    assert!(policies.lapses(MINUTE + Duration::from_secs(1)).await);
    assert!(!policies.lapses(60 * MINUTE).await, "once");
    assert_eq!(policies.list(&["b"]).await, "[ +b ]", "as ever");
}

#[tokio::test(start_paused = true)]
async fn f20_a_list_that_is_under_way_when_the_time_is_over_ends_it() {
    let mut policies = Fixture::policies().synced().await;
    policies.replaced(MINUTE).await;
    assert_eq!(policies.list(&[]).await, "[");
    assert_eq!(policies.list(&["b"]).await, "[ =b", "the time goes on");
    assert!(!policies.lapses(14 * MINUTE).await);
    assert_eq!(policies.pass(vec![Event::Init]).await, "[");
    assert!(
        !policies.lapses(60 * MINUTE).await,
        "half a list lacks what it has not listed yet"
    );
    let rest = vec![Event::InitApply("b"), Event::InitDone];
    assert_eq!(policies.pass(rest).await, "=b ]");
}

#[tokio::test(start_paused = true)]
async fn f20_a_definition_that_goes_again_meanwhile_spares_all_anew() {
    let mut policies = Fixture::policies().synced().await;
    policies.replaced(MINUTE).await;
    assert_eq!(policies.list(&[]).await, "[");
    policies.say(Gone);
    assert_eq!(policies.pass(vec![Event::Delete("a")]).await, "gone");
    timeout(60 * MINUTE, policies.gate.ready())
        .await
        .unwrap_err();
    policies.say(There("three"));
    policies.gate.ready().await;
    assert_eq!(policies.list(&[]).await, "[");
    assert!(!policies.lapses(14 * MINUTE).await);
    assert!(policies.lapses(2 * MINUTE).await);
}

#[tokio::test(start_paused = true)]
async fn f20_revocations_that_a_definition_that_is_back_lacks_are_told_missing_at_once() {
    let mut revocations = Fixture::of::<TokenRevocation>(Kind::TokenRevocation)
        .synced()
        .await;
    revocations.replaced(MINUTE).await;
    assert_eq!(revocations.list(&["b"]).await, "[ +b ]");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_defined_by_hallpass_is_never_looked_at() {
    let freshness = Freshness::default();
    let service = tower::service_fn(async |_: Request<Body>| -> Result<Response<Body>, _> {
        Err(std::io::Error::other("nobody is to be asked"))
    });
    let client = Client::new(service, "default");
    let kind = Kind::Pod;
    let mut gate = Gate::of::<k8s_openapi::api::core::v1::Pod>(
        client,
        kind,
        freshness.stamp(kind),
        Metrics::default(),
    );
    gate.ready().await;
    let mut texts = Vec::new();
    let take = |events: Vec<Event<&str>>| texts.extend(events.iter().map(text));
    assert!(
        gate.pass(vec![Event::Delete("a"), Event::InitDone], take)
            .await
    );
    assert_eq!(texts, ["-a", "]"]);
    assert!(gate.is_there().await);
}

#[tokio::test(start_paused = true)]
async fn f20_the_cluster_is_not_whole_until_what_the_definition_took_is_back_or_given_up() {
    let mut policies = Fixture::policies().synced().await;
    assert!(policies.freshness.is_whole());
    policies.replaced(MINUTE).await;
    assert!(!policies.freshness.is_whole(), "no list has counted yet");
    assert_eq!(policies.list(&["b"]).await, "[ =b");
    assert!(!policies.freshness.is_whole(), "it may come back");
    assert!(policies.lapses(SPARED + MINUTE).await);
    assert!(policies.freshness.is_whole());
}
