//! What the printed CRDs promise: the copies are current, everything is bounded and explained, and
//! no value means two things.

use std::{collections::BTreeSet, fs};

use hallpass_crds::{
    manifest::{self, Manifest},
    reference,
};
use serde_json::{Value, json};

mod kind;

use kind::{KINDS, Kind};

#[test]
fn every_kind_is_looked_at() {
    let printed = manifest::all().map(|manifest| manifest.plural);
    assert_eq!(printed, KINDS.map(|kind| kind.plural.to_owned()));
}

#[test]
fn the_copies_beside_the_types_and_in_the_chart_are_current() {
    for manifest in manifest::all() {
        for (path, text) in manifest.copies() {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                kept == text,
                "{} differs from the types: run `cargo run -p hallpass-crds`",
                path.display()
            );
        }
    }
}

#[test]
fn the_chart_lets_each_of_them_stay_where_its_values_say_so() {
    for manifest in manifest::all() {
        let [plain, (_, template)] = manifest.copies();
        assert!(!plain.1.contains("{{"), "{}", manifest.plural);
        for line in [
            "{{- if .Values.crds.enabled }}\n# Written by",
            "\n  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n  name: ",
        ] {
            assert!(template.contains(line), "{}: {line}", manifest.plural);
        }
    }
}

#[test]
fn the_reference_is_current() {
    let kept = fs::read_to_string(reference::path()).unwrap_or_default();
    assert!(
        kept == reference::markdown(),
        "docs/resources.md differs from the types: run `cargo run -p hallpass-crds`"
    );
}

#[test]
fn the_reference_has_every_field_and_every_paragraph_about_it() {
    let page = reference::markdown();
    let plain = page.replace('\\', "");
    for (path, schema) in all_schemas() {
        let (_, path) = path.split_once('.').unwrap_or_default();
        if path.ends_with(']') || path.ends_with('}') || !path.contains('.') {
            continue;
        }
        assert!(page.contains(&format!("\n| `{path}` | ")), "{path}");
        let description = schema["description"].as_str().unwrap_or_default();
        for paragraph in description.split("\n\n") {
            assert!(plain.contains(paragraph), "{path}: {paragraph}");
        }
    }
}

#[test]
fn the_reference_has_every_sentence_that_the_api_server_answers() {
    let page = reference::markdown();
    let rules: usize = KINDS.iter().map(|kind| kind.rules).sum();
    assert_eq!(page.matches("`` ").count(), rules);
    for (path, schema) in all_schemas() {
        let rules = schema
            .get("x-kubernetes-validations")
            .and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            let said = rule["message"].as_str().unwrap_or("`` ");
            assert!(page.contains(said), "{path}: {said}");
        }
    }
}

/// `kubectl apply` keeps a copy in an annotation, and annotations end at 256 KiB.
#[test]
fn every_crd_is_smaller_than_200_kb() {
    for Manifest { plural, yaml } in manifest::all() {
        assert!(yaml.len() < 200 * 1024, "{plural}");
    }
}

#[test]
fn helm_finds_nothing_to_evaluate() {
    for Manifest { plural, yaml } in manifest::all() {
        assert!(!yaml.contains("{{"), "{plural}");
    }
}

#[test]
fn helm_keeps_the_crds_and_with_them_all_objects() {
    for kind in &KINDS {
        let annotations = &kind.crd()["metadata"]["annotations"];
        assert_eq!(
            annotations["helm.sh/resource-policy"], "keep",
            "{}",
            kind.plural
        );
    }
}

#[test]
fn kubectl_finds_them_by_group_short_name_and_category() {
    for kind in &KINDS {
        let spec = &kind.crd()["spec"];
        assert_eq!(spec["group"], "hallpass.dev");
        assert_eq!(spec["scope"], kind.scope, "{}", kind.plural);
        assert_eq!(spec["names"]["plural"], kind.plural);
        let short: Vec<&str> = kind.short_name.into_iter().collect();
        let printed = spec["names"].get("shortNames").cloned();
        assert_eq!(
            printed.unwrap_or(json!([])),
            json!(short),
            "{}",
            kind.plural
        );
        assert_eq!(spec["names"]["categories"], json!(["hallpass"]));
        assert_eq!(
            kind.version()["subresources"]["status"],
            json!({}),
            "who may write the object may not write its status"
        );
    }
}

