//! The schema of conditions, which every status of ours has.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The schema that Kubernetes gives its own conditions, with the bounds that the type alone lacks.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "description": "What the condition is about, such as Ready.",
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether it holds.",
                },
                "reason": {
                    "type": "string",
                    "maxLength": 1024,
                    "description": "One word that says why.",
                },
                "message": {
                    "type": "string",
                    "maxLength": 32768,
                    "description": "The reason in a sentence, with what to do about it.",
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "Since when the status has been what it is.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "description": "The metadata.generation that the condition speaks of.",
                },
            },
        },
    })
}
