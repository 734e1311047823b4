use hallpass_crds::token_issuer::{KeyState, TokenIssuer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{
    controller::{
        fixture::{LATER, NOON, issuer, key, time, two_keys},
        status::reported,
    },
    index::Index,
};

const URL: &str = "https://hallpass.example";

/// What the status of the issuer `hallpass` among those should be.
fn said(issuers: &[TokenIssuer], keys: Option<IssuerKeys>, url: &str) -> TokenIssuerStatus {
    again(issuers, keys, url, NOON, None)
}

fn again(
    issuers: &[TokenIssuer],
    keys: Option<IssuerKeys>,
    chart_url: &str,
    now: &str,
    old: Option<&TokenIssuerStatus>,
) -> TokenIssuerStatus {
    let index = Index::filled(vec![], vec![], vec![]);
    index.allow(vec![], issuers.to_vec(), vec![]);
    let snapshot = index.snapshot().unwrap();
    let record = &snapshot.issuers()[NAME];
    let two = |issuer| two_keys(issuer, time(now));
    let there = record.spec.as_ref().ok().map(|issuer| two(issuer));
    let view = View {
        audiences: &snapshot.rules().audiences,
        keys: keys.or(there).unwrap_or_default(),
        chart_url,
    };
    desired(record, &view, time(now), old)
}

fn summary(status: &TokenIssuerStatus) -> String {
    let c = reported(status).unwrap();
    format!("{} {}: {}", c.status, c.reason, c.message)
}

fn annotated(annotations: &[(&str, &str)]) -> [TokenIssuer; 1] {
    let mut issuer = issuer("hallpass");
    let annotations = annotations.iter();
    let annotations = annotations.map(|(k, v)| (format!("hallpass.dev/{k}"), (*v).to_owned()));
    issuer.metadata.annotations = Some(annotations.collect());
    [issuer]
}

#[test]
fn an_issuer_with_keys_is_ready_and_tells_them() {
    let status = said(&[issuer("hallpass")], None, URL);
    assert_eq!(summary(&status), "True Ready: tokens can be made");
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.issuer_id.as_ref().unwrap().len(), 8);
    assert_eq!(
        status.jwks_uri.as_deref(),
        Some("https://hallpass.example/jwks")
    );
    let keys: Vec<_> = status.keys.iter().map(|k| (&*k.key_id, k.state)).collect();
    assert_eq!(keys, [("a", KeyState::Active), ("b", KeyState::Next)]);
    assert_eq!(status.keys[0].algorithm, KeyAlgorithm::Es256);
    let active = time("2026-10-15T00:00:00Z");
    assert_eq!(status.last_rotation, Some(Time(active)));
    assert_eq!(
        status.next_rotation,
        Some(Time(time("2026-11-14T00:00:00Z")))
    );
}

#[test]
fn an_issuer_without_a_key_that_signs_is_not_ready() {
    let next = IssuerKeys {
        keys: vec![key("b", KeyState::Next, NOON, None)],
        next_rotation: None,
    };
    for (keys, count) in [(IssuerKeys::default(), 0), (next, 1)] {
        let status = said(&[issuer("hallpass")], Some(keys), URL);
        assert_eq!(
            summary(&status),
            "False IssuerNotReady: there is no key that signs yet"
        );
        assert_eq!((status.keys.len(), status.last_rotation), (count, None));
    }
}

#[test]
fn what_is_wrong_with_an_issuer_is_said() {
    let mut wrong = issuer("hallpass");
    wrong.spec.hallpass.issuer_url = "http://hallpass.example".to_owned();
    let status = said(&[wrong], None, URL);
    let text = summary(&status);
    assert!(
        text.starts_with("False Invalid: spec.hallpass.issuerURL must be an https URL"),
        "{text}"
    );
    assert_eq!((status.jwks_uri, status.keys.len()), (None, 0));

    let mut older = issuer("a");
    older.spec.hallpass.issuer_url = URL.to_owned();
    let status = said(&[issuer("hallpass"), older], None, URL);
    assert_eq!(
        summary(&status),
        "False Conflict: the older TokenIssuer \"a\" has the same issuerURL"
    );
    // The keys are the other one's.
    assert_eq!((status.keys.len(), status.next_rotation), (0, None));
}

