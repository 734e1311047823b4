//! When a CA and a serving certificate are followed by the next ones. Pure: times in, one step out.
//!
//! At half of its life the CA gets a successor, which is published beside it and signs nothing yet. Who
//! has read the published bundle since then trusts both; that is what [`overlap`] waits for. Then the
//! successor signs, and the one before it stays trusted until it has ended. A step is stored in one
//! write, so that a leader that is killed leaves a state from which the next one goes on.

use std::{
    cmp::{max, min},
    time::Duration,
};

use jiff::Timestamp;

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Life {
    pub(super) fn is_over(self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// Whether less than half of it is left.
    pub(super) fn is_past_half(self, now: Timestamp) -> bool {
        self.until.duration_since(now).saturating_mul(2) < self.until.duration_since(self.from)
    }

    /// How long it is.
    pub(super) fn length(self) -> Duration {
        self.until.duration_since(self.from).unsigned_abs()
    }
}

/// How long what is made from now on lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lives {
    pub(super) authority: Duration,
    pub(super) serving: Duration,
}

/// All that a step depends on.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// The CA that signed the serving certificate.
    pub(super) current: Life,
    /// CAs that signed before it, and are still trusted.
    pub(super) former: Vec<Life>,
    /// The CA that follows.
    pub(super) next: Option<Upcoming>,
    /// The serving certificate.
    pub(super) serving: Life,
}

/// A CA that is to follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upcoming {
    pub(super) life: Life,
    /// Since when it has been seen to be published, without a break.
    pub(super) shown: Option<Timestamp>,
}

/// What the leader stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A new CA that signs at once, since no valid one is left.
    Replace,
    /// The CA that follows, with its key.
    Prepare,
    /// That the next CA has been published since now.
    Show,
    /// That it is not published any more.
    Hide,
    /// The next CA signs.
    Activate,
    /// Another serving certificate under the same CA.
    Renew,
    /// CAs that have ended are trusted no more.
    Forget,
}

/// What is to be done first at `now`, if anything. `published`: whether exactly the CAs of the scene are
/// published, as far as that is known.
pub(super) fn step(
    scene: &Scene,
    published: Option<bool>,
    lives: Lives,
    now: Timestamp,
) -> Option<Step> {
    let next = scene.next.filter(|next| !next.life.is_over(now));
    if scene.current.is_over(now) {
        return Some(next.map_or(Step::Replace, |_| Step::Activate));
    }
    // Before all that is for later: what is refused again and again must not keep it from being renewed.
    if is_due(scene, lives, now) {
        return Some(Step::Renew);
    }
    let forget = || {
        let ended = scene.former.iter().any(|life| life.is_over(now));
        ended.then_some(Step::Forget)
    };
    let Some(next) = next else {
        let prepare = scene.current.is_past_half(now).then_some(Step::Prepare);
        return prepare.or_else(forget);
    };
    match (next.shown, published) {
        // A time that is still to come says nothing.
        (None, Some(true)) => Some(Step::Show),
        (Some(since), Some(true)) if since > now => Some(Step::Show),
        (Some(_), Some(false)) => Some(Step::Hide),
        (Some(since), Some(true)) if since + overlap(scene.current) <= now => Some(Step::Activate),
        _ => forget(),
    }
}

/// Whether another serving certificate is due, and would last longer.
fn is_due(scene: &Scene, lives: Lives, now: Timestamp) -> bool {
    let Scene {
        current, serving, ..
    } = scene;
    // Under a CA that ends soon another one would end with it, just as this one does.
    let gains = min(now + lives.serving, current.until) > serving.until;
    serving.is_past_half(now) && gains
}

/// For how long a CA is published before it signs: until every pod has read it. The kubelet refreshes a
/// projected bundle within two minutes, a sidecar asks every 30 s, a replica looks every minute; the rest
/// is for nodes that are away. Of a CA that lives for less than 40 minutes a quarter of its life.
pub(super) fn overlap(current: Life) -> Duration {
    let life = current.length();
    min(max(min(life / 8, LONGEST), SHORTEST), life / 4)
}

/// How long the leader may wait between two looks, where that is less than usual.
pub(super) fn pace(current: Life) -> Duration {
    max(current.length() / 16, Duration::from_secs(1))
}

