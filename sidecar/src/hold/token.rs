//! A token in hand: what is served of it, and for how long. Pure.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use hallpass_core::{
    name::{Audience, TokenName},
    scope::ScopeSet,
    secret::Secret,
    wire::{IssuedToken, ServedToken, TokenState},
};
use jiff::Timestamp;

use crate::surroundings::{Boottime, Moment};

/// When a token was asked for, here and there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The moment here.
    pub at: Moment,
    /// The latest that the operator's clock can have shown then, where its answer tells.
    pub latest: Option<Timestamp>,
}

/// A token and what is served of it.
#[derive(Debug)]
pub(crate) struct HeldToken {
    pub audience: Audience,
    pub expires_at: Timestamp,
    token: Secret<String>,
    /// The JSON answer up to the members that change with every second.
    json: Secret<String>,
    scope: Option<ScopeSet>,
    issued_at: Timestamp,
    life: Duration,
    /// The moment that its life is counted from.
    received: Boottime,
}

impl HeldToken {
    /// Keeps a token that was asked for at `asked`; [`None`] where it has no life at all.
    ///
    /// # Guarantees
    /// Its life is counted by this machine's boot time from the moment it was asked for, and is no longer
    /// than what the operator's clock leaves of it: it ends here no later than where it was made,
    /// whatever this machine's wall clock says. Where that clock and the token agree that it was made when it
    /// was asked for, a date that says otherwise is a wrong one, and takes [`AGREED`] of its life at most.
    pub(crate) fn new(issued: IssuedToken, asked: Asked) -> Option<Self> {
        let made = issued.issued_at;
        let mut from = asked.latest.unwrap_or(made).max(made);
        if asked.at.wall.duration_since(made).unsigned_abs() <= AGREED {
            from = from.min(made.saturating_add(AGREED).unwrap_or(from));
        }
        let life = Duration::try_from(issued.expires_at.duration_since(from)).ok();
        let life = life.filter(|life| !life.is_zero())?;
        Self::kept(issued, life, asked.at.boot)
    }

    /// A token whose life is counted from `received`, which may be in the time of a predecessor.
    pub(crate) fn kept(issued: IssuedToken, life: Duration, received: Boottime) -> Option<Self> {
        Some(Self {
            json: opening(&issued)?,
            audience: issued.audience,
            expires_at: issued.expires_at,
            token: issued.token,
            scope: issued.scope,
            issued_at: issued.issued_at,
            life,
            received,
        })
    }

    /// The token as it was issued.
    pub(crate) fn issued(&self, name: TokenName) -> IssuedToken {
        IssuedToken {
            name,
            token: self.token.clone(),
            audience: self.audience.clone(),
            scope: self.scope.clone(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        }
    }

    /// How much of its life is over.
    pub(crate) const fn age(&self, now: Moment) -> Duration {
        self.received.until(now.boot)
    }

    /// How long it is valid in all.
    pub(crate) const fn life(&self) -> Duration {
        self.life
    }

    /// How long it is still valid.
    pub(crate) fn remaining(&self, now: Moment) -> Duration {
        self.life.saturating_sub(self.age(now))
    }

    /// The token itself.
    pub(crate) const fn secret(&self) -> &Secret<String> {
        &self.token
    }

    /// The answer to `GET /v1/tokens/{name}`.
    pub(crate) fn json(&self, state: TokenState, now: Moment) -> Secret<String> {
        let opening = self.json.expose();
        let mut text = String::with_capacity(opening.len() + ROOM);
        text.push_str(opening);
        let word = match state {
            TokenState::Stale => "stale",
            TokenState::Fresh | TokenState::Pending | TokenState::Expired => "fresh",
        };
        let seconds = self.remaining(now).as_secs();
        // Writing to a String cannot fail.
        write!(text, "{seconds},\"state\":\"{word}\"}}").unwrap_or_default();
        Secret::new(text)
    }
}

/// A [`ServedToken`] in JSON, up to the value of `expires_in`.
fn opening(issued: &IssuedToken) -> Option<Secret<String>> {
    let served = ServedToken {
        name: issued.name.clone(),
        access_token: issued.token.clone(),
        token_type: Cow::Borrowed("Bearer"),
        audience: issued.audience.clone(),
        scope: issued.scope.clone(),
        issued_at: issued.issued_at,
        expires_at: issued.expires_at,
        expires_in: 0,
        state: TokenState::Fresh,
    };
    let whole = serde_json::to_string(&served).map(Secret::new).ok()?;
    let opening = whole.expose().strip_suffix(r#"0,"state":"fresh"}"#)?;
    Some(Secret::new(opening.to_owned()))
}

/// As far apart are clocks that agree.
const AGREED: Duration = Duration::from_secs(5);
/// Room for the members that [`HeldToken::json`] adds.
const ROOM: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::fixture::{after, issued, start};

    #[test]
    fn a_life_is_counted_here_and_the_clock_of_the_operator_does_not_matter() {
        let now = start();
        let mut early = issued("vault", "planted", 600);
        early.issued_at += Duration::from_secs(86_400);
        early.expires_at += Duration::from_secs(86_400);
        let token = HeldToken::new(early, Asked::at(now)).unwrap();
        assert_eq!(token.remaining(after(now, 100)), Duration::from_secs(500));
        assert!(HeldToken::new(issued("vault", "planted", 0), Asked::at(now)).is_none());
    }

    #[test]
    fn f06_what_the_operators_clock_leaves_of_a_life_is_all_that_is_left() {
        let now = start();
        let held = |latest| {
            let wall = Timestamp::UNIX_EPOCH + Duration::from_secs(latest);
            let (at, latest) = (Moment { wall, ..now }, Some(wall));
            HeldToken::new(issued("vault", "planted", 600), Asked { at, latest })
        };
        for (latest, left) in [(0, 600), (1, 599), (590, 10)] {
            let token = held(latest).unwrap();
            assert_eq!(token.remaining(now), Duration::from_secs(left), "{latest}");
        }
        assert!(held(600).is_none());
    }

    #[test]
    fn f06_a_date_that_the_token_and_the_clock_here_speak_against_takes_no_life() {
        let left = |wall: i64, latest: i64| {
            let at = Moment {
                wall: Timestamp::from_second(wall).unwrap(),
                ..start()
            };
            let latest = Timestamp::from_second(latest).ok();
            let token = HeldToken::new(issued("vault", "planted", 600), Asked { at, latest });
            token.map(|token| token.remaining(at).as_secs())
        };
        for wall in [-5, 0, 5] {
            assert_eq!(left(wall, 600), Some(595), "ten minutes ahead, {wall}");
            assert_eq!(left(wall, 3), Some(597), "what was on the way, {wall}");
            assert_eq!(left(wall, -600), Some(600), "behind, {wall}");
        }
        for wall in [-6, 6, 600] {
            assert_eq!(left(wall, 600), None, "who is right is not known, {wall}");
        }
    }

    #[test]
    fn the_document_reads_as_what_was_issued() {
        let now = start();
        let token = HeldToken::new(issued("vault", "planted", 600), Asked::at(now)).unwrap();
        let text = token.json(TokenState::Stale, after(now, 10));
        let served: ServedToken = serde_json::from_str(text.expose()).unwrap();
        assert_eq!(served.access_token.expose(), "planted");
        assert_eq!((served.expires_in, served.state), (590, TokenState::Stale));
        assert_eq!(served.expires_at, token.expires_at);
    }
}
