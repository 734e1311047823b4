//! What the sidecar gets of a resource.

use serde::{Deserialize, Serialize};

use super::quantity::{NoQuantity, Quantity};

/// A quantity above 0, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Amount {
    text: String,
    value: Quantity,
}

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity above 0 of at most 32 characters")]
pub(super) struct NoAmount {
    text: String,
}

impl Amount {
    pub(super) fn parse(text: &str) -> Result<Self, NoAmount> {
        let value = if text.len() > LONGEST {
            Err(NoQuantity)
        } else {
            text.parse()
        };
        match value {
            Ok(value) if Quantity::is_positive(value) => Ok(Self {
                text: text.to_owned(),
                value,
            }),
            Ok(_) | Err(NoQuantity) => Err(NoAmount {
                text: super::shown(text),
            }),
        }
    }

    pub(super) fn exceeds(&self, other: &Self) -> bool {
        self.value > other.value
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for Amount {
    type Error = NoAmount;

    fn try_from(text: String) -> Result<Self, NoAmount> {
        Self::parse(&text)
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.text
    }
}

/// Of all that the quantities of one pod can say, the annotations are what anybody writes.
const LONGEST: usize = 32;
