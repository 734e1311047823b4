//! What only the leader does: it reports on what the users wrote.
//!
//! Nothing here decides about a token. Each controller reads the index, works out what should be said,
//! and writes it if it is not said yet.

pub mod policy;
