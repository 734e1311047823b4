//! How much of everything there is.

use anyhow::{Result, bail};

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// How many tokens the replica has issued at least when its memory is looked at.
    pub(crate) tokens: usize,
    /// How many revocations are in force.
    pub(crate) revocations: usize,
}

impl Scale {
    /// The one of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "usual" => Ok(Self {
                tokens: 100_000,
                revocations: 2000,
            }),
            "whole" => Ok(Self {
                tokens: 1_000_000,
                revocations: 100_000,
            }),
            _ => bail!("a scale is usual or whole, not {name}"),
        }
    }
}
