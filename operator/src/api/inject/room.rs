//! The memory that reviews may take, all of them together.

use std::sync::Arc;

use axum::body::Body;
use hallpass_core::denial::Code;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::issue::refusal::Refusal;

/// Room for bodies. It is taken as their bytes arrive: who announces a large body and sends nothing keeps
/// nobody out.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// A body, and its room for as long.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ALL)))
    }

    /// Reads all of a body.
    ///
    /// # Errors
    /// [`Code::TooLarge`] above 8 MiB, [`Code::Unavailable`] where there is no room for it now,
    /// [`Code::MalformedRequest`] for one that breaks off.
    pub(super) async fn read(&self, mut body: Body) -> Result<Held, Refusal> {
        let (mut bytes, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = body.frame().await {
            // Its error says no more: the sender is gone.
            let frame = frame
                .ok()
                .ok_or_else(|| Refusal::new(Code::MalformedRequest, "the body broke off"))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if bytes.len() + data.len() > MOST {
                return Err(Refusal::new(Code::TooLarge, "a review has at most 8 MiB"));
            }
            let taken = self.take(data.len())?;
            match &mut room {
                Some(room) => room.merge(taken),
                None => room = Some(taken),
            }
            bytes.extend_from_slice(data);
        }
        Ok(Held { bytes, _room: room })
    }

    /// Without waiting: two that wait for each other's room would both have none.
    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let permits = u32::try_from(bytes).ok();
        let taken =
            permits.and_then(|bytes| Arc::clone(&self.0).try_acquire_many_owned(bytes).ok());
        taken.ok_or_else(|| {
            Refusal::new(
                Code::Unavailable,
                "too many reviews at once; the one who creates the pod should try again",
            )
        })
    }
}

impl std::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Of one body. The API server takes 3 MiB of a request, and a review holds an object as JSON.
const MOST: usize = 8 * 1024 * 1024;
/// Of all of them.
const ALL: usize = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn body(size: usize) -> Body {
        Body::from(vec![b'x'; size])
    }

    async fn refused(room: &Room, size: usize) -> Code {
        room.read(body(size)).await.map(drop).unwrap_err().code
    }

    #[tokio::test]
    async fn t31_all_bodies_together_have_a_bound_and_one_that_is_done_with_makes_room() {
        let room = Room::new();
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(room.read(body(MOST)).await.unwrap());
        }
        assert_eq!(refused(&room, 1).await, Code::Unavailable);
        held.pop();
        assert_eq!(refused(&room, MOST + 1).await, Code::TooLarge);
        let again = room.read(body(MOST)).await.unwrap();
        assert_eq!(again.len(), MOST);
        assert_eq!(refused(&room, 1).await, Code::Unavailable);
    }

    #[tokio::test]
    async fn a_body_arrives_whole() {
        let frames = ["a", "bc", ""].map(|part| Ok::<_, std::io::Error>(part.to_owned()));
        let body = Body::from_stream(futures::stream::iter(frames));
        let held = Room::new().read(body).await.unwrap();
        assert_eq!(&*held, b"abc");
    }
}
