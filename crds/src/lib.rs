//! The custom resources of Hallpass: their types, what the API server checks of them, the
//! YAML that installs them, and the page that explains them.
//!
//! The operator reads these types and hands them to the domain in their raw form; nothing else is
//! decided here. What a person may write is bounded by the schema and by the rules in `rule`, so
//! that a bad resource is refused by the API server with the field and the cause.

pub mod cluster_token_revocation;
mod condition;
pub mod manifest;
mod raw;
pub mod reference;
pub mod revocation;
mod rule;
pub mod selector;
pub mod token_audience;
pub mod token_issuer;
pub mod token_policy;
pub mod token_revocation;
