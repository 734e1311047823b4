//! What this pod holds: the slots, the assignments they come from, and the files they are in.
//!
//! [`Hold`] is shared by all: `refresh` writes into it, `serve` reads from it. Its lock is held for a
//! few lines at a time, never across an await. Expiry is judged by whoever looks, at that moment.

pub(crate) mod cache;
mod clocks;
mod failure;
#[cfg(test)]
pub(crate) mod fixture;
mod outlast;
mod record;
pub(crate) mod refresh;
mod slot;
mod token;
mod view;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hallpass_core::{
    name::{ContainerName, TokenName},
    wire::Notice,
};
use http::HeaderValue;
use tokio::sync::{Notify, watch};

use crate::{
    assignment::is_seen_by,
    serve::files::Files,
    surroundings::{Boottime, Jitter, Moment},
    telemetry::Counters,
};

use self::{clocks::Clocks, slot::Slot};
pub(crate) use self::{
    failure::Failure,
    slot::Standing,
    token::{Asked, HeldToken},
    view::{Contact, Listed, Readiness, Reading},
};

/// The tokens of this pod.
#[derive(Debug)]
pub(crate) struct Hold {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    hurried: Notify,
    jitter: Jitter,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    slots: BTreeMap<TokenName, Slot>,
    places: Vec<Place>,
    poll: Poll,
    clocks: Clocks,
}

/// A container and the files that it sees.
#[derive(Debug)]
struct Place {
    container: ContainerName,
    files: Files,
}

/// How the assignments stand.
#[derive(Debug)]
struct Poll {
    due: Boottime,
    not_before: Boottime,
    failures: u32,
    /// When the operator last answered; [`None`] until it has done so once.
    answered: Option<Moment>,
    last: Option<Arc<Failure>>,
    notice: Option<Notice>,
    /// The version of the assignments.
    etag: Option<HeaderValue>,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask for the assignments.
    Poll,
    /// Ask for these tokens.
    Fetch(Vec<TokenName>),
    /// Nothing before that moment, unless somebody [hurries](Hold::hurried).
    Rest(Boottime),
}

impl Hold {
    pub(crate) fn new(
        places: impl IntoIterator<Item = (ContainerName, Files)>,
        now: Moment,
        jitter: Jitter,
        counters: Arc<Counters>,
    ) -> Self {
        let places = places.into_iter();
        let state = State {
            slots: BTreeMap::new(),
            places: places
                .map(|(container, files)| Place { container, files })
                .collect(),
            poll: Poll {
                due: now.boot,
                not_before: now.boot,
                failures: 0,
                answered: None,
                last: None,
                notice: None,
                etag: None,
            },
            clocks: Clocks::new(now),
        };
        Self {
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            hurried: Notify::new(),
            jitter,
            counters,
        }
    }

    /// Wakes whenever something has changed since the last look.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Resolves when somebody waits for what is not there.
    pub(crate) async fn hurried(&self) {
        self.hurried.notified().await;
    }

    /// For how long all of these tokens are still there: nothing where one is missing.
    pub(crate) fn left(&self, names: &[TokenName], now: Moment) -> Duration {
        let state = self.lock();
        let left = names.iter().map(|name| {
            let standing = state.slots.get(name).map(|slot| slot.at(now));
            let token = standing.as_ref().and_then(Standing::token);
            token.map(|token| token.remaining(now)).unwrap_or_default()
        });
        left.min().unwrap_or_default()
    }

    /// What is to be done at `now`.
    pub(crate) fn next(&self, now: Moment) -> Next {
        let mut state = self.lock();
        self.look(&mut state, now);
        self.wipe(&mut state, now);
        let due = |slot: &Slot| slot.due() <= now.boot;
        if state.slots.values().any(due) {
            let slots = state.slots.iter();
            let names = slots.filter(|(_, slot)| due(slot) || slot.joins(now));
            return Next::Fetch(names.map(|(name, _)| name.clone()).collect());
        }
        if state.poll.due <= now.boot {
            return Next::Poll;
        }
        let dues = state.slots.values().map(Slot::due);
        Next::Rest(dues.fold(state.poll.due, Ord::min))
    }

    /// Wipes what is past its time, from memory and files; tells when that is to be done again.
    pub(crate) fn expire(&self, now: Moment) -> Option<Boottime> {
        let mut state = self.lock();
        if self.wipe(&mut state, now) {
            self.hurried.notify_one();
        }
        let slots = state.slots.values();
        let left = slots.filter_map(|slot| Some(slot.at(now).token()?.remaining(now)));
        // A file that could not be removed is tried again with whatever comes next, not at once.
        let files = state.places.iter().flat_map(|place| place.files.left(now));
        let left = left.chain(files.filter(|left| !left.is_zero()));
        left.min().map(|left| now.boot + left)
    }

    /// Looks whether the wall clock has jumped. Where it went ahead, this machine may have been stopped
    /// without its knowing: the operator is asked at once.
    fn look(&self, state: &mut State, now: Moment) {
        let Some(jump) = state.clocks.look(now) else {
            return;
        };
        self.counters.clock_jumps.add();
        let seconds = jump.as_secs_f64();
        tracing::warn!(clock.jump_seconds = seconds, "the wall clock has jumped");
        if jump.is_positive() {
            let poll = &mut state.poll;
            poll.due = poll.due.min(now.boot.max(poll.not_before));
            self.hurried.notify_one();
        }
    }

