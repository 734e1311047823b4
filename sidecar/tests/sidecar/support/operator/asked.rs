//! What the operator was asked.

use axum::{
    http::{HeaderMap, header},
    response::Response,
};

use super::Script;

/// A request that came in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) path: &'static str,
    pub(crate) bearer: String,
    pub(crate) names: Vec<String>,
    /// For how many seconds the pod still has them, as it says.
    pub(crate) left: Option<u64>,
    pub(crate) status: u16,
    pub(crate) replica: usize,
}

impl Script {
    /// Notes a request and how it was answered.
    pub(super) fn log(
        &mut self,
        replica: usize,
        path: &'static str,
        headers: &HeaderMap,
        names: Vec<String>,
        answer: &Response,
    ) {
        let bearer = headers[header::AUTHORIZATION].to_str().unwrap();
        let left = headers.get("hallpass-expires-in");
        self.asked.push(Asked {
            path,
            bearer: bearer.strip_prefix("Bearer ").unwrap().to_owned(),
            names,
            left: left.map(|left| left.to_str().unwrap().parse().unwrap()),
            status: answer.status().as_u16(),
            replica,
        });
    }
}
