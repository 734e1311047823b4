//! The document in the cache, and what of it is valid now. Pure.

use std::{borrow::Cow, sync::Arc, time::Duration};

use hallpass_core::{
    name::{TokenName, Uid},
    secret::Secret,
    wire::{Assignment, IssuedToken, Notice},
};
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    hold::{HeldToken, Hold},
    surroundings::{Boottime, Clock, Moment},
    upstream::Skew,
};

/// Everything that is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    version: u32,
    /// The pod whose tokens these are.
    pod: Uid,
    /// The boot of the machine that the boot times are of.
    boot: Option<Cow<'static, str>>,
    written: Written,
    /// How far the wall clock was ahead of the operator's; absent where that was not known.
    #[serde(default)]
    skew: Option<SkewMillis>,
    answered: Timestamp,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    notice: Option<Notice>,
    assignments: Vec<Assignment>,
    tokens: Vec<Token>,
    /// The renewed trust bundle; absent where there is none.
    #[serde(default)]
    pub trust: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    boot_millis: u64,
    missed_millis: u64,
    answered_millis_ago: u64,
    wall: Timestamp,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct SkewMillis {
    ahead: i64,
    within: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Token {
    issued: IssuedToken,
    age_millis: u64,
    life_millis: u64,
}

/// What a predecessor kept, as far as it is of use.
#[derive(Debug)]
pub(crate) struct Kept {
    pub etag: Option<HeaderValue>,
    pub notice: Option<Notice>,
    pub assignments: Vec<Assignment>,
    pub tokens: Vec<(TokenName, HeldToken)>,
    /// When the operator last answered.
    pub answered: Moment,
    /// The trust bundle that was renewed last.
    pub trust: Option<Vec<u8>>,
}

/// What is in [`Hold`] and worth keeping.
#[derive(Debug)]
pub(crate) struct Held {
    pub etag: Option<HeaderValue>,
    pub notice: Option<Notice>,
    pub assignments: Vec<Assignment>,
    pub tokens: Vec<(TokenName, Arc<HeldToken>)>,
    pub answered: Option<Moment>,
    pub skew: Option<Skew>,
}

/// Why a document is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    // The parser's own words may quote what it read, a token included: only the place is kept.
    #[error("it cannot be read (line {line}, column {column})")]
    Parse { line: usize, column: usize },
    #[error("its version is {version}, and this program writes {VERSION}")]
    Version { version: u32 },
    #[error("it is another pod's")]
    Foreign,
    #[error("it was written at a time that has not come yet")]
    Future,
}

