//! `GET /metrics`: the text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

use hallpass_core::wire::TokenState;

use super::readiness::word;
use crate::{
    hold::{Contact, Listed},
    surroundings::Moment,
    telemetry::{ByOutcome, Counter, Counters},
};

/// The text, for a container that sees `tokens`.
pub(crate) fn text(
    counters: &Counters,
    tokens: &[Listed],
    contact: Contact,
    now: Moment,
) -> String {
    let mut page = Page(String::with_capacity(2048));
    let Counters {
        reads,
        refreshes,
        polls,
        panics,
        file_errors,
        accept_errors,
        clock_jumps,
        cache_errors,
        hedges,
    } = counters;
    page.outcomes(
        "reads",
        "Reads of a token on the sockets of this pod.",
        reads,
    );
    page.outcomes(
        "refreshes",
        "Tokens asked for from the operator.",
        refreshes,
    );
    page.outcomes("polls", "Assignments asked for from the operator.", polls);
    page.counter("panics", "Panics that were outlived.", panics);
    page.counter(
        "file_errors",
        "Times that token files could not be brought up to date.",
        file_errors,
    );
    page.counter(
        "accept_errors",
        "Connections that could not be accepted.",
        accept_errors,
    );
    page.counter(
        "clock_jumps",
        "Times that this machine's wall clock jumped by more than 5 s.",
        clock_jumps,
    );
    page.counter(
        "hedges",
        "Requests that were sent to another replica of the operator too, since the first did not answer.",
        hedges,
    );
    page.counter(
        "cache_errors",
        "Times that the cache could not be written.",
        cache_errors,
    );
    page.states(tokens);
    page.standings(tokens);
    page.expiries(tokens);
    page.contact(contact, now);
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!(
            "# HELP hallpass_sidecar_{name} {help}\n# TYPE hallpass_sidecar_{name} {kind}\n"
        ));
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        self.write(format_args!("hallpass_sidecar_{name}{labels} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.0.write_fmt(text).unwrap_or_default();
    }

    fn counter(&mut self, noun: &str, help: &str, counter: &Counter) {
        let name = format!("{noun}_total");
        self.head(&name, "counter", help);
        self.line(&name, "", counter.read());
    }

    fn outcomes(&mut self, noun: &str, help: &str, counts: &ByOutcome) {
        let name = format!("{noun}_total");
        self.head(&name, "counter", help);
        for (code, count) in counts.iter() {
            // Success always has a line; a code from its first time on, since there are many.
            if count > 0 || code == "OK" {
                self.line(&name, &format!(r#"{{code="{code}"}}"#), count);
            }
        }
    }

    fn contact(&mut self, contact: Contact, now: Moment) {
        if let Some(at) = contact.answered {
            self.gauge(
                "last_poll_timestamp_seconds",
                "When the operator last said which tokens to hold.",
                at.wall.as_second(),
            );
            self.gauge(
                "last_answer_age_seconds",
                "How long ago the operator last said which tokens to hold.",
                at.until(now).as_secs(),
            );
        }
        if let Some(skew) = contact.skew {
            self.gauge(
                "clock_skew_seconds",
                "How far this machine's wall clock is ahead of the operator's, negative where it is behind.",
                skew.ahead.as_secs_f64(),
            );
            self.gauge(
                "clock_skew_uncertainty_seconds",
                "How far off hallpass_sidecar_clock_skew_seconds may be.",
                skew.within.as_secs_f64(),
            );
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, "gauge", help);
        self.line(name, "", value);
    }

    fn states(&mut self, tokens: &[Listed]) {
        self.head(
            "tokens",
            "gauge",
            "Tokens that this container sees, by state.",
        );
        let states = [
            TokenState::Pending,
            TokenState::Fresh,
            TokenState::Stale,
            TokenState::Expired,
        ];
        for state in states {
            let word = word(state);
            let count = tokens.iter().filter(|token| token.state == state).count();
            self.line("tokens", &format!(r#"{{state="{word}"}}"#), count);
        }
    }

    fn standings(&mut self, tokens: &[Listed]) {
        let name = "token_state";
        self.head(
            name,
            "gauge",
            "How each token that this container sees stands, and why it is not fresh: always 1.",
        );
        for token in tokens {
            let (state, code) = match token.state {
                TokenState::Fresh => (word(token.state), "OK".into()),
                state => (word(state), token.reason().0),
            };
            let token = &token.name;
            let labels = format!(r#"{{token="{token}",state="{state}",code="{code}"}}"#);
            self.line(name, &labels, 1);
        }
    }

    fn expiries(&mut self, tokens: &[Listed]) {
        let name = "token_expiry_timestamp_seconds";
        self.head(
            name,
            "gauge",
            "When each token that this container sees expires.",
        );
        for token in tokens {
            if let Some(at) = token.expires_at {
                let label = format!(r#"{{token="{}"}}"#, token.name);
                self.line(name, &label, at.as_second());
            }
        }
    }
}
