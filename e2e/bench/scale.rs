//! How much of everything there is.

use anyhow::{Result, bail};

use crate::alone::Population;

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// How many tokens the replica has issued at least when its memory is looked at.
    pub(crate) tokens: usize,
    /// How many revocations are in force.
    pub(crate) revocations: usize,
    /// How many sidecars run at once.
    pub(crate) sidecars: usize,
    /// What the operator watches where it is alone.
    pub(crate) population: Population,
}

impl Scale {
    /// The one of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "usual" => Ok(Self {
                tokens: 100_000,
                revocations: 2000,
                sidecars: 100,
                population: Population {
                    policies: 1000,
                    pods: 10_000,
                },
            }),
            "whole" => Ok(Self {
                tokens: 1_000_000,
                revocations: 100_000,
                sidecars: 1000,
                population: Population {
                    policies: 10_000,
                    pods: 100_000,
                },
            }),
            _ => bail!("a scale is usual or whole, not {name}"),
        }
    }
}
