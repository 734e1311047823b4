//! A client that notices when nobody answers any more.

use std::time::Duration;

use axum::body::Bytes;
use futures::{Stream, stream};
use http::Request;
use http_body_util::{BodyExt, Either, StreamBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use tokio::time::{Instant, timeout, timeout_at};
use tower::BoxError;

use super::{
    freshness::Stamp,
    page::{self, Pages, Turn},
};

/// How long the API server may say nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence(pub(super) Duration);

/// The API server went silent in the middle of something.
#[derive(Debug, thiserror::Error)]
#[error("the API server was silent for {0:?}")]
struct Silent(Duration);

/// The same client, but a request fails when no answer begins, or an answer does not go on, within
/// `silence`. Without that a list whose packets are dropped would be waited for until the kernel gives
/// up, a quarter of an hour later. A watch fails as well when it has not ended within `silence` of its
/// beginning, whatever it said meanwhile. Every watch that the API server grants is put down in `stamp`. Lists
/// are read in `turn`, a page at a time and each [bounded](Pages::list).
pub(super) fn limited(client: Client, silence: Duration, stamp: Stamp, turn: Turn) -> Client {
    let namespace = client.default_namespace().to_owned();
    let (silence, pages) = (Silence(silence), Pages::new(turn));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, stamp, pages) = (client.clone(), stamp.clone(), pages.clone());
        async move {
            if let Some(most) = page::wanted(&request) {
                let page = pages.list(&client, request, most, silence).await?;
                return Ok(page.map(Either::Left));
            }
            let (watches, sent) = (is_watch(&request), Instant::now());
            let answer = silence.begun(client.send(request)).await?;
            if watches && answer.status().is_success() {
                stamp.proven(sent);
            }
            // Its time begins when the API server does: one that is busy begins late.
            let end = watches.then(|| Instant::now() + silence.0);
            Ok::<_, BoxError>(answer.map(|body| Either::Right(silence.until(end, body))))
        }
    });
    Client::new(service, namespace)
}

pub(super) fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair == "watch=true")
}

impl Silence {
    /// What is answered, if that begins in time.
    pub(super) async fn begun<T, E: Into<BoxError>>(
        self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BoxError> {
        let answer = timeout(self.0, answer).await;
        answer
            .map_err(|_elapsed| Silent(self.0))?
            .map_err(Into::into)
    }

    /// The same body, as long as it goes on.
    pub(super) fn body(
        self,
        body: Body,
    ) -> StreamBody<impl Stream<Item = Result<Frame<Bytes>, BoxError>>> {
        self.until(None, body)
    }

    /// The same body, as long as it goes on and no longer than until `end`, if it has one.
    fn until(
        self,
        end: Option<Instant>,
        body: Body,
    ) -> StreamBody<impl Stream<Item = Result<Frame<Bytes>, BoxError>>> {
        StreamBody::new(stream::unfold(Some(body), move |body| async move {
            let mut body = body?;
            let end = end.unwrap_or_else(|| Instant::now() + self.0);
            match timeout_at(end, body.frame()).await {
                Ok(Some(Ok(frame))) => Some((Ok(frame), Some(body))),
                Ok(Some(Err(error))) => Some((Err(BoxError::from(error)), None)),
                Ok(None) => None,
                Err(_elapsed) => Some((Err(Silent(self.0).into()), None)),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::{super::freshness::Freshness, *};
    use crate::telemetry::label::Kind;

    /// What an API server answers that begins with these chunks and then goes silent.
    fn silent_after(chunks: &'static [&'static str]) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            if chunks.is_empty() {
                std::future::pending::<()>().await;
            }
            let chunks = chunks
                .iter()
                .map(|c| Ok::<_, BoxError>(Frame::data(Bytes::from(*c))));
            let frames = futures::StreamExt::chain(stream::iter(chunks), stream::pending());
            Ok::<_, BoxError>(Response::new(StreamBody::new(frames)))
        });
        Client::new(service, "default")
    }

    async fn read(chunks: &'static [&'static str]) -> String {
        let stamp = Freshness::default().stamp(Kind::Pod);
        let silence = Duration::from_secs(20);
        let client = limited(silent_after(chunks), silence, stamp, Turn::default());
        let request = Request::get("/version").body(Vec::new()).unwrap();
        let error = client.request_text(request).await.unwrap_err();
        crate::telemetry::log::Chain(&error).to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_begins_is_an_error() {
        let error = read(&[]).await;
        assert!(error.contains("silent for 20s"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stops_halfway_is_an_error() {
        let error = read(&["{\"kind\":"]).await;
        assert!(error.contains("silent for 20s"), "{error}");
    }

    /// How long that is read of an answer that says something for a minute, every second.
    async fn chatty(path: &str) -> Duration {
        let service = tower::service_fn(|_: Request<Body>| async move {
            let chunks = stream::unfold(0, |said| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let frame = Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"\n")));
                (said < 60).then_some((frame, said + 1))
            });
            Ok::<_, BoxError>(Response::new(StreamBody::new(Box::pin(chunks))))
        });
        let client = limited(
            Client::new(service, "default"),
            Duration::from_secs(8),
            Freshness::default().stamp(Kind::Pod),
            Turn::default(),
        );
        let (request, start) = (
            Request::get(path).body(Body::empty()).unwrap(),
            Instant::now(),
        );
        let answer = client.send(request).await.unwrap();
        drop(answer.into_body().collect().await);
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn f10_a_watch_has_a_time_to_end_in_whatever_it_said_meanwhile() {
        let watch = chatty("/api/v1/pods?watch=true").await;
        assert_eq!(watch, Duration::from_secs(8));
        let other = chatty("/api/v1/pods/x/log").await;
        assert_eq!(other, Duration::from_secs(61));
    }

    /// When the watch was last proven alive, after an API server gave that answer a second later.
    async fn proven(path: &str, status: u16) -> Option<Instant> {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let answer = Response::builder().status(status);
            answer.body(Body::empty())
        });
        let freshness = Freshness::default();
        let client = limited(
            Client::new(service, "default"),
            Duration::from_secs(20),
            freshness.stamp(Kind::Pod),
            Turn::default(),
        );
        let request = Request::get(path).body(Body::empty()).unwrap();
        client.send(request).await.unwrap();
        freshness.proven()
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_granted_is_alive_as_of_when_it_was_asked_for() {
        let start = Instant::now();
        let watch = "/api/v1/pods?allowWatchBookmarks=true&watch=true";
        assert_eq!(proven(watch, 200).await, Some(start));
        assert_eq!(proven(watch, 410).await, None);
        assert_eq!(proven("/api/v1/pods?limit=50", 200).await, None);
        assert_eq!(
            proven("/api/v1/pods?fieldSelector=watch%3Dtrue", 200).await,
            None
        );
    }
}
