//! The domain of Hallpass: what a policy is, who may hold which token, how long, and why not.
//!
//! Everything here is a plain function over plain data. There is no clock, no randomness, no file,
//! no network: `now` and `jitter` are arguments, and IO sits in the programs at both ends. What both of them ask
//! of the kernel for the sake of their secrets is in [`process`].
//!
//! Read [`decide`] first: it is the only place where a [`decide::Grant`] is made.
#![warn(missing_docs, clippy::wildcard_enum_match_arm)]

pub mod audience;
pub mod consent;
pub mod decide;
pub mod denial;
pub mod fault;
pub mod issuer;
pub mod labels;
pub mod lifetime;
pub mod name;
pub mod policy;
pub mod pool;
pub mod process;
pub mod revocation;
pub mod scope;
pub mod secret;
pub mod token;
mod uuid;
pub mod wire;
