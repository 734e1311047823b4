use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use futures::stream;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Client, client::Body};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::telemetry::Metrics;

/// An object that counts how many of it there are.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "ConfigMap")]
struct Whole {
    metadata: ObjectMeta,
    #[serde(skip)]
    _counted: Counted,
}

#[derive(Debug)]
struct Counted(());

static THERE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

impl Default for Counted {
    fn default() -> Self {
        MOST.fetch_max(THERE.fetch_add(1, SeqCst) + 1, SeqCst);
        Self(())
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        THERE.fetch_sub(1, SeqCst);
    }
}

/// An API server whose list is empty and whose watch says at once that there are so many objects.
fn client(objects: usize) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| async move {
        let watches = request.uri().query().unwrap().contains("watch=true");
        let list = json!({"metadata": {"resourceVersion": "9"}, "items": []});
        let added = (0..objects).map(|i| {
            let metadata = json!({"name": format!("o-{i}"), "resourceVersion": "10"});
            json!({"type": "ADDED", "object": {"metadata": metadata}})
        });
        let lines: Vec<_> = if watches { added.collect() } else { vec![list] };
        let lines = lines
            .into_iter()
            .map(|line| Ok::<_, Infallible>(format!("{line}\n")));
        let lines = stream::iter(lines.map(|line| line.map(|line| Frame::data(line.into()))));
        let rest = if watches {
            stream::pending().boxed()
        } else {
            stream::empty().boxed()
        };
        Ok::<_, Infallible>(Response::new(StreamBody::new(lines.chain(rest))))
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn of_many_that_come_at_once_no_two_wait_whole() {
    let api: Api<Whole> = Api::all(client(200));
    let (_restores, restores) = channel::channel(None);
    let mut batches = Vec::new();
    let followed = follow(
        api,
        watcher::Config::default(),
        Gate::open(Kind::Pod, Metrics::default()),
        restores,
        |whole: Whole| whole.metadata.name,
        |batch| batches.push(batch),
    );
    timeout(Duration::from_secs(1), Box::pin(followed))
        .await
        .unwrap_err();
    let added = batches.pop().unwrap();
    assert_eq!(added.len(), 200);
    assert!(matches!(&added[199], Event::Apply(name) if name == "o-199"));
    assert_eq!(MOST.load(SeqCst), 1);
}

#[test]
fn the_pause_doubles_up_to_five_seconds() {
    let of = |failures| pause(failures, 1.0).as_secs();
    assert_eq!((1..=6).map(of).collect::<Vec<_>>(), [1, 2, 4, 5, 5, 5]);
    assert_eq!(pause(1, 0.0), Duration::from_millis(500));
}

#[test]
fn a_success_starts_the_pauses_anew() {
    let mut pause = Pause { failures: 9 };
    pause.reset();
    assert!(pause.next() <= Some(Duration::from_secs(1)));
}
