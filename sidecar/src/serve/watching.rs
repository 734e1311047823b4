//! `GET /v1/watch`: server-sent events, one for each change of a token's state, without tokens.
//!
//! Nothing is queued for a slow reader: an event is made from how things stand when the reader takes
//! it, so that it may miss a state in between but never the last one.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hallpass_core::{
    name::{ContainerName, TokenName},
    wire::{TokenEvent, TokenState},
};
use hyper::body::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::told;
use crate::{hold::Hold, surroundings::Clock};

/// What a watch looks at.
pub(crate) struct Watching {
    pub hold: Arc<Hold>,
    pub container: ContainerName,
    pub clock: Clock,
    pub stop: watch::Receiver<bool>,
}

/// The events of one watch, from how things stand now to the end of the program.
pub(crate) struct Events(Next);

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Watch)>> + Send>>;

struct Watch {
    on: Watching,
    _place: OwnedSemaphorePermit,
    changed: watch::Receiver<()>,
    sent: BTreeMap<TokenName, (TokenState, Option<Timestamp>)>,
}

impl Events {
    /// `place` is the watch's place among those of its socket, given back at the end.
    pub(crate) fn new(on: Watching, place: OwnedSemaphorePermit) -> Self {
        let mut changed = on.hold.subscribe();
        changed.mark_changed();
        let watch = Watch {
            on,
            _place: place,
            changed,
            sent: BTreeMap::new(),
        };
        Self(Box::pin(watch.next()))
    }

    /// The next events, as they go over the wire; [`None`] at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Poll::Ready(ready!(self.0.as_mut().poll(cx)).map(|(bytes, watch)| {
            self.0 = Box::pin(watch.next());
            bytes
        }))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

impl Watch {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                () = told(&mut self.on.stop) => return None,
            }
            let text = self.news();
            if !text.is_empty() {
                return Some((text.into(), self));
            }
        }
    }

    fn news(&mut self) -> String {
        let Watching {
            hold,
            container,
            clock,
            ..
        } = &self.on;
        let mut text = String::new();
        let mut now = BTreeMap::new();
        for token in hold.list(container, clock.now()) {
            let standing = (token.state, token.expires_at);
            if self.sent.get(&token.name) != Some(&standing) {
                let event = TokenEvent {
                    name: token.name.clone(),
                    state: token.state,
                    expires_at: token.expires_at,
                };
                // Names and times alone: there is nothing in it that could not be written.
                let event = serde_json::to_string(&event).unwrap_or_default();
                text.push_str("data: ");
                text.push_str(&event);
                text.push_str("\n\n");
            }
            now.insert(token.name, standing);
        }
        self.sent = now;
        text
    }
}