impl Document {
    pub(super) fn parse(text: &[u8]) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let error = |error: serde_json::Error| DocumentError::Parse {
            line: error.line(),
            column: error.column(),
        };
        let Version { version } = serde_json::from_slice(text).map_err(error)?;
        if version != VERSION {
            return Err(DocumentError::Version { version });
        }
        serde_json::from_slice(text).map_err(error)
    }

    /// What is held now.
    pub(super) fn of(hold: &Hold, pod: &Uid, boot: Option<&str>, clock: &Clock) -> Self {
        let now = clock.now();
        let held = hold.held();
        let answered = held.answered.unwrap_or(now);
        let token = |(name, token): &(TokenName, Arc<HeldToken>)| Token {
            issued: token.issued(name.clone()),
            age_millis: millis(token.age(now)),
            life_millis: millis(token.life()),
        };
        Self {
            version: VERSION,
            pod: pod.clone(),
            boot: boot.map(|boot| boot.to_owned().into()),
            written: Written {
                boot_millis: millis(now.boot.since_start()),
                missed_millis: millis(clock.missed()),
                answered_millis_ago: millis(answered.until(now)),
                wall: now.wall,
            },
            skew: held.skew.map(|skew| SkewMillis {
                ahead: i64::try_from(skew.ahead.as_millis()).unwrap_or_default(),
                within: millis(skew.within),
            }),
            answered: answered.wall,
            etag: held
                .etag
                .and_then(|etag| Some(etag.to_str().ok()?.to_owned())),
            notice: held.notice,
            tokens: held.tokens.iter().map(token).collect(),
            assignments: held.assignments,
            trust: None,
        }
    }

    /// The document after an empty line; [`None`] where that is more than `limit` bytes.
    pub(super) fn text(&self, limit: usize) -> Option<Secret<Vec<u8>>> {
        let mut length = Length(1);
        let counted = serde_json::to_writer(&mut length, self);
        if counted.is_err() || length.0 > limit {
            return None;
        }
        // With all its room from the start it never moves, and leaves no copy behind.
        let mut text = Vec::with_capacity(length.0);
        text.push(b'\n');
        let written = serde_json::to_writer(&mut text, self);
        let text = Secret::new(text);
        written.is_ok().then_some(text)
    }

    /// What of it is valid for this pod at this moment. In the boot that it was written in, ages are told
    /// by boot time; in another one by the wall clock, put right by the last known skew, and not at all
    /// where that is unknown.
    pub(super) fn kept(
        self,
        pod: &Uid,
        boot: Option<&str>,
        clock: &Clock,
    ) -> Result<Kept, DocumentError> {
        if self.pod != *pod {
            return Err(DocumentError::Foreign);
        }
        let same = boot.is_some() && self.boot.as_deref() == boot;
        if same {
            clock.resume(Duration::from_millis(self.written.missed_millis));
        }
        let now = clock.now();
        let written = Boottime::new(Duration::from_millis(self.written.boot_millis));
        if same && now.boot < written {
            return Err(DocumentError::Future);
        }
        let since = since(&self.written, same.then_some(written), self.skew, now);
        let mut tokens = Vec::with_capacity(self.tokens.len());
        for token in self.tokens {
            let aged = match since {
                Since::Boot(time) => token.aged(time, now),
                Since::Wall(there) => token.left(there, now),
                Since::Unknown => None,
            };
            tokens.extend(aged);
        }
        let ago = Duration::from_millis(self.written.answered_millis_ago);
        let ago = ago.saturating_add(if same {
            written.until(now.boot)
        } else {
            Duration::ZERO
        });
        Ok(Kept {
            etag: self.etag.and_then(|etag| HeaderValue::try_from(etag).ok()),
            notice: self.notice,
            assignments: self.assignments,
            tokens,
            trust: self.trust.map(String::into_bytes),
            answered: Moment {
                wall: self.answered,
                boot: now.boot.before(ago),
            },
        })
    }
}

/// How the time since the document was written can be told.
enum Since {
    /// So much has passed.
    Boot(Duration),
    /// By the operator's clock it is at most so late now.
    Wall(Timestamp),
    Unknown,
}

fn since(
    written: &Written,
    boot: Option<Boottime>,
    skew: Option<SkewMillis>,
    now: Moment,
) -> Since {
    match (boot, skew) {
        (Some(boot), _) => Since::Boot(boot.until(now.boot)),
        // A wall clock that went backwards has been set, and nobody knows to what.
        (None, Some(skew)) if written.wall <= now.wall => {
            let ahead = SignedDuration::from_millis(skew.ahead);
            let there = now.wall.saturating_sub(ahead).unwrap_or(Timestamp::MAX);
            let latest = there.saturating_add(Duration::from_millis(skew.within));
            Since::Wall(latest.unwrap_or(Timestamp::MAX))
        }
        (None, _) => Since::Unknown,
    }
}

impl Token {
    /// The token, if it is still valid after so much time.
    fn aged(self, since: Duration, now: Moment) -> Option<(TokenName, HeldToken)> {
        let age = Duration::from_millis(self.age_millis).saturating_add(since);
        let life = Duration::from_millis(self.life_millis);
        // Nothing is older than the boot that it was received in.
        let valid = age < life && age <= now.boot.since_start();
        let name = self.issued.name.clone();
        let received = now.boot.before(age);
        let token = valid.then(|| HeldToken::kept(self.issued, life, received))??;
        Some((name, token))
    }

