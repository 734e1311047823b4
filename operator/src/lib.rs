//! The operator: it watches policies, pods and service accounts, attests who asks, decides, and has
//! the tokens minted. Every replica answers; only the leader writes status.
//!
//! The path of one token: [`api`] → [`attest`] → [`issue`] → `hallpass_core::decide` → [`issuer`] →
//! [`audit`] → [`api`].

pub mod api;
pub mod app;
pub mod attest;
pub mod audit;
mod call;
pub mod clock;
pub mod config;
pub mod controller;
pub mod index;
pub mod inject;
pub mod issue;
pub mod issuer;
pub mod keys;
pub mod lease;
mod owner;
pub mod replica;
pub mod restore;
pub mod revoke;
mod share;
pub mod telemetry;
pub mod tls;
