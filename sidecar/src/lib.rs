//! The sidecar of Hallpass: it fetches the tokens of its pod, replaces them ahead of expiry, and
//! serves them to the containers of the pod, each on a socket and in files of its own.
//!
//! How one token travels: `assignment` says that it is wanted, `upstream` asks the operator for it
//! under the pod's `identity`, `hold::slot` keeps it for as long as it is valid, and `serve` hands it
//! out. `hold::refresh` is the one loop that talks to the operator; no read ever waits for it while a
//! valid token is in hand.

pub mod app;
mod assignment;
pub mod cli;
pub mod config;
mod digest;
mod hold;
mod identity;
mod serve;
pub mod surroundings;
mod survive;
mod telemetry;
mod trust;
mod upstream;
