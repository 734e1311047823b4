//! The router in process: everything behind it is real but the API server.

mod assignments;
mod injection;
mod oauth;
mod panics;
mod refusals;
mod requests;
mod standing;
mod tokens;
mod trust;
mod wire;
