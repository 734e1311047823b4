//! From what is stored to what the domain parses: nothing is judged here, nothing is left out.
//!
//! What the API server has not filled in yet becomes empty, which the domain refuses where it matters.

mod audience;
mod issuer;
mod policy;
mod revocation;
