//! What the annotations of a pod say about its sidecar: finite words and numbers, and nothing that is passed on
//! as it stands but quantities.

use super::{amount::Amount, pod::Pod, resources::Of, settings::User, shown};

/// What the annotations say, checked.
#[derive(Debug)]
pub(super) struct Wishes {
    /// Whether the containers wait for the first tokens.
    pub(super) waits: bool,
    pub(super) requests: Of<Option<Amount>>,
    pub(super) limits: Of<Option<Amount>>,
    pub(super) user: Option<User>,
}

impl Wishes {
    /// Reads the annotations.
    ///
    /// # Errors
    /// What the first one that says something else must say, as a sentence.
    pub(super) fn of(pod: &Pod) -> Result<Self, String> {
        if let Some(key) = pod.annotations().find(|key| is_unknown(key)) {
            return Err(format!(
                "annotation {} means nothing to Hallpass; a pod may have {START}, {RUN_AS_USER}, {CPU_REQUEST}, \
                 {CPU_LIMIT}, {MEMORY_REQUEST} and {MEMORY_LIMIT}",
                shown(key)
            ));
        }
        let waits = match pod.annotation(START) {
            None => true,
            Some("Immediate") => false,
            Some(other) => {
                return Err(must_be(START, r#""Immediate" or absent"#, other));
            }
        };
        Ok(Self {
            waits,
            requests: Of {
                cpu: amount(pod, CPU_REQUEST)?,
                memory: amount(pod, MEMORY_REQUEST)?,
            },
            limits: Of {
                cpu: amount(pod, CPU_LIMIT)?,
                memory: amount(pod, MEMORY_LIMIT)?,
            },
            user: user(pod)?,
        })
    }
}

/// Whether the key is one of ours that no pod may carry. The last one is written by injection.
fn is_unknown(key: &str) -> bool {
    let known = [
        START,
        RUN_AS_USER,
        CPU_REQUEST,
        CPU_LIMIT,
        MEMORY_REQUEST,
        MEMORY_LIMIT,
        "hallpass.dev/service-account",
    ];
    key.starts_with("hallpass.dev/") && !known.contains(&key)
}

fn amount(pod: &Pod, annotation: &str) -> Result<Option<Amount>, String> {
    let Some(text) = pod.annotation(annotation) else {
        return Ok(None);
    };
    match Amount::parse(text) {
        Ok(amount) => Ok(Some(amount)),
        Err(_no_amount) => {
            let what = "a quantity above 0 of at most 32 characters";
            Err(must_be(annotation, what, text))
        }
    }
}

fn user(pod: &Pod) -> Result<Option<User>, String> {
    let Some(text) = pod.annotation(RUN_AS_USER) else {
        return Ok(None);
    };
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let number = digits.then(|| text.parse().ok()).flatten();
    match number.and_then(User::new) {
        Some(user) => Ok(Some(user)),
        None => {
            let what = "a number from 1 to 2147483647";
            Err(must_be(RUN_AS_USER, what, text))
        }
    }
}

/// The sentence of a refusal, with the value where it can be shown.
fn must_be(annotation: &str, what: &str, value: &str) -> String {
    let shows = value.len() < 64 && value.bytes().all(|b| matches!(b, b' '..=b'~'));
    let said = if shows {
        format!(r#", not "{value}""#)
    } else {
        String::new()
    };
    format!("annotation {annotation} must be {what}{said}")
}

const START: &str = "hallpass.dev/start";
const RUN_AS_USER: &str = "hallpass.dev/run-as-user";
const CPU_REQUEST: &str = "hallpass.dev/cpu-request";
const CPU_LIMIT: &str = "hallpass.dev/cpu-limit";
const MEMORY_REQUEST: &str = "hallpass.dev/memory-request";
const MEMORY_LIMIT: &str = "hallpass.dev/memory-limit";
