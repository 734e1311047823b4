//! The memory that reviews may take, all of them together.

use std::{net::IpAddr, sync::Arc};

use axum::body::Body;
use hallpass_core::denial::Code;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    issue::refusal::Refusal,
    share::{Share, Shares},
};

/// Room for bodies. It is taken as their bytes arrive: who announces a large body and sends nothing keeps
/// nobody out.
///
/// # Guarantees
/// The first 16 KiB of a body always have room: who fills all of it, by sending slowly, keeps out no review of
/// an ordinary pod. Nor does one address take all of it.
#[derive(Debug)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    shares: Shares,
}

/// A body, and its room for as long.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    _taken: Option<Taken>,
}

/// What of the room a body has.
#[derive(Debug)]
struct Taken {
    of_all: OwnedSemaphorePermit,
    of_address: Share,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(ALL)),
            shares: Shares::new(OF_ADDRESS),
        }
    }

    /// Reads all of a body that comes from that address.
    ///
    /// # Errors
    /// [`Code::TooLarge`] above 8 MiB, [`Code::Unavailable`] where there is no room for it now,
    /// [`Code::MalformedRequest`] for one that breaks off.
    pub(super) async fn read(&self, from: IpAddr, mut body: Body) -> Result<Held, Refusal> {
        let (mut bytes, mut taken) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            // Its error says no more: the sender is gone.
            let frame = frame
                .ok()
                .ok_or_else(|| Refusal::new(Code::MalformedRequest, "the body broke off"))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let size = bytes.len() + data.len();
            if size > MOST {
                return Err(Refusal::new(Code::TooLarge, "a review has at most 8 MiB"));
            }
            let beyond = size.saturating_sub(FREE).min(data.len());
            if beyond > 0 && !self.take(&mut taken, from, beyond) {
                return Err(Refusal::new(
                    Code::Unavailable,
                    "too many reviews at once; the one who creates the pod should try again",
                ));
            }
            if bytes.capacity() == 0 {
                // To grow by doubling could take twice as much of what nobody counts.
                bytes.reserve_exact(FREE);
            }
            bytes.extend_from_slice(data);
        }
        Ok(Held {
            bytes,
            _taken: taken,
        })
    }

    /// So much more for a body, if there is as much. It does not wait: two that wait for each other's room
    /// would both have none.
    fn take(&self, taken: &mut Option<Taken>, from: IpAddr, bytes: usize) -> bool {
        let permits = u32::try_from(bytes).ok();
        let more =
            permits.and_then(|bytes| Arc::clone(&self.all).try_acquire_many_owned(bytes).ok());
        let Some(more) = more else {
            return false;
        };
        if let Some(taken) = taken {
            taken.of_all.merge(more);
            return taken.of_address.grow(bytes);
        }
        let share = self.shares.take(from, bytes);
        *taken = share.map(|of_address| Taken {
            of_all: more,
            of_address,
        });
        taken.is_some()
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
/// Of all of them, beyond what each has anyway.
const ALL: usize = 32 * 1024 * 1024;
/// Of that, for those from one address: one of the largest.
const OF_ADDRESS: usize = MOST;
/// What each has anyway: more than most pods take, and with all connections that a listener has 64 MiB.
const FREE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn body(size: usize) -> Body {
        Body::from(vec![b'x'; size])
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    async fn refused(room: &Room, from: u8, size: usize) -> Code {
        let read = room.read(address(from), body(size)).await;
        read.map(drop).unwrap_err().code
    }

    /// Bodies that take all the room, from an address each.
    async fn full(room: &Room) -> Vec<Held> {
        let mut held = Vec::new();
        for from in 0..4 {
            held.push(room.read(address(from), body(MOST)).await.unwrap());
        }
        let rest = room.read(address(4), body(5 * FREE)).await;
        held.push(rest.unwrap());
        held
    }

    #[tokio::test]
    async fn t31_all_bodies_together_have_a_bound_and_one_that_is_done_with_makes_room() {
        let room = Room::new();
        let mut held = full(&room).await;
        assert_eq!(refused(&room, 9, FREE + 1).await, Code::Unavailable);
        drop(held.remove(0));
        assert_eq!(refused(&room, 9, MOST + 1).await, Code::TooLarge);
        let again = room.read(address(9), body(MOST)).await.unwrap();
        assert_eq!(again.len(), MOST);
        assert_eq!(refused(&room, 8, FREE + 1).await, Code::Unavailable);
    }

    #[tokio::test]
    async fn t31_an_ordinary_body_has_room_where_others_hold_all_of_it() {
        let room = Room::new();
        let held = full(&room).await;
        for from in [0, 9] {
            for _ in 0..100 {
                let read = room.read(address(from), body(FREE)).await.unwrap();
                assert_eq!(read.len(), FREE);
            }
        }
        drop(held);
    }

    #[tokio::test]
    async fn t31_one_address_does_not_take_all_the_room() {
        let room = Room::new();
        let half = || body(MOST / 2 + FREE);
        let first = room.read(address(1), half()).await.unwrap();
        let second = room.read(address(1), half()).await.unwrap();
        assert_eq!(refused(&room, 1, FREE + 1).await, Code::Unavailable);
        let other = room.read(address(2), body(MOST)).await.unwrap();
        drop(first);
        let again = room.read(address(1), half()).await.unwrap();
        assert_eq!(refused(&room, 1, FREE + 1).await, Code::Unavailable);
        drop((second, other, again));
        assert_eq!(room.all.available_permits(), ALL);
    }

    #[tokio::test]
    async fn what_a_refused_body_has_taken_is_given_back() {
        let room = Room::new();
        let parts = vec![vec![b'x'; MOST / 2]; 3];
        let parts = futures::stream::iter(parts.into_iter().map(Ok::<_, std::io::Error>));
        let read = room.read(address(1), Body::from_stream(parts)).await;
        assert_eq!(read.map(drop).unwrap_err().code, Code::TooLarge);
        assert_eq!(room.all.available_permits(), ALL);
        let whole = room.read(address(1), body(MOST)).await.unwrap();
        assert_eq!(whole.len(), MOST);
    }

    #[tokio::test]
    async fn a_body_arrives_whole() {
        let frames = ["a", "bc", ""].map(|part| Ok::<_, std::io::Error>(part.to_owned()));
        let body = Body::from_stream(futures::stream::iter(frames));
        let held = Room::new().read(address(1), body).await.unwrap();
        assert_eq!(&*held, b"abc");
    }
}
