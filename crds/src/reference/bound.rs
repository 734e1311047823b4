//! What a schema says of a value: its type, and how much of it there may be.

use serde_json::Value;

use super::word;

/// The type in words.
pub(super) fn kind(schema: &Value) -> String {
    match (word(&schema["type"]), word(&schema["format"])) {
        ("array", _) => format!("list of {}", plural(&schema["items"])),
        ("object", _) if !schema["additionalProperties"].is_null() => {
            format!("map of {}", plural(&schema["additionalProperties"]))
        }
        ("string", "date-time") => "time (RFC 3339)".into(),
        (kind, _) => kind.into(),
    }
}

fn plural(schema: &Value) -> String {
    format!("{}s", kind(schema))
}

/// The bounds in words; empty where there are none.
pub(super) fn bounds(schema: &Value) -> String {
    let mut said = own(schema);
    said.extend(merging(schema));
    for key in ["items", "additionalProperties"] {
        let each = own(&schema[key]);
        // what an object's fields are bounded by stands in its own table
        if !each.is_empty() {
            said.push(format!("each {}", each.join(", ")));
        }
    }
    said.join("; ")
}

fn own(schema: &Value) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|v| format!("`{}`", word(v))).collect();
        said.push(values.join(", "));
    }
    for (least, most, unit) in UNITS {
        said.extend(range(schema[least].as_u64(), schema[most].as_u64(), unit));
    }
    // a schema keeps the bounds of integers too as fractions, which print without their zeros
    let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    said.extend(least.map(|least| format!("at least {least}")));
    said.extend(most.map(|most| format!("at most {most}")));
    if let Some(pattern) = schema["pattern"].as_str() {
        said.push(format!("`{}`", pattern.replace('|', "\\|")));
    }
    said
}

fn range(least: Option<u64>, most: Option<u64>, unit: &str) -> Option<String> {
    match (least, most) {
        (None, None) => None,
        (Some(least), None) => Some(format!("at least {least} {unit}")),
        (None, Some(most)) => Some(format!("at most {most} {unit}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most} {unit}")),
    }
}

/// What two items of a list may not have in common.
fn merging(schema: &Value) -> Option<String> {
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let keys: Vec<String> = keys
        .into_iter()
        .flatten()
        .map(|key| format!("`{}`", word(key)))
        .collect();
    match word(&schema["x-kubernetes-list-type"]) {
        "set" => Some("none twice".into()),
        "map" => Some(format!("one for each {}", keys.join(", "))),
        _ => None,
    }
}

const UNITS: [(&str, &str, &str); 3] = [
    ("minLength", "maxLength", "characters"),
    ("minItems", "maxItems", "items"),
    ("minProperties", "maxProperties", "entries"),
];
