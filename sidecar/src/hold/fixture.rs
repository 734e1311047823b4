//! Tokens for tests.

use std::{sync::Arc, time::Duration};

use hallpass_core::{
    name::{Audience, TokenName},
    secret::Secret,
    wire::{Assignment, Assignments, IssuedToken},
};
use jiff::{SignedDuration, Timestamp};

use super::{Asked, HeldToken};
use crate::{
    surroundings::{Boottime, Moment},
    upstream::Polled,
};

pub(crate) fn token_name(name: &str) -> TokenName {
    TokenName::parse(name).unwrap()
}

pub(crate) fn assignment(name: &str, lifetime_seconds: u32) -> Assignment {
    Assignment {
        name: token_name(name),
        audience: Some(Audience::parse("https://api.example").unwrap()),
        lifetime_seconds: Some(lifetime_seconds),
        scope: None,
        required: true,
        containers: None,
    }
}

/// A token of the audience in [`assignment`], made at second zero.
pub(crate) fn issued(name: &str, token: &str, seconds: i64) -> IssuedToken {
    IssuedToken {
        name: token_name(name),
        token: Secret::new(token.to_owned()),
        audience: Audience::parse("https://api.example").unwrap(),
        scope: None,
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds),
    }
}

/// An answer that is to be asked for again after so many seconds.
pub(crate) const fn polled(assignments: Assignments, max_age: u64) -> Polled {
    Polled {
        assignments: Some(assignments),
        etag: None,
        max_age: Duration::from_secs(max_age),
        renewed: false,
    }
}

pub(crate) fn held(name: &str, token: &str, seconds: i64) -> Arc<HeldToken> {
    let asked = Asked::at(start());
    Arc::new(HeldToken::new(issued(name, token, seconds), asked).unwrap())
}

impl Asked {
    /// Asked of an operator whose answer has no date.
    pub(crate) const fn at(at: Moment) -> Self {
        Self { at, latest: None }
    }
}

/// A moment to begin with.
pub(crate) fn start() -> Moment {
    Moment {
        wall: Timestamp::UNIX_EPOCH,
        boot: Boottime::new(Duration::from_secs(1_000)),
    }
}

/// The moment that is `seconds` after `moment` on both clocks.
pub(crate) fn after(moment: Moment, seconds: u64) -> Moment {
    let passed = Duration::from_secs(seconds);
    Moment {
        wall: moment.wall + passed,
        boot: moment.boot + passed,
    }
}
