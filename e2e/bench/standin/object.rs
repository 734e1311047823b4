//! An object as it is kept.

use serde_json::Value;

/// An object as text, in two parts: a hundred thousand are too many to keep otherwise.
#[derive(Debug)]
pub(crate) struct Object {
    metadata: Box<str>,
    /// The other members, without the braces around them.
    rest: Box<str>,
}

impl Object {
    pub(super) fn of(mut object: Value) -> Self {
        let metadata = object["metadata"].take();
        if let Some(members) = object.as_object_mut() {
            members.remove("metadata");
        }
        let rest = object.to_string();
        Self {
            metadata: metadata.to_string().into(),
            rest: rest[1..rest.len() - 1].into(),
        }
    }

    /// As a value.
    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.text(false)).unwrap_or_default()
    }

    pub(super) fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The whole of it, or no more than its metadata where it is to be `partial`.
    pub(crate) fn text(&self, partial: bool) -> String {
        let rest = if partial { PARTIAL } else { &self.rest };
        let comma = if rest.is_empty() { "" } else { "," };
        format!(r#"{{"metadata":{}{comma}{rest}}}"#, self.metadata)
    }
}

const PARTIAL: &str = r#""apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata""#;
