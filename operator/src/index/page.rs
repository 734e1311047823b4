//! The answers to lists, of which only so many bytes are held at a time.
//!
//! Kubernetes bounds neither the labels of an object nor what it keeps of them for itself, so that each of
//! the objects of a page may have more than a megabyte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use http::{Method, Request, Response, Uri, request::Parts, response, uri::PathAndQuery};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use kube::{Client, client::Body};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tower::BoxError;

use super::limit::Silence;

/// Whose turn it is to list. Cheap to clone.
///
/// # Guarantees
/// Of all clients that share one, only one has an answer to a list in hand, from before it asks until the
/// answer was read.
#[derive(Debug, Clone)]
pub(crate) struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The pages of the lists of one client. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    turn: Turn,
    /// Of how many objects the next one may be.
    size: Arc<AtomicU32>,
}

/// One object alone is larger than any that can be stored.
#[derive(Debug, thiserror::Error)]
#[error("a list of one object has more than {MOST_OF_ONE} bytes")]
struct TooLarge;

/// What keeps the others waiting longer than that, a little at a time.
#[derive(Debug, thiserror::Error)]
#[error("the API server took longer than {LONGEST:?} for a page")]
struct Slow;

impl Pages {
    pub(super) fn new(turn: Turn) -> Self {
        Self {
            turn,
            size: Arc::new(AtomicU32::new(FIRST)),
        }
    }

    /// Asks for a page of that list, of no more than `most` objects.
    ///
    /// # Guarantees
    /// What is too large is let go of and asked for again, half of it, down to a single object; the token
    /// to go on with fits any size. The next page is of as many objects, and of more where they are small.
    /// The others have their turn again after [`LONGEST`], however slowly the answer comes, and then the
    /// next page is of half as many too.
    pub(super) async fn list(
        &self,
        client: &Client,
        request: Request<Body>,
        most: u32,
        silence: Silence,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let turn = Arc::clone(&self.turn.0).acquire_owned().await?;
        let (list, _) = request.into_parts();
        let page = timeout(LONGEST, self.page(client, &list, most, silence));
        let page = page.await.map_err(|_elapsed| {
            let size = self.size.load(Ordering::Relaxed).min(most);
            self.size.store((size / 2).max(1), Ordering::Relaxed);
            Slow
        });
        let (head, bytes) = page??;
        let held = Bytes::from_owner(Held { bytes, _turn: turn });
        Ok(Response::from_parts(head, Full::new(held)))
    }

    async fn page(
        &self,
        client: &Client,
        list: &Parts,
        most: u32,
        silence: Silence,
    ) -> Result<(response::Parts, Bytes), BoxError> {
        loop {
            let size = self.size.load(Ordering::Relaxed).min(most);
            let request = Request::from_parts(of_size(list.clone(), size)?, Body::empty());
            let answer = silence.begun(client.send(request)).await?;
            let bound = if size > 1 { MOST } else { MOST_OF_ONE };
            let (head, body) = answer.into_parts();
            match Limited::new(silence.body(body), bound).collect().await {
                Ok(read) => {
                    let bytes = read.to_bytes();
                    if head.status.is_success() && bytes.len() <= SMALL {
                        self.size.store(size.saturating_mul(2), Ordering::Relaxed);
                    }
                    return Ok((head, bytes));
                }
                Err(error) if !error.is::<LengthLimitError>() => return Err(error),
                Err(_) if size > 1 => self.size.store(size / 2, Ordering::Relaxed),
                Err(_) => return Err(TooLarge.into()),
            }
        }
    }
}

/// An answer, whose turn ends with it.
struct Held {
    bytes: Bytes,
    _turn: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Of how many objects a request wants a page; [`None`] where it asks for no list.
pub(super) fn wanted(request: &Request<Body>) -> Option<u32> {
    let query = request.uri().query().unwrap_or_default();
    let mut limits = query.split('&').filter_map(|pair| pair.strip_prefix(LIMIT));
    let lists = request.method() == Method::GET && !super::limit::is_watch(request);
    limits.next()?.parse().ok().filter(|_| lists)
}

/// The same request for a page of that size.
fn of_size(mut list: Parts, size: u32) -> http::Result<Parts> {
    let query = list.uri.query().unwrap_or_default().split('&');
    let query: Vec<String> = query
        .map(|pair| match pair.strip_prefix(LIMIT) {
            Some(_) => format!("{LIMIT}{size}"),
            None => pair.to_owned(),
        })
        .collect();
    let target = format!("{}?{}", list.uri.path(), query.join("&"));
    let mut uri = list.uri.into_parts();
    uri.path_and_query = Some(PathAndQuery::try_from(target)?);
    list.uri = Uri::from_parts(uri)?;
    Ok(list)
}

/// How long one page may take, with all that are asked for again.
const LONGEST: Duration = Duration::from_secs(30);

const LIMIT: &str = "limit=";

/// Objects of the first page, while it is not known how large they are.
const FIRST: u32 = 50;

/// Bytes of a page. It is held three times while it is read.
const MOST: usize = 2 << 20;

/// Bytes of a page of one object: etcd takes one of 1.5 MiB.
const MOST_OF_ONE: usize = 16 << 20;

/// Bytes of a page after which the next one is twice as long.
const SMALL: usize = 256 << 10;

#[cfg(test)]
mod tests;
