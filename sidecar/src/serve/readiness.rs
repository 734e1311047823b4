//! `GET /readyz`: whether a container may start, and how each of its tokens stands.

use hallpass_core::{
    denial::Code,
    name::TokenName,
    wire::{Problem, RefusedEntry, TokenState},
};
use http::Response;
use serde::Serialize;

use super::answer::{self, Body, TEXT};
use crate::{
    hold::{Contact, Listed, Readiness},
    surroundings::Moment,
};

/// How everything stands, beside whether that is enough.
#[derive(Debug, Serialize)]
pub(crate) struct Standings {
    /// The age of the operator's last answer; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_seconds_ago: Option<u64>,
    states: Vec<Standing>,
}

#[derive(Debug, Serialize)]
struct Standing {
    name: TokenName,
    state: TokenState,
    /// Why it is not fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

impl Standings {
    pub(crate) fn of(tokens: &[Listed], contact: Contact, now: Moment) -> Self {
        let standing = |token: &Listed| Standing {
            name: token.name.clone(),
            state: token.state,
            code: (token.state != TokenState::Fresh).then(|| token.reason().0.into_owned()),
        };
        Self {
            answered_seconds_ago: contact.answered.map(|at| at.until(now).as_secs()),
            states: tokens.iter().map(standing).collect(),
        }
    }

    /// A line for each.
    fn lines(&self) -> String {
        let mut lines = String::from("ready\n");
        if let Some(seconds) = self.answered_seconds_ago {
            lines.push_str(&format!("operator: answered {seconds} s ago\n"));
        }
        for Standing { name, state, code } in &self.states {
            let state = word(*state);
            let why = code.as_ref().map(|code| format!(" ({code})"));
            let why = why.unwrap_or_default();
            lines.push_str(&format!("token {name}: {state}{why}\n"));
        }
        lines
    }
}

/// The word of a state, as every document has it.
pub(crate) const fn word(state: TokenState) -> &'static str {
    match state {
        TokenState::Pending => "pending",
        TokenState::Fresh => "fresh",
        TokenState::Stale => "stale",
        TokenState::Expired => "expired",
    }
}

/// The answer.
pub(crate) fn ready(readiness: Readiness, standings: &Standings) -> Response<Body> {
    match readiness {
        Readiness::Ready => answer::whole(TEXT, standings.lines()),
        Readiness::Unreached { last } => {
            let why = last.map(|last| format!("; {}: {}", last.code, last.detail));
            let detail = UNREACHED.to_owned() + &why.unwrap_or_default();
            answer::refusal(Problem::new(Code::Pending, detail), Some(standings))
        }
        Readiness::Missing(missing) => {
            let tokens: Vec<_> = missing.into_iter().map(refused).collect();
            let names: Vec<_> = tokens.iter().map(|token| token.name.as_str()).collect();
            let detail = format!("required tokens are missing: {}", names.join(", "));
            let problem = Problem {
                tokens,
                ..Problem::new(Code::Pending, detail)
            };
            answer::refusal(problem, Some(standings))
        }
    }
}

fn refused(token: Listed) -> RefusedEntry {
    let (code, detail) = token.reason();
    // An operator newer than this program may give a code that it does not know.
    let known = Code::ALL.into_iter().find(|known| known.as_str() == code);
    let mut problem = Problem::new(known.unwrap_or(Code::Pending), detail);
    problem.code = code;
    RefusedEntry {
        name: token.name,
        problem: Box::new(problem),
    }
}

pub(crate) const UNREACHED: &str = "the operator has not said yet which tokens there are";
