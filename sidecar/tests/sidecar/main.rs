//! The sidecar as its pod sees it: real sockets and files in a temporary directory, a real TLS operator
//! in this process, and a clock that stands still unless a test moves it.

#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod command;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod hedging;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod hostile;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod outlasting;
mod refreshing;
mod serving;
#[expect(
    clippy::panic,
    reason = "a helper of tests that fails is a test that fails"
)]
mod slow;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod stepped;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod support;
mod surviving;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod timing;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod trust;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod unreached;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests that fails is a test that fails"
)]
mod wire;
