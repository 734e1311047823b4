//! What annotations say, and how one that says something else is refused.

use serde_json::json;

use super::super::fixture::{annotated, refusal, sidecar};

#[test]
fn the_user_is_a_number_that_is_not_roots() {
    for (text, number) in [
        ("1", 1),
        ("1000680000", 1_000_680_000),
        ("2147483647", 2_147_483_647),
    ] {
        let context = &sidecar(&annotated("hallpass.dev/run-as-user", text))["securityContext"];
        assert_eq!(context["runAsUser"], json!(number));
        assert_eq!(context["runAsGroup"], json!(number));
        assert_eq!(context["runAsNonRoot"], true);
    }
    for text in [
        "",
        "0",
        "00",
        "01",
        "+1",
        "-1",
        "1.0",
        "1e3",
        " 1",
        "2147483648",
        "99999999999",
        "root",
    ] {
        assert_eq!(
            refusal(&annotated("hallpass.dev/run-as-user", text)),
            format!(
                r#"annotation hallpass.dev/run-as-user must be a number from 1 to 2147483647, not "{text}""#
            )
        );
    }
}

#[test]
fn an_amount_is_a_quantity_above_0_of_at_most_32_characters() {
    for annotation in ["cpu-request", "memory-request", "cpu-limit", "memory-limit"] {
        let annotation = format!("hallpass.dev/{annotation}");
        for text in [
            "",
            "0",
            "0Mi",
            "-1",
            "1 ",
            "1K",
            "much",
            "00000000000000000000000000000000001",
        ] {
            assert_eq!(
                refusal(&annotated(&annotation, text)),
                format!(
                    r#"annotation {annotation} must be a quantity above 0 of at most 32 characters, not "{text}""#
                )
            );
        }
    }
}

#[test]
fn the_start_is_immediate_or_not_spoken_of() {
    assert_eq!(
        refusal(&annotated("hallpass.dev/start", "Later")),
        r#"annotation hallpass.dev/start must be "Immediate" or absent, not "Later""#
    );
}

#[test]
fn what_cannot_be_shown_is_not() {
    for text in ["a\nb", "ä", &"a".repeat(64)] {
        assert_eq!(
            refusal(&annotated("hallpass.dev/start", text)),
            r#"annotation hallpass.dev/start must be "Immediate" or absent"#
        );
    }
    let longest = "a".repeat(63);
    let seen = refusal(&annotated("hallpass.dev/start", &longest));
    assert!(seen.ends_with(&format!(r#", not "{longest}""#)), "{seen}");
}

#[test]
fn an_annotation_of_ours_that_means_nothing_is_named() {
    assert_eq!(
        refusal(&annotated("hallpass.dev/image", "evil")),
        "annotation hallpass.dev/image means nothing to Hallpass; a pod may have hallpass.dev/start, \
         hallpass.dev/run-as-user, hallpass.dev/cpu-request, hallpass.dev/cpu-limit, hallpass.dev/memory-request and \
         hallpass.dev/memory-limit"
    );
    sidecar(&annotated("hallpass.dev/service-account", "forged"));
    sidecar(&annotated("nothallpass.dev/image", "theirs"));
}
