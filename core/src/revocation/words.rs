//! What is said of revocations.

use std::fmt;

use jiff::Timestamp;

use super::{Kind, LockEnd, Revocation, Target};
use crate::denial::{Code, Denial};

/// Where a revocation is, for people: `TokenRevocation shop/inc-123`.
pub(super) struct Place<'a>(pub(super) &'a Revocation, pub(super) Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Revocation { kind, name, .. }, namespace) = self;
        let kind = kind.as_str();
        match namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{name}"),
            None => write!(f, "{kind} {name}"),
        }
    }
}

/// The namespace that a revocation is in: a namespaced one is where its target is.
pub(super) fn within<'a>(revocation: &Revocation, target: &'a Target<'_>) -> Option<&'a str> {
    within_of(revocation.kind, target)
}

/// The namespace that a revocation of that kind is in.
pub(super) fn within_of<'a>(kind: Kind, target: &'a Target<'_>) -> Option<&'a str> {
    match (kind, target) {
        (
            Kind::Namespaced,
            Target::Namespace(namespace)
            | Target::Pod(namespace, _)
            | Target::ServiceAccount(namespace, _)
            | Target::Policy(namespace, _)
            | Target::Token(Some(namespace), _),
        ) => Some(namespace),
        (Kind::Namespaced | Kind::Cluster, _) => None,
    }
}

pub(super) fn locked(
    target: &Target<'_>,
    place: &str,
    end: LockEnd,
    revocation: &Revocation,
) -> String {
    let until = match end {
        LockEnd::Never => String::new(),
        LockEnd::At(end) => format!(" until {}", time(end)),
    };
    let message = revocation.terms().message.as_deref();
    let message = message.map_or_else(String::new, |text| format!(": {text}"));
    format!("{target} is locked by {place}{until}{message}")
}

pub(super) fn time(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| "the end of time".to_owned(), |t| t.to_string())
}

pub(super) const fn denial(code: Code, detail: String) -> Denial {
    Denial { code, detail }
}
