//! One object of a schema: its table, and what is said below it.

use serde_json::{Map, Value};

use super::{
    bound::{bounds, kind},
    sentence::sentence,
    text::{cell, paragraphs},
    word,
};

/// An object with fields of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    schema: &'a Value,
    fields: &'a Map<String, Value>,
}

/// Such an object and where it is.
#[derive(Debug, Clone)]
pub(super) struct Level<'a> {
    path: String,
    object: Fields<'a>,
}

impl<'a> Level<'a> {
    /// The object at that path, and all within it: each after the one that has it, in the order of the
    /// fields.
    pub(super) fn all(path: &str, schema: &'a Value) -> Vec<Self> {
        let Some(fields) = schema["properties"].as_object() else {
            return match &schema["items"] {
                Value::Null => Vec::new(),
                items => Self::all(&format!("{path}[]"), items),
            };
        };
        let own = Self {
            path: path.to_owned(),
            object: Fields { schema, fields },
        };
        let within = fields
            .iter()
            .flat_map(|(name, field)| Self::all(&format!("{path}.{name}"), field));
        std::iter::once(own).chain(within).collect()
    }

    pub(super) fn markdown(&self, kind: &str) -> String {
        let Self { path, object } = self;
        let mut page = format!("\n### {kind} {path}\n\n");
        let about = word(&object.schema["description"]);
        // of a field the table above says it already
        if !about.is_empty() && (path.ends_with("[]") || !path.contains('.')) {
            page.push_str(&format!("{}\n\n", cell(about)));
        }
        page.push_str(
            "| field | type | required | bounds | meaning |\n| --- | --- | --- | --- | --- |\n",
        );
        page.extend(
            object
                .fields
                .iter()
                .map(|(name, field)| self.row(name, field)),
        );
        page.push_str(&list("", self.further()));
        page.push_str(&list("Refused with:\n\n", self.refusals()));
        page
    }

    fn row(&self, name: &str, field: &Value) -> String {
        let required = self.object.schema["required"].as_array();
        let required = required.is_some_and(|names| names.iter().any(|it| it == name));
        let meaning = paragraphs(word(&field["description"])).next();
        format!(
            "| `{}.{name}` | {} | {} | {} | {} |\n",
            self.path,
            kind(field),
            if required { "yes" } else { "no" },
            bounds(field),
            cell(meaning.unwrap_or_default()),
        )
    }

    /// What the descriptions of the fields say beyond their first paragraph.
    fn further(&self) -> Vec<String> {
        let fields = self.object.fields.iter();
        fields
            .flat_map(|(name, field)| {
                let further = paragraphs(word(&field["description"])).skip(1);
                further.map(move |text| format!("`{name}`: {}", cell(text)))
            })
            .collect()
    }

    /// The rules of the object itself, and of its fields and what they hold that has no table.
    fn refusals(&self) -> Vec<String> {
        let own = sentences(self.object.schema).map(|(at, said)| match at {
            "" => said,
            field => format!("`{}`: {said}", field.trim_start_matches('.')),
        });
        let of_fields = self.object.fields.iter().flat_map(|(name, field)| {
            let within = [("", field), ("[]", &field["items"])];
            let within = within.into_iter().filter(|(suffix, schema)| {
                // an item with fields has a table of its own
                suffix.is_empty() || schema.get("properties").is_none()
            });
            within.flat_map(move |(suffix, schema)| {
                // an object with fields has one too
                let own_table = schema.get("properties").is_some();
                let said = sentences(schema).filter(move |_| !own_table);
                said.map(move |(_, said)| format!("`{name}{suffix}`: {said}"))
            })
        });
        own.chain(of_fields).collect()
    }
}

/// What the rules of a schema answer, each with the field that it points to.
fn sentences(schema: &Value) -> impl Iterator<Item = (&str, String)> {
    let rules = schema["x-kubernetes-validations"].as_array();
    rules.into_iter().flatten().map(|rule| {
        let said = match &rule["messageExpression"] {
            Value::String(expression) => sentence(expression),
            _ => word(&rule["message"]).to_owned(),
        };
        (word(&rule["fieldPath"]), format!("`` {said} ``"))
    })
}

fn list(head: &str, items: Vec<String>) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items.iter().map(|item| format!("* {item}\n")).collect();
    format!("\n{head}{items}")
}
