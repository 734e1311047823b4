//! A failed try, as it is told to whoever waits for its outcome.

use std::{borrow::Cow, fmt, time::Duration};

use hallpass_core::{denial::Code, wire::Problem};

use crate::{surroundings::Moment, upstream::UpstreamError};

/// Why a try failed, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One of [`Code`]'s words, or a newer one of the operator's.
    pub code: Cow<'static, str>,
    /// What it means here.
    pub detail: String,
    /// When the try ended.
    pub at: Moment,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The operator said no.
    Refused,
    /// The operator asked for a pause.
    Paused(Duration),
    /// The local files are not complete yet.
    Local,
    /// Anything else: it may work the next time.
    Transient,
}

impl Failure {
    /// A request that got no answer, or one refusal for all.
    pub(crate) fn of_request(error: &UpstreamError, at: Moment) -> Self {
        if let UpstreamError::Refused { problem, .. } = error {
            return Self {
                kind: kind(problem.status, error.retry_after()),
                ..Self::of_problem(problem, at)
            };
        }
        let kind = match error {
            UpstreamError::Identity(_) => Kind::Local,
            _ => error.retry_after().map_or(Kind::Transient, Kind::Paused),
        };
        Self {
            code: error.code(),
            detail: error.chain(),
            at,
            kind,
        }
    }

    /// The refusal of one token among others.
    pub(crate) fn of_problem(problem: &Problem, at: Moment) -> Self {
        let pause = problem.retry_after_seconds.map(u64::from);
        let detail = if problem.detail.is_empty() {
            problem.title.clone().into_owned()
        } else {
            problem.detail.clone()
        };
        Self {
            code: problem.code.clone(),
            detail,
            at,
            kind: kind(problem.status, pause.map(Duration::from_secs)),
        }
    }

    /// An answer that is not what was asked for.
    pub(crate) fn of_answer(detail: &'static str, at: Moment) -> Self {
        Self {
            code: Cow::Borrowed(Code::Internal.as_str()),
            detail: detail.to_owned(),
            at,
            kind: Kind::Transient,
        }
    }

    /// The same failure, with the pause that came with the whole answer where it has none of its own.
    pub(crate) fn paused_by(self, whole: &Self) -> Self {
        match (self.kind, whole.kind) {
            (Kind::Transient, Kind::Paused(pause)) => Self {
                kind: Kind::Paused(pause),
                ..self
            },
            _ => self,
        }
    }

    /// Whether the operator knows this pod and says no: asking again will not help by itself.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Refused)
    }

    /// Whether nothing but this pod's own files stood in the way, so that trying again costs nobody
    /// anything.
    pub(crate) const fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Local)
    }

    /// The least wait before the next try.
    pub(crate) fn pause(&self) -> Duration {
        match self.kind {
            Kind::Refused => REFUSED,
            Kind::Paused(pause) => pause.min(LONGEST),
            Kind::Local | Kind::Transient => Duration::ZERO,
        }
    }

    /// The failure in a sentence, with its age.
    pub(crate) const fn aged(&self, now: Moment) -> Aged<'_> {
        Aged { failure: self, now }
    }
}

fn kind(status: u16, pause: Option<Duration>) -> Kind {
    match (pause, status) {
        (Some(pause), _) => Kind::Paused(pause),
        (None, 401 | 403) => Kind::Refused,
        (None, _) => Kind::Transient,
    }
}

/// Prints the failure and how long ago it was.
#[derive(Debug)]
pub(crate) struct Aged<'a> {
    failure: &'a Failure,
    now: Moment,
}

impl fmt::Display for Aged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            code, detail, at, ..
        } = self.failure;
        let age = at.until(self.now).as_secs();
        write!(f, "the last try, {age} s ago, failed with {code}: {detail}")
    }
}

/// The operator answers for one token no more often than this.
const REFUSED: Duration = Duration::from_secs(10);
/// No pause is longer, whatever the operator says.
const LONGEST: Duration = Duration::from_secs(300);