#[test]
fn an_annotation_that_is_no_time_is_named_and_takes_nothing_away() {
    let status = said(&annotated(&[("rotate", "soon")]), None, URL);
    assert_eq!(
        summary(&status),
        "True Ready: tokens can be made; the annotation hallpass.dev/rotate asks for nothing, since it is no \
         time such as 2026-11-26T12:00:00Z"
    );
}

/// Four keys, of which one goes at 11:00, and the rotation at that time.
fn full() -> IssuerKeys {
    IssuerKeys {
        keys: vec![
            key(
                "a",
                KeyState::Retired,
                "2026-11-01T10:00:00Z",
                Some("2026-11-01T11:00:00Z"),
            ),
            key(
                "b",
                KeyState::Retired,
                "2026-11-01T10:30:00Z",
                Some("2026-11-01T11:30:00Z"),
            ),
            key("c", KeyState::Active, "2026-11-01T10:30:00Z", None),
            key("d", KeyState::Next, "2026-11-01T10:30:00Z", None),
        ],
        next_rotation: Some(time("2026-11-01T11:00:00Z")),
    }
}

#[test]
fn a_rotation_that_waits_says_for_what_and_until_when() {
    let asked = |at| annotated(&[("rotate", at)]);
    let soon = |at| IssuerKeys {
        keys: full().keys.split_off(1),
        next_rotation: Some(time(at)),
    };
    let prefix = "True Ready: tokens can be made";
    let what = "; the rotation that hallpass.dev/rotate asks for waits until";
    let unread = IssuerKeys {
        next_rotation: None,
        ..full()
    };
    let cases = [
        // It happened already.
        (
            "2026-11-01T10:30:00Z",
            soon("2026-11-14T00:00:00Z"),
            String::new(),
        ),
        (
            "2026-11-01T10:40:00Z",
            full(),
            format!(
                "{what} 2026-11-01T11:00:00Z, when a retired key goes: there are never more than 4"
            ),
        ),
        (
            "2026-11-01T10:40:00Z",
            soon("2026-11-01T11:30:00Z"),
            format!("{what} 2026-11-01T11:30:00Z, when every verifier knows the next key"),
        ),
        (
            "2026-11-02T00:00:00Z",
            soon("2026-11-02T00:00:00Z"),
            format!("{what} 2026-11-02T00:00:00Z, the time that it names"),
        ),
        (
            "2026-11-01T10:40:00Z",
            unread,
            format!(
                "{what} keys that cannot be read are gone: they take the place of the next one"
            ),
        ),
    ];
    for (at, keys, expected) in cases {
        let status = said(&asked(at), Some(keys), URL);
        assert_eq!(summary(&status), format!("{prefix}{expected}"));
    }
}

#[test]
fn an_emergency_rotation_of_a_later_time_says_so() {
    let status = said(&annotated(&[("rotate-now", LATER)]), None, URL);
    assert_eq!(
        summary(&status),
        "True Ready: tokens can be made; the rotation that hallpass.dev/rotate-now asks for waits until \
         2026-11-01T13:00:00Z, the time that it names"
    );
}

#[test]
fn another_url_in_the_chart_is_said_of_the_charts_issuer() {
    let status = said(&[issuer("hallpass")], None, "https://new.example");
    assert_eq!(
        summary(&status),
        "True Ready: tokens can be made; the chart says the URL https://new.example, but this TokenIssuer \
         keeps https://hallpass.example, which cannot be changed"
    );
}

#[test]
fn what_is_said_already_is_said_again_unchanged() {
    let issuers = annotated(&[("rotate", "2026-11-01T10:40:00Z")]);
    let first = said(&issuers, Some(full()), URL);
    let later = again(&issuers, Some(full()), URL, LATER, Some(&first));
    assert_eq!(later, first);
    let none = Some(IssuerKeys::default());
    let turned = again(&issuers, none, URL, LATER, Some(&first));
    assert_eq!(
        reported(&turned).unwrap().last_transition_time.0,
        time(LATER)
    );
}