    /// The token, if it is still valid where it is so late.
    fn left(self, there: Timestamp, now: Moment) -> Option<(TokenName, HeldToken)> {
        let left = Duration::try_from(self.issued.expires_at.duration_since(there)).ok()?;
        let left = left.min(Duration::from_millis(self.life_millis));
        let name = self.issued.name.clone();
        let token = (!left.is_zero()).then(|| HeldToken::kept(self.issued, left, now.boot))??;
        Some((name, token))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Counts what is written.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Written 1,000 s after the start of the boot `a`, with a token of 600 s that was 100 s old then; the
    /// operator's clock showed second 5,000, and the wall clock here was 60 s ahead.
    fn document(change: impl FnOnce(&mut Value)) -> Document {
        let wall = Timestamp::from_second(5_060).unwrap();
        let mut document = json!({
            "version": 1, "pod": "uid-1", "boot": "a", "etag": "\"1\"",
            "written": {"boot_millis": 1_000_000, "missed_millis": 0, "answered_millis_ago": 5_000, "wall": wall},
            "answered": wall, "skew": {"ahead": 60_000, "within": 500}, "assignments": [],
            "tokens": [{
                "issued": {
                    "name": "vault", "token": "planted", "audience": "https://api.example",
                    "issued_at": Timestamp::from_second(4_900).unwrap(),
                    "expires_at": Timestamp::from_second(5_500).unwrap(),
                },
                "age_millis": 100_000, "life_millis": 600_000,
            }],
        });
        change(&mut document);
        Document::parse(document.to_string().as_bytes()).unwrap()
    }

    fn clock(wall: i64, boot: u64) -> Clock {
        let now = Moment {
            wall: Timestamp::from_second(wall).unwrap(),
            boot: Boottime::new(Duration::from_secs(boot)),
        };
        Clock::new(move || now, |_| Box::pin(std::future::ready(())))
    }

    /// The seconds that the token has left; [`None`] where it is not kept.
    fn left(document: Document, boot: &str, clock: &Clock) -> Option<u64> {
        let pod = Uid::parse("uid-1").unwrap();
        let kept = document.kept(&pod, Some(boot), clock).unwrap();
        let (_, token) = kept.tokens.first()?;
        Some(token.remaining(clock.now()).as_secs())
    }

    #[test]
    fn f19_in_the_same_boot_a_token_is_kept_to_its_last_second_whatever_the_wall_clock_says() {
        for wall in [0, 5_060, 90_000] {
            let kept = |boot| left(document(|_| {}), "a", &clock(wall, boot));
            assert_eq!(kept(1_000), Some(500), "{wall}");
            assert_eq!(kept(1_499), Some(1), "{wall}");
            assert_eq!(kept(1_500), None, "{wall}");
        }
        let missed = |d: &mut Value| d["written"]["missed_millis"] = json!(300_000);
        let clock = clock(5_060, 701);
        assert_eq!(
            left(document(missed), "a", &clock),
            Some(499),
            "and what was missed"
        );
    }

    #[test]
    fn f19_in_another_boot_the_wall_clock_decides_if_the_skew_is_known() {
        let kept = |wall| left(document(|_| {}), "b", &clock(wall, 10));
        assert_eq!(
            kept(5_060),
            Some(499),
            "by the operator's clock, at its latest"
        );
        assert_eq!(kept(5_559), Some(0), "half a second");
        assert_eq!(kept(5_560), None);
        assert_eq!(kept(5_059), None, "the clock was set back");
        let unknown = |d: &mut Value| d["skew"] = Value::Null;
        assert_eq!(left(document(unknown), "b", &clock(5_060, 10)), None);
        let nameless = |d: &mut Value| d["boot"] = Value::Null;
        assert_eq!(
            left(document(nameless), "a", &clock(5_060, 1_000)),
            Some(499)
        );
    }

    #[test]
    fn what_is_another_pods_or_of_another_time_or_of_a_newer_program_is_refused() {
        let pod = Uid::parse("uid-2").unwrap();
        let kept = document(|_| {}).kept(&pod, Some("a"), &clock(5_060, 1_000));
        assert!(matches!(kept, Err(DocumentError::Foreign)));
        let pod = Uid::parse("uid-1").unwrap();
        let kept = document(|_| {}).kept(&pod, Some("a"), &clock(5_060, 999));
        assert!(matches!(kept, Err(DocumentError::Future)));
        let newer = Document::parse(br#"{"version":2,"all":"else"}"#);
        assert!(matches!(newer, Err(DocumentError::Version { version: 2 })));
    }

    #[test]
    fn a_document_that_cannot_be_read_is_not_quoted() {
        let error = Document::parse(br#"{"version":1,"pod":"eyJ.planted"}"#).unwrap_err();
        let printed = format!("{error} {error:?} {:?}", document(|_| {}));
        assert!(!printed.contains("planted"), "{printed}");
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let document = document(|_| {});
        assert!(document.text(100).is_none());
        let text = document.text(4_096).unwrap();
        let again = Document::parse(text.expose().trim_ascii_start()).unwrap();
        assert_eq!(again.tokens.len(), 1);
    }
}
