//! The definitions of kinds, as the API server tells of them.

use serde_json::{Value, json};

/// What the API server says of definitions.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum Definitions {
    #[default]
    There,
    /// They are marked as deleted.
    Going,
    Gone,
    /// There are others of the same names.
    Others,
}

impl Definitions {
    /// The code and the lines of an answer about that one.
    pub(super) fn answer(self, name: &str) -> (u16, Vec<Value>, bool) {
        let uid = if self == Self::Others { "other" } else { "one" };
        let mut metadata = json!({"name": name, "uid": uid});
        match self {
            Self::Gone => return not_found(&json!({"name": name})),
            Self::Going => metadata["deletionTimestamp"] = "2026-11-01T00:00:00Z".into(),
            Self::There | Self::Others => {}
        }
        (200, vec![json!({"metadata": metadata})], false)
    }
}

/// That there is nothing, with what of.
pub(super) fn not_found(details: &Value) -> (u16, Vec<Value>, bool) {
    let status = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "details": details});
    (404, vec![status], false)
}

/// Where they are.
pub(super) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/";