    fn wipe(&self, state: &mut State, now: Moment) -> bool {
        let mut expired = false;
        for (name, slot) in &mut state.slots {
            if slot.expire(now) {
                expired = true;
                tracing::warn!(token.name = name.as_str(), "token expired");
            }
        }
        if expired {
            self.settle(state, now);
        } else {
            // Of one that was replaced, where the new one could not be written.
            let ended = |place: &Place| place.files.left(now).any(|left| left.is_zero());
            if state.places.iter().any(ended) {
                self.write(state, now);
            }
        }
        expired
    }

    /// Makes the files what the slots say, and tells whoever watches.
    fn settle(&self, state: &mut State, now: Moment) {
        self.write(state, now);
        self.changed.send_replace(());
    }

    fn write(&self, state: &mut State, now: Moment) {
        let State { slots, places, .. } = state;
        for Place { container, files } in places {
            let seen = slots.iter().filter_map(|(name, slot)| {
                let seen = is_seen_by(&slot.assignment, container);
                let token = seen.then(|| slot.at(now).token().cloned()).flatten()?;
                Some((name.clone(), token))
            });
            if let Err(error) = files.settle(&seen.collect(), now) {
                self.counters.file_errors.add();
                tracing::error!(
                    container = container.as_str(),
                    error = error.chain(),
                    "token files are not up to date"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves whole values behind: every step below takes effect by one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hallpass_core::wire::{Assignments, TokenEntry};

    use super::{
        fixture::{after, assignment, issued, polled, start, token_name},
        *,
    };

    fn hold(names: &[&str], now: Moment) -> Hold {
        let directory = tempfile::tempdir().unwrap();
        let app = ContainerName::parse("app").unwrap();
        let files = Files::open(directory.path()).unwrap();
        let hold = Hold::new([(app, files)], now, Jitter::new(|| 0.5), Arc::default());
        let tokens = names.iter().map(|name| assignment(name, 600)).collect();
        let answer = Assignments {
            tokens,
            notice: None,
        };
        hold.polled(polled(answer, 300), now);
        hold
    }

    fn issue(hold: &Hold, name: &str, seconds: i64, now: Moment) {
        let entry = TokenEntry::Issued(issued(name, "planted", seconds));
        hold.fetched(&[token_name(name)], vec![entry], Asked::at(now), now);
    }

    #[test]
    fn tokens_that_are_due_about_now_go_in_one_request() {
        let now = start();
        let hold = hold(&["bank", "mail", "vault"], now);
        let all = ["bank", "mail", "vault"].map(token_name);
        assert_eq!(hold.next(now), Next::Fetch(all.to_vec()));
        issue(&hold, "bank", 200, now);
        issue(&hold, "mail", 240, now);
        issue(&hold, "vault", 600, now);
        // Due at half of each life: 100, 120 and 300.
        let first = after(now, 100);
        assert_eq!(hold.next(after(now, 99)), Next::Rest(first.boot));
        assert_eq!(hold.next(first), Next::Fetch(all[..2].to_vec()));
    }

    #[test]
    fn f11_what_is_left_is_that_of_the_token_that_ends_first_and_nothing_without_one() {
        let now = start();
        let hold = hold(&["bank", "mail"], now);
        issue(&hold, "bank", 200, now);
        let all = ["bank", "mail"].map(token_name);
        assert_eq!(hold.left(&all, now), Duration::ZERO);
        issue(&hold, "mail", 600, now);
        let later = after(now, 50);
        let ends_first = hold.left(&all[..1], later);
        assert!(
            !ends_first.is_zero() && ends_first <= Duration::from_secs(150),
            "{ends_first:?}"
        );
        assert_eq!(hold.left(&all, later), ends_first);
        assert_eq!(hold.left(&all, after(now, 200)), Duration::ZERO);
    }

    #[test]
    fn a_token_for_another_audience_is_not_kept() {
        let now = start();
        let hold = hold(&["vault"], now);
        let mut other = issued("vault", "planted", 600);
        other.audience = hallpass_core::name::Audience::parse("https://other.example").unwrap();
        hold.fetched(
            &[token_name("vault")],
            vec![TokenEntry::Issued(other)],
            Asked::at(now),
            now,
        );
        let app = ContainerName::parse("app").unwrap();
        let listed = hold.list(&app, now);
        assert_eq!(listed[0].state, hallpass_core::wire::TokenState::Pending);
        assert_eq!(listed[0].last.as_ref().unwrap().code, "Internal");
    }

    #[test]
    fn the_whole_hold_prints_no_token() {
        let now = start();
        let hold = hold(&["vault"], now);
        issue(&hold, "vault", 600, now);
        let app = ContainerName::parse("app").unwrap();
        let reading = hold.read(&app, "vault", now);
        assert!(matches!(reading, Reading::Valid { .. }));
        let printed = format!("{hold:?} {reading:?}");
        assert!(
            printed.contains("[secret]") && !printed.contains("planted"),
            "{printed}"
        );
    }
}
