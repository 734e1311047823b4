use std::{
    future::ready,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{future::join_all, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, api::ListParams, core::PartialObjectMeta};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{
    super::{fixture::service_account, freshness::Freshness, limit::limited, watch::PAGE},
    *,
};
use crate::telemetry::{label::Kind, log::Chain};

/// An API server with service accounts of so many bytes each.
#[derive(Debug, Default)]
struct Server {
    accounts: Vec<usize>,
    /// What does not answer.
    silent: bool,
    /// Of how many objects each page was asked for.
    sizes: Mutex<Vec<usize>>,
    answering: AtomicUsize,
    most_at_once: AtomicUsize,
}

type Object = PartialObjectMeta<ServiceAccount>;

impl Server {
    fn of(accounts: impl IntoIterator<Item = usize>) -> Arc<Self> {
        Arc::new(Self {
            accounts: accounts.into_iter().collect(),
            ..Self::default()
        })
    }

    fn page(&self, query: &str) -> String {
        let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
        let number = |text: Option<&str>| text.map_or(0, |text| text.parse().unwrap());
        let (first, size) = (number(of("continue=")), number(of(LIMIT)));
        self.sizes.lock().unwrap().push(size);
        let next = self.accounts.len().min(first + size);
        let accounts = self.accounts.iter().enumerate().skip(first).take(size);
        let items = accounts.map(|(i, bytes)| {
            let mut account: Object = service_account("shop", &format!("a-{i}"));
            let labels = account.metadata.labels.get_or_insert_default();
            labels.insert("big".to_owned(), "x".repeat(*bytes));
            account
        });
        let items: Vec<_> = items.collect();
        let more = (next < self.accounts.len()).then(|| next.to_string());
        let metadata = json!({"resourceVersion": "9", "continue": more.unwrap_or_default()});
        json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
            .to_string()
    }

    fn api(self: &Arc<Self>, turn: &Turn) -> Api<Object> {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                if server.silent {
                    std::future::pending::<()>().await;
                }
                let answering = server.answering.fetch_add(1, SeqCst) + 1;
                server.most_at_once.fetch_max(answering, SeqCst);
                sleep(Duration::from_millis(5)).await;
                let page = server.page(request.uri().query().unwrap());
                server.answering.fetch_sub(1, SeqCst);
                Ok::<_, BoxError>(Response::new(Body::from(page.into_bytes())))
            }
        });
        let stamp = Freshness::default().stamp(Kind::ServiceAccount);
        let client = Client::new(service, "default");
        Api::all(limited(client, SILENCE, stamp, turn.clone()))
    }

    fn sizes(&self) -> Vec<usize> {
        self.sizes.lock().unwrap().clone()
    }
}

/// How many there are, by pages.
async fn count(api: &Api<Object>) -> Result<usize, String> {
    let mut params = ListParams::default().limit(PAGE);
    let mut count = 0;
    loop {
        let page = api.list(&params).await;
        let page = page.map_err(|error| Chain(&error).to_string())?;
        count += page.items.len();
        match page.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => params.continue_token = Some(more),
            None => return Ok(count),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn large_objects_are_asked_for_by_fewer() {
    let server = Server::of([600 << 10; 7]);
    let api = server.api(&Turn::default());
    assert_eq!(count(&api).await, Ok(7));
    assert_eq!(server.sizes(), [50, 25, 12, 6, 3, 3, 3]);
    assert_eq!(count(&api).await, Ok(7));
    assert_eq!(server.sizes()[7..], [3, 3, 3], "it is known now");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_fills_a_page_alone_is_read() {
    let server = Server::of([MOST + 1, 10, MOST + 1]);
    assert_eq!(count(&server.api(&Turn::default())).await, Ok(3));
    assert_eq!(server.sizes(), [50, 25, 12, 6, 3, 1, 1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn small_objects_are_asked_for_by_more() {
    let server = Server::of([10; 2000]);
    assert_eq!(count(&server.api(&Turn::default())).await, Ok(2000));
    assert_eq!(server.sizes(), [50, 100, 200, 400, 500, 500, 500]);
    let server = Server::of([1 << 10; 1000]);
    assert_eq!(count(&server.api(&Turn::default())).await, Ok(1000));
    assert_eq!(server.sizes(), [50, 100, 200, 400, 400], "{SMALL} bytes");
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_any_object_is_an_error() {
    let server = Server::of([MOST_OF_ONE]);
    let one = ListParams::default().limit(1);
    let error = server.api(&Turn::default()).list(&one).await.unwrap_err();
    let error = Chain(&error).to_string();
    assert!(error.contains("has more than 16777216 bytes"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn of_all_that_list_one_has_a_page_at_a_time() {
    let (server, turn) = (Server::of([10; 400]), Turn::default());
    let apis: Vec<_> = (0..10).map(|_| server.api(&turn)).collect();
    let counts = join_all(apis.iter().map(count)).await;
    assert_eq!(counts, vec![Ok(400); 10]);
    assert_eq!(server.most_at_once.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_answered_nothing_holds_up_the_others_no_longer_than_that_is_waited_for() {
    let turn = Turn::default();
    let silent = Arc::new(Server {
        silent: true,
        ..Server::default()
    });
    let (silent, server) = (silent.api(&turn), Server::of([10]).api(&turn));
    let both = async { tokio::join!(count(&silent), count(&server)) };
    let (failed, counted) = timeout(2 * SILENCE, both).await.unwrap();
    assert!(failed.unwrap_err().contains("silent for 20s"));
    assert_eq!(counted, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn who_is_answered_a_little_at_a_time_holds_up_the_others_for_half_a_minute() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        seen.lock().unwrap().push(wanted(&request).unwrap());
        let drops = stream::unfold((), |()| async {
            sleep(SILENCE / 2).await;
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(b" "))), ()))
        });
        ready(Ok::<_, BoxError>(Response::new(StreamBody::new(drops))))
    });
    let (turn, start) = (Turn::default(), Instant::now());
    let stamp = Freshness::default().stamp(Kind::ServiceAccount);
    let client = Client::new(service, "default");
    let dripping = Api::all(limited(client, SILENCE, stamp, turn.clone()));
    let server = Server::of([10]).api(&turn);
    let both = async { tokio::join!(count(&dripping), count(&server)) };
    let (failed, counted) = timeout(10 * LONGEST, both).await.unwrap();
    assert!(failed.unwrap_err().contains("longer than 30s"));
    assert_eq!(counted, Ok(1));
    assert!(start.elapsed() < LONGEST + Duration::from_secs(1));
    count(&dripping).await.unwrap_err();
    assert_eq!(*asked.lock().unwrap(), [50, 25]);
}

const SILENCE: Duration = Duration::from_secs(20);
