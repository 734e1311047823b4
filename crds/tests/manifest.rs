//! What the printed CRD promises: the copies are current, everything is bounded and explained, and
//! no value means two things.

use std::{collections::BTreeSet, fs};

use hallpass_crds::manifest;
use serde_json::Value;

#[test]
fn the_copies_beside_the_types_and_in_the_chart_are_current() {
    for path in manifest::paths() {
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == manifest::token_policies(),
            "{} differs from the types: run `cargo run -p hallpass-crds`",
            path.display()
        );
    }
}

/// `kubectl apply` keeps a copy in an annotation, and annotations end at 256 KiB.
#[test]
fn the_crd_is_smaller_than_200_kb() {
    assert!(manifest::token_policies().len() < 200 * 1024);
}

#[test]
fn helm_finds_nothing_to_evaluate() {
    assert!(!manifest::token_policies().contains("{{"));
}

#[test]
fn helm_keeps_the_crd_and_with_it_all_policies() {
    assert_eq!(
        crd()["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
}

#[test]
fn kubectl_finds_it_by_group_short_name_and_category() {
    let spec = &crd()["spec"];
    assert_eq!(spec["group"], "hallpass.dev");
    assert_eq!(spec["scope"], "Namespaced");
    assert_eq!(spec["names"]["plural"], "tokenpolicies");
    assert_eq!(spec["names"]["shortNames"], serde_json::json!(["htp"]));
    assert_eq!(spec["names"]["categories"], serde_json::json!(["hallpass"]));
    assert_eq!(
        version()["subresources"]["status"],
        serde_json::json!({}),
        "who may write a policy may not write its status"
    );
}

#[test]
fn kubectl_get_prints_tokens_ready_pods_age_and_in_wide_the_reason() {
    let version = version();
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["priority"].as_i64()))
        .collect();
    assert_eq!(
        columns,
        [
            ("Tokens", None),
            ("Ready", None),
            ("Reason", Some(1)),
            ("Pods", None),
            ("Age", None)
        ]
    );
}

#[test]
fn every_list_text_and_map_is_bounded() {
    let unbounded: Vec<String> = schemas()
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
    for (path, schema) in schemas() {
        if schema["type"] == "array" {
            assert!(schema.get("x-kubernetes-list-type").is_some(), "{path}");
        }
    }
}

#[test]
fn no_value_is_defaulted_or_null() {
    for (path, schema) in schemas() {
        assert_eq!(schema.get("default"), None, "{path}");
        assert_eq!(schema.get("nullable"), None, "{path}");
    }
}

#[test]
fn numbers_have_formats_that_the_api_server_knows() {
    for (path, schema) in schemas() {
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
    for (path, schema) in schemas() {
        let field = !path.ends_with(']') && !path.ends_with('}');
        let text = schema["description"].as_str().unwrap_or_default();
        assert!(!field || text.ends_with('.'), "{path}: {text:?}");
    }
}

#[test]
fn every_rule_answers_with_a_sentence_on_one_line() {
    let mut rules = 0;
    for (path, schema) in schemas() {
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
    assert_eq!(rules, 15);
}

#[test]
fn only_what_is_honoured_can_be_written() {
    let written: BTreeSet<String> = schemas()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with(".spec."))
        .collect();
    let honoured = [
        ".spec.subjects",
        ".spec.subjects[]",
        ".spec.subjects[].podSelector",
        ".spec.subjects[].podSelector.matchLabels",
        ".spec.subjects[].podSelector.matchLabels{}",
        ".spec.subjects[].serviceAccount",
        ".spec.tokens",
        ".spec.tokens[]",
        ".spec.tokens[].containers",
        ".spec.tokens[].containers[]",
        ".spec.tokens[].kubernetesAudience",
        ".spec.tokens[].lifetime",
        ".spec.tokens[].name",
        ".spec.tokens[].required",
    ];
    assert_eq!(written, honoured.map(String::from).into());
}

#[expect(clippy::unwrap_used, reason = "the whole test is about this text")]
fn crd() -> Value {
    serde_saphyr::from_str(&manifest::token_policies()).unwrap()
}

fn version() -> Value {
    crd()["spec"]["versions"][0].clone()
}

/// Every schema of the CRD with its path: `[]` is an item, `{}` a value of a map.
fn schemas() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut open = vec![(
        String::new(),
        version()["schema"]["openAPIV3Schema"].clone(),
    )];
    while let Some((path, schema)) = open.pop() {
        let fields = schema.get("properties").and_then(Value::as_object);
        for (name, field) in fields.into_iter().flatten() {
            open.push((format!("{path}.{name}"), field.clone()));
        }
        for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let Some(inner) = schema.get(key) {
                open.push((format!("{path}{suffix}"), inner.clone()));
            }
        }
        found.push((path, schema));
    }
    assert!(found.len() > 25, "the walk found {} schemas", found.len());
    found
}
