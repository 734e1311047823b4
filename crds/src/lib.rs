//! The custom resources of Hallpass: their types, what the API server checks of them, and the
//! YAML that installs them.
//!
//! The operator reads these types and hands them to the domain as raw policies; nothing else is
//! decided here. What a person may write is bounded by the schema and by the rules in `rule`, so
//! that a bad policy is refused by the API server with the field and the cause.

pub mod manifest;
mod raw;
mod rule;
pub mod token_policy;
