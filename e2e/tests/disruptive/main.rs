//! What disturbs everybody who uses the cluster: each test is alone on it, and all of them come last.

mod restored;
mod stood_still;