#[test]
fn kubectl_get_prints_what_matters_and_in_wide_the_reason() {
    for kind in &KINDS {
        let version = kind.version();
        let columns: Vec<_> = version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (c["name"].as_str().unwrap(), c["priority"].as_i64()))
            .collect();
        let wide = |name| (name == "Reason").then_some(1);
        let expected: Vec<_> = kind.columns.iter().map(|c| (*c, wide(*c))).collect();
        assert_eq!(columns, expected, "{}", kind.plural);
    }
}

#[test]
fn every_list_text_and_map_is_bounded() {
    let unbounded: Vec<String> = all_schemas()
        .into_iter()
        .filter(|(_, schema)| {
            let has = |key: &str| schema.get(key).is_some();
            match schema["type"].as_str().unwrap() {
                "array" => !has("maxItems"),
                "string" => !has("maxLength") && !has("enum") && schema["format"] != "date-time",
                "object" => has("additionalProperties") && !has("maxProperties"),
                _ => false,
            }
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn every_list_says_how_two_writers_are_merged() {
    for (path, schema) in all_schemas() {
        if schema["type"] == "array" {
            assert!(schema.get("x-kubernetes-list-type").is_some(), "{path}");
        }
    }
}

#[test]
fn no_value_is_defaulted_or_null() {
    for (path, schema) in all_schemas() {
        assert_eq!(schema.get("default"), None, "{path}");
        assert_eq!(schema.get("nullable"), None, "{path}");
    }
}

#[test]
fn numbers_have_formats_that_the_api_server_knows() {
    for (path, schema) in all_schemas() {
        if schema["type"] == "integer" {
            assert!(
                ["int32", "int64"].contains(&schema["format"].as_str().unwrap()),
                "{path}"
            );
        }
    }
}

#[test]
fn kubectl_explain_has_a_sentence_for_every_field() {
    for (path, schema) in all_schemas() {
        let field = !path.ends_with(']') && !path.ends_with('}');
        let text = schema["description"].as_str().unwrap_or_default();
        assert!(!field || text.ends_with('.'), "{path}: {text:?}");
    }
}

#[test]
fn every_rule_answers_with_a_sentence_on_one_line() {
    for kind in &KINDS {
        let mut rules = 0;
        for (path, schema) in kind.schemas() {
            let of_field = schema.get("x-kubernetes-validations");
            for rule in of_field.and_then(Value::as_array).into_iter().flatten() {
                let text = rule
                    .get("message")
                    .or_else(|| rule.get("messageExpression"));
                let text = text.and_then(Value::as_str).unwrap_or_default();
                assert!(!text.is_empty() && !text.contains('\n'), "{path}: {rule}");
                // The API server prints no detail beside this reason.
                assert_ne!(rule["reason"], "FieldValueDuplicate", "{path}");
                rules += 1;
            }
        }
        assert_eq!(rules, kind.rules, "{}", kind.plural);
    }
}

#[test]
fn only_what_is_honoured_can_be_written() {
    for kind in &KINDS {
        let written: BTreeSet<String> = kind
            .schemas()
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| path.starts_with(".spec."))
            .collect();
        let honoured: BTreeSet<String> = kind.honoured.iter().map(|p| (*p).to_owned()).collect();
        assert_eq!(written, honoured, "{}", kind.plural);
    }
}

/// What others refer to is the same for as long as the object lives.
#[test]
fn what_tokens_are_known_by_cannot_be_changed() {
    let fixed: Vec<String> = all_schemas()
        .into_iter()
        .filter(|(_, schema)| {
            let rules = schema
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            rules
                .into_iter()
                .flatten()
                .any(|rule| rule["rule"] == "self == oldSelf")
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        fixed,
        [
            "tokenaudiences.spec.audience",
            "tokenissuers.spec.hallpass.issuerURL",
            "tokenrevocations.spec",
            "clustertokenrevocations.spec"
        ]
    );
}

/// The schemas of all kinds, with the kind in front of the path.
fn all_schemas() -> Vec<(String, Value)> {
    let of = |kind: &'static Kind| {
        let schemas = kind.schemas().into_iter();
        schemas.map(|(path, schema)| (format!("{}{path}", kind.plural), schema))
    };
    KINDS.iter().flat_map(of).collect()
}
