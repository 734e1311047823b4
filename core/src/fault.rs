//! What is wrong with a stored object: every fault with the path of its field.

use std::fmt;

use crate::{lifetime::LifetimeError, name::NameError};

/// Everything that is wrong with an object; never empty when returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, such as `spec.tokens[2].lifetime`.
    pub field: String,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What can be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Not a name of its kind.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not a lifetime.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// The value occurs twice.
    #[error("must not occur twice")]
    Duplicate,
    /// None, or more than allowed.
    #[error("must have 1 to {most} entries")]
    Count {
        /// The most there may be.
        most: usize,
    },
    /// More than there may be in the whole list.
    #[error("must have at most {most} {what} in all")]
    Sum {
        /// Of what.
        what: &'static str,
        /// The most there may be.
        most: usize,
    },
    /// More than is kept of any object.
    #[error("must have at most {0} bytes in all")]
    Size(usize),
    /// None of the alternatives is written, or more than one.
    #[error("must have exactly one of {0}")]
    ExactlyOne(&'static str),
    /// Written where it means nothing.
    #[error("must not be written beside {0}")]
    Beside(&'static str),
    /// Named here and nowhere declared.
    #[error("is not one of spec.scopes")]
    Undeclared,
    /// A value beyond those that the field knows.
    #[error("must be one of {0}")]
    OneOf(&'static str),
    /// Not the URL of an issuer (RFC 8414 §2).
    #[error(
        "must be an https URL without user, query, fragment and final slash, of at most 256 characters"
    )]
    IssuerUrl,
    /// Not a period of rotation.
    #[error("must be a number with one unit, such as 12h or 30d, between 1h and 365d")]
    Rotation,
    /// Not a pattern of audiences.
    #[error("must be 1 to 512 printable ASCII characters with at most 4 '*'")]
    Pattern,
    /// Not a number.
    #[error("must be a decimal number")]
    Number,
    /// Not a UUID in its usual spelling.
    #[error("must be a UUID")]
    Uuid,
    /// Means nothing without something else.
    #[error("must be written beside {0}")]
    Without(&'static str),
    /// Reaches beyond the namespace of the object.
    #[error("must not be written here: it reaches beyond the namespace")]
    BeyondNamespace,
    /// Not a text of that length without control characters.
    #[error("must be a text of 1 to {0} characters without control characters")]
    Text(usize),
}

impl Faults {
    /// The faults, in the order of the fields.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// Whether nothing is wrong so far.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, field: impl Into<String>, kind: FaultKind) {
        let field = field.into();
        self.0.push(Fault { field, kind });
    }

    pub(crate) fn note<T, E: Into<FaultKind>>(
        &mut self,
        field: &str,
        parsed: Result<T, E>,
    ) -> Option<T> {
        parsed.map_err(|e| self.add(field, e.into())).ok()
    }

    pub(crate) fn count(&mut self, field: &str, count: usize, most: usize) {
        if count == 0 || count > most {
            self.add(field, FaultKind::Count { most });
        }
    }

    /// Each of the entries of a list has so many of `what`.
    pub(crate) fn sum(
        &mut self,
        field: &str,
        what: &'static str,
        counts: impl Iterator<Item = usize>,
        most: usize,
    ) {
        if counts.sum::<usize>() > most {
            self.add(field, FaultKind::Sum { what, most });
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", fault.field, fault.kind)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