const LONGEST: Duration = Duration::from_secs(24 * 3600);
const SHORTEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: i64 = 365 * 86_400;
    const LIVES: Lives = Lives {
        authority: Duration::from_secs(10 * YEAR as u64),
        serving: Duration::from_secs(90 * 86_400),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn life(from: i64, until: i64) -> Life {
        Life {
            from: at(from),
            until: at(until),
        }
    }

    /// At its half, with a serving certificate that lasts.
    fn scene() -> Scene {
        Scene {
            current: life(0, 10 * YEAR),
            former: Vec::new(),
            next: None,
            serving: life(5 * YEAR - 3600, 5 * YEAR + 90 * 86_400),
        }
    }

    fn with_next(shown: Option<i64>) -> Scene {
        let life = life(5 * YEAR, 15 * YEAR);
        let shown = shown.map(at);
        Scene {
            next: Some(Upcoming { life, shown }),
            ..scene()
        }
    }

    fn step_at(scene: &Scene, published: Option<bool>, now: i64) -> Option<Step> {
        step(scene, published, LIVES, at(now))
    }

    #[test]
    fn f12_a_ca_gets_its_successor_at_half_of_its_life() {
        assert_eq!(step_at(&scene(), Some(true), 5 * YEAR), None);
        let after = step_at(&scene(), Some(true), 5 * YEAR + 1);
        assert_eq!(after, Some(Step::Prepare));
    }

    #[test]
    fn f12_a_successor_signs_when_it_has_been_published_for_a_day_without_a_break() {
        let (half, day) = (5 * YEAR, 86_400);
        for (shown, published, now, expected) in [
            (None, Some(false), half + 9 * day, None),
            (None, None, half + 9 * day, None),
            (None, Some(true), half + 9 * day, Some(Step::Show)),
            (Some(half), Some(true), half + day - 1, None),
            (Some(half), Some(true), half + day, Some(Step::Activate)),
            (Some(half), None, half + day, None),
            (Some(half), Some(false), half + day, Some(Step::Hide)),
            // Noted by a clock that was ahead.
            (Some(half + 2), Some(true), half + 1, Some(Step::Show)),
        ] {
            let step = step_at(&with_next(shown), published, now);
            assert_eq!(step, expected, "{shown:?} {published:?} {now}");
        }
    }

    #[test]
    fn f12_when_the_ca_has_ended_whatever_is_valid_signs_at_once() {
        let end = 10 * YEAR;
        assert_eq!(step_at(&scene(), None, end), Some(Step::Replace));
        let next = with_next(None);
        assert_eq!(step_at(&next, None, end), Some(Step::Activate));
        assert_eq!(step_at(&next, None, 15 * YEAR), Some(Step::Replace));
    }

    #[test]
    fn a_serving_certificate_is_renewed_at_half_of_its_life_whatever_else_is_to_be_done() {
        let due = 5 * YEAR + 46 * 86_400;
        assert_eq!(step_at(&scene(), None, due), Some(Step::Renew));
        for published in [None, Some(false), Some(true)] {
            let step = step_at(&with_next(None), published, due);
            assert_eq!(step, Some(Step::Renew));
        }
    }

    #[test]
    fn nothing_is_renewed_that_would_end_no_later() {
        let end = 10 * YEAR;
        let scene = Scene {
            serving: life(end - 86_400, end),
            ..with_next(None)
        };
        assert_eq!(step_at(&scene, None, end - 60), None);
    }

    #[test]
    fn a_former_ca_is_trusted_until_it_has_ended() {
        let scene = Scene {
            current: life(4 * YEAR, 14 * YEAR),
            former: vec![life(0, 5 * YEAR)],
            ..scene()
        };
        assert_eq!(step_at(&scene, Some(true), 5 * YEAR - 1), None);
        let ended = step_at(&scene, Some(true), 5 * YEAR);
        assert_eq!(ended, Some(Step::Forget));
    }

    #[test]
    fn the_overlap_fits_into_the_second_half_of_any_life() {
        for (length, expected) in [
            (60, 15),
            (2400, 600),
            (3600, 600),
            (28_800, 3600),
            (10 * YEAR, 86_400),
        ] {
            let overlap = overlap(life(0, length));
            assert_eq!(overlap, Duration::from_secs(expected), "{length}");
        }
    }
}
