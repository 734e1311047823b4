use std::time::Duration;

use super::{
    super::certificate::{LIVES, serving},
    *,
};

pub(in crate::tls) const DNS: &str = "hallpass.hallpass-system.svc";

pub(in crate::tls) fn now() -> Timestamp {
    "2026-07-01T00:00:00Z".parse().unwrap()
}

pub(in crate::tls) fn made(now: Timestamp) -> Data {
    Content::first(&[DNS.into()], LIVES, now).unwrap().data()
}

fn parse(data: &Data, now: Timestamp) -> Result<Option<Material>, Fault> {
    Material::parse(data, &[DNS.into()], now)
}

fn with(mut data: Data, key: &str, value: &[u8]) -> Data {
    data.insert(key.into(), Secret::new(value.to_vec()));
    data
}

#[test]
fn what_was_made_is_accepted() {
    let material = parse(&made(now()), now()).unwrap().unwrap();
    assert_eq!(
        material.serving_until(),
        now() + Duration::from_secs(90 * 24 * 3600)
    );
}

#[test]
fn a_secret_without_data_is_empty_and_not_broken() {
    assert!(parse(&Data::new(), now()).unwrap().is_none());
    assert!(
        parse(&with(Data::new(), "other", b"x"), now())
            .unwrap()
            .is_none()
    );
    assert!(
        parse(&with(Data::new(), TLS_KEY, b""), now())
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_serving_certificate_past_its_time_can_still_be_read() {
    let later = now() + Duration::from_secs(200 * 24 * 3600);
    assert!(parse(&made(now()), later).unwrap().is_some());
}

#[test]
fn every_part_is_needed() {
    for key in KEYS {
        let mut data = made(now());
        data.remove(key);
        let fault = parse(&data, now()).unwrap_err();
        assert!(
            matches!(fault, Fault::Incomplete(k) if k == key),
            "{key}: {fault:?}"
        );
    }
}

#[test]
fn garbage_is_told_by_its_key() {
    for key in KEYS {
        let fault = parse(&with(made(now()), key, b"\xff"), now()).unwrap_err();
        assert!(
            matches!(fault, Fault::NotText { key: k, .. } if k == key),
            "{key}: {fault:?}"
        );
        let fault = parse(&with(made(now()), key, b"garbage"), now()).unwrap_err();
        assert!(
            matches!(fault, Fault::NotPem { key: k, .. } if k == key),
            "{key}: {fault:?}"
        );
    }
}

#[test]
fn parts_of_two_secrets_do_not_fit() {
    let (one, other) = (made(now()), made(now()));
    let take = |key: &str| other.get(key).unwrap().expose().clone();
    let fault = parse(&with(one.clone(), TLS_KEY, &take(TLS_KEY)), now()).unwrap_err();
    assert!(
        matches!(fault, Fault::WrongKey { key: TLS_KEY, .. }),
        "{fault:?}"
    );
    let fault = parse(&with(one.clone(), CA_KEY, &take(CA_KEY)), now()).unwrap_err();
    assert!(
        matches!(fault, Fault::WrongKey { key: CA_KEY, .. }),
        "{fault:?}"
    );
    let both = with(with(one, CA_KEY, &take(CA_KEY)), CA_CRT, &take(CA_CRT));
    let fault = parse(&both, now()).unwrap_err();
    assert!(matches!(fault, Fault::NotAccepted(_)), "{fault:?}");
}

#[test]
fn a_certificate_for_another_name_is_not_accepted() {
    let fault = Material::parse(&made(now()), &["other.svc".into()], now()).unwrap_err();
    assert!(matches!(fault, Fault::NotAccepted(_)), "{fault:?}");
}

#[test]
fn nothing_of_a_key_is_in_what_is_printed() {
    let data = made(now());
    let material = parse(&data, now()).unwrap().unwrap();
    let key = std::str::from_utf8(data[CA_KEY].expose())
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .to_owned();
    assert!(!format!("{data:?} {material:?}").contains(&key));
}

fn dns() -> [String; 1] {
    [DNS.into()]
}

fn after(data: &Data, step: Step, now: Timestamp) -> Data {
    let material = parse(data, now).unwrap().unwrap();
    material.after(step, &dns(), LIVES, now).unwrap().data()
}

fn later(days: u64) -> Timestamp {
    now() + Duration::from_secs(days * 24 * 3600)
}

fn bundle(data: &Data) -> String {
    parse(data, now()).unwrap().unwrap().bundle()
}

#[test]
fn f12_the_bundle_is_the_same_whichever_ca_signs() {
    let first = made(now());
    let prepared = after(&first, Step::Prepare, later(1826));
    let activated = after(&prepared, Step::Activate, later(1828));
    assert_eq!(bundle(&prepared), bundle(&activated));
    assert!(bundle(&prepared).starts_with(&bundle(&first)));
    assert_eq!(bundle(&prepared).matches("BEGIN").count(), 2);
    let serving = |data| parse(data, now()).unwrap().unwrap().serving().cert.clone();
    assert_eq!(serving(&first), serving(&prepared));
    assert_ne!(serving(&first), serving(&activated));
}

#[test]
fn f12_the_key_of_a_former_ca_is_kept_nowhere_and_the_ca_until_its_end() {
    let first = made(now());
    let prepared = after(&first, Step::Prepare, later(1826));
    let activated = after(&prepared, Step::Activate, later(1828));
    let former = text(&first, CA_KEY).unwrap();
    assert!(
        KEYS.iter()
            .all(|key| text(&activated, key).unwrap() != former)
    );
    assert_eq!(
        text(&activated, CA_KEY).unwrap(),
        text(&prepared, NEXT_KEY).unwrap()
    );
    assert_eq!(activated.len(), 4);
    let forgotten = after(&activated, Step::Forget, later(3650));
    let own = text(&prepared, NEXT_CRT).unwrap();
    assert_eq!(text(&forgotten, CA_CRT).unwrap(), own);
    let kept = after(&activated, Step::Forget, later(3649));
    assert_eq!(
        text(&kept, CA_CRT).unwrap(),
        text(&activated, CA_CRT).unwrap()
    );
}

#[test]
fn f12_what_is_noted_of_the_next_ca_is_read_again() {
    let prepared = after(&made(now()), Step::Prepare, later(1826));
    let shown = |data| {
        parse(data, now())
            .unwrap()
            .unwrap()
            .scene()
            .next
            .unwrap()
            .shown
    };
    assert_eq!(shown(&prepared), None);
    let noted = after(&prepared, Step::Show, later(1827));
    assert_eq!(shown(&noted), Some(later(1827)));
    assert_eq!(shown(&after(&noted, Step::Hide, later(1827))), None);
}

#[test]
fn f18_the_version_before_serves_renews_and_publishes_what_is_there() {
    let prepared = after(&made(now()), Step::Prepare, later(1826));
    let activated = after(&prepared, Step::Activate, later(1828));
    for data in [prepared, activated] {
        // It knows four entries, takes all of ca.crt for its CA, and signs with the first one in it.
        let whole = Pair {
            certificate: text(&data, CA_CRT).unwrap().to_owned(),
            key: Secret::new(text(&data, CA_KEY).unwrap().to_owned()),
        };
        let roots = certificates(CA_CRT, &whole.certificate).unwrap();
        let life = validity(CA_CRT, roots.first()).unwrap();
        let leaf = serving(&whole, life, &dns(), LIVES.serving, later(1829)).unwrap();
        let mut written = data.clone();
        written.retain(|key, _| KEYS.contains(&&**key));
        let written = with(written, TLS_CRT, leaf.certificate.as_bytes());
        let written = with(written, TLS_KEY, leaf.key.expose().as_bytes());
        let read = parse(&written, later(1829)).unwrap().unwrap();
        assert_eq!(read.content.current.pair.certificate, check::pem(&roots[0]));
        assert!(read.scene().next.is_none());
    }
}

#[test]
fn f18_what_a_version_without_cross_certificates_renews_is_accepted_by_those_who_know_its_ca() {
    let first = made(now());
    let prepared = after(&first, Step::Prepare, later(1826));
    let activated = after(&prepared, Step::Activate, later(1828));
    let leaf = parse(&activated, now()).unwrap().unwrap().content.leaf;
    let renewed = with(activated.clone(), TLS_CRT, leaf.certificate.as_bytes());
    // The key that would have to sign another one is gone since the CA changed.
    let again = after(&renewed, Step::Renew, later(1900));
    for data in [&renewed, &again] {
        accepted_by_those_who_know(&activated, data, later(1900)).unwrap();
        let fault = accepted_by_those_who_know(&first, data, later(1900)).unwrap_err();
        assert!(matches!(fault, Fault::NotAccepted(_)), "{fault:?}");
    }
    // The next CA is vouched for as ever.
    let replaced = after(&again, Step::Replace, later(5500));
    accepted_by_those_who_know(&again, &replaced, later(5500)).unwrap();
}

#[test]
fn a_next_ca_that_somebody_broke_is_told() {
    let prepared = after(&made(now()), Step::Prepare, later(1826));
    let prepared = after(&prepared, Step::Show, later(1826));
    for (key, value, expected) in [
        (NEXT_CRT, &b""[..], "it has no next.crt"),
        (NEXT_KEY, b"", "it has no next.key"),
        (NEXT_KEY, b"garbage", "its next.key is not PEM"),
        (NEXT_SHOWN, b"soon", "its next.shown is no time"),
    ] {
        let fault = parse(&with(prepared.clone(), key, value), now()).unwrap_err();
        assert_eq!(fault.to_string(), expected);
    }
}

#[test]
fn a_certificate_is_written_as_it_was_made() {
    let text = Content::first(&dns(), LIVES, now())
        .unwrap()
        .current
        .pair
        .certificate;
    let roots = certificates(CA_CRT, &text).unwrap();
    assert_eq!(check::pem(&roots[0]), text);
}

/// Whether somebody who trusts the CA of `before` alone accepts what is served by `after`.
fn accepted_by_those_who_know(before: &Data, after: &Data, now: Timestamp) -> Result<(), Fault> {
    let known = certificates(CA_CRT, text(before, CA_CRT).unwrap()).unwrap();
    let served = parse(after, now).unwrap().unwrap();
    accepted(known, served.serving(), &dns(), now)
}

#[test]
fn f12_who_knows_the_ca_before_alone_accepts_what_its_successor_signed() {
    let first = made(now());
    let prepared = after(&first, Step::Prepare, later(1826));
    let activated = after(&prepared, Step::Activate, later(1828));
    let renewed = after(&activated, Step::Renew, later(5000));
    let replaced = after(&first, Step::Replace, later(3651));
    for (data, day) in [
        (&activated, 1828),
        (&renewed, 5000),
        (&replaced, 3651),
        // as long as the serving certificate itself
        (&replaced, 3740),
    ] {
        accepted_by_those_who_know(&first, data, later(day)).unwrap();
    }
    let another = made(later(3651));
    let fault = accepted_by_those_who_know(&first, &another, later(3651)).unwrap_err();
    assert!(matches!(fault, Fault::NotAccepted(_)), "{fault:?}");
}

#[test]
fn f12_one_cross_certificate_is_served_and_names_the_ca_before() {
    let first = made(now());
    let second = after(&first, Step::Replace, later(3651));
    let third = after(&second, Step::Replace, later(3651 * 2));
    let serving = |data| parse(data, now()).unwrap().unwrap().serving().cert.len();
    assert_eq!(
        (serving(&first), serving(&second), serving(&third)),
        (1, 2, 2)
    );
    let day = later(3651 * 2);
    accepted_by_those_who_know(&second, &third, day).unwrap();
    let fault = accepted_by_those_who_know(&first, &third, day).unwrap_err();
    assert!(matches!(fault, Fault::NotAccepted(_)), "{fault:?}");
}

#[test]
fn f12_no_cross_certificate_is_published() {
    let activated = after(
        &after(&made(now()), Step::Prepare, later(1826)),
        Step::Activate,
        later(1828),
    );
    let served = text(&activated, TLS_CRT).unwrap();
    assert_eq!(served.matches("BEGIN").count(), 2);
    assert_eq!(bundle(&activated).matches("BEGIN").count(), 2);
}
