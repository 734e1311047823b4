//! What other people's libraries make of our kind of token, without a cluster: an issuer in this
//! process, and the programs of `e2e/verifiers`.

mod algorithm;
mod documented;
mod fixture;
mod harness;
mod refusal;
mod rotation;
