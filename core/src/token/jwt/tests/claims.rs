use jiff::SignedDuration;

use super::*;

#[test]
fn t09_refuses_times_that_are_no_whole_seconds() {
    let issuer = issuer();
    let wrong_times = [
        "null",
        "\"1790000900\"",
        "1790000900.0",
        "1790000900.5",
        "1.79e9",
        "-1",
        "true",
        "[1790000900]",
        "{}",
        "9223372036854775807",
        "9223372036854775808",
        "253402300800",
    ];
    for name in ["exp", "iat"] {
        assert_eq!(issuer.claim(&format!("/{name}"), None), member(name));
        for time in wrong_times {
            let value = serde_json::from_str(time).unwrap();
            let fault = issuer.claim(&format!("/{name}"), Some(value));
            assert_eq!(fault, member(name), "{name} {time}");
        }
    }
    let huge = access_json().to_string().replace(&END.to_string(), "1e400");
    assert_eq!(issuer.claims(huge), malformed(Flaw::Json));
}

#[test]
fn t09_refuses_other_than_two_numbers_of_what_the_issuer_knew() {
    let issuer = issuer();
    assert_eq!(issuer.claim("/hpe", Some(json!([0, u64::MAX]))), None);
    let wrong = [
        "null",
        "7",
        "[]",
        "[7]",
        "[7,8,9]",
        "[7,-1]",
        "[7,8.0]",
        "[7,\"8\"]",
        "[[7],8]",
        "{}",
    ];
    let wrong = wrong.map(|text| Some(serde_json::from_str(text).unwrap()));
    for value in wrong.into_iter().chain([None]) {
        assert_eq!(
            issuer.claim("/hpe", value.clone()),
            member("hpe"),
            "{value:?}"
        );
    }
}

#[test]
fn t09_refuses_claims_of_another_type() {
    let issuer = issuer();
    let other = |text: &str| {
        [
            None,
            Some(json!(null)),
            Some(json!(7)),
            Some(json!(true)),
            Some(json!([text])),
            Some(json!({})),
        ]
    };
    for (path, name) in [
        ("/iss", "iss"),
        ("/sub", "sub"),
        ("/aud", "aud"),
        ("/jti", "jti"),
        ("/client_id", "client_id"),
        ("/scope", "scope"),
        ("/hpp", "hpp"),
        ("/kubernetes.io/namespace", "namespace"),
        ("/kubernetes.io/serviceaccount/name", "name"),
        ("/kubernetes.io/serviceaccount/uid", "uid"),
        ("/kubernetes.io/pod/name", "name"),
        ("/kubernetes.io/pod/uid", "uid"),
    ] {
        for value in other("a") {
            let fault = issuer.claim(path, value.clone());
            assert_eq!(fault, member(name), "{path} {value:?}");
        }
    }
    for (path, name) in [
        ("/kubernetes.io", "kubernetes.io"),
        ("/kubernetes.io/serviceaccount", "serviceaccount"),
        ("/kubernetes.io/pod", "pod"),
    ] {
        for value in [None, Some(json!(null)), Some(json!([])), Some(json!("a"))] {
            let fault = issuer.claim(path, value.clone());
            assert_eq!(fault, member(name), "{path} {value:?}");
        }
    }
    for (path, name, text) in [
        ("/jti", "jti", "a b"),
        ("/jti", "jti", &"j".repeat(65)),
        ("/client_id", "client_id", ""),
        ("/client_id", "client_id", "a b"),
        ("/scope", "scope", ""),
        ("/scope", "scope", " a"),
        ("/scope", "scope", "a  b"),
        ("/scope", "scope", "payments:*"),
        ("/kubernetes.io/namespace", "namespace", "a.b"),
        ("/kubernetes.io/pod/name", "name", "../a"),
        ("/kubernetes.io/pod/uid", "uid", ""),
    ] {
        assert_eq!(
            issuer.claim(path, Some(text.into())),
            member(name),
            "{text}"
        );
    }
    assert_eq!(issuer.claims("[]"), malformed(Flaw::Json));
}

#[test]
fn t09_refuses_a_claim_that_occurs_twice() {
    let issuer = issuer();
    let text = access_json().to_string();
    for (member, twice) in [
        (r#""iss":"#, r#""iss":"https://other.example","iss":"#),
        (r#""exp":"#, r#""exp":9999999999,"exp":"#),
        (r#""scope":"#, r#""sc\u006fpe":"a","scope":"#),
        (
            r#""namespace":"#,
            r#""namespace":"kube-system","namespace":"#,
        ),
        (r#""team":"#, r#""team":"root","team":"#),
    ] {
        assert!(text.contains(member), "{member}");
        let fault = issuer.claims(text.replacen(member, twice, 1));
        assert_eq!(fault, malformed(Flaw::Json), "{twice}");
    }
}

#[test]
fn t09_refuses_a_claim_that_is_never_written() {
    let issuer = issuer();
    for (name, value) in [
        ("nbf", json!(START)),
        ("nbf", json!("a")),
        ("act", json!({"sub": "a"})),
        ("cnf", json!({"jkt": "a"})),
        ("groups", json!("system:masters")),
        ("hp_chain", json!("a")),
        ("hallpass.dev", json!("a")),
        ("", json!("a")),
        ("a b", json!("a")),
        ("team", json!(7)),
        ("team", json!(null)),
        ("team", json!(["payments"])),
        ("team", json!({})),
    ] {
        let fault = issuer.claim(&format!("/{name}"), Some(value));
        assert_eq!(fault, malformed(Flaw::UnknownClaim), "{name}");
    }
    for path in [
        "/kubernetes.io/node",
        "/kubernetes.io/warnafter",
        "/kubernetes.io/serviceaccount/x",
        "/kubernetes.io/pod/x",
    ] {
        let fault = issuer.claim(path, Some("a".into()));
        assert_eq!(fault, malformed(Flaw::UnknownClaim), "{path}");
    }
    let mut many = access_json();
    for n in 0..15 {
        many[format!("c{n}")] = "x".into();
    }
    let fault = issuer.claims(many.to_string());
    assert_eq!(fault, malformed(Flaw::UnknownClaim));
    assert_eq!(issuer.claim("/added", Some("".into())), None);
}

#[test]
fn t11_compares_issuer_and_audience_whole() {
    let issuer = issuer();
    let around = |text: &str| {
        let short = &text[..text.len() - 1];
        let upper = text.to_uppercase();
        let longer = format!("{text}/");
        let later = format!(" {text}");
        [
            String::new(),
            short.into(),
            longer,
            later,
            upper,
            "*".into(),
        ]
    };
    for iss in around(HALLPASS) {
        let fault = issuer.claim("/iss", Some(iss.as_str().into()));
        assert_eq!(fault, Some(Fault::WrongIssuer), "{iss}");
    }
    for aud in around(AUDIENCE) {
        let fault = issuer.claim("/aud", Some(aud.as_str().into()));
        assert_eq!(fault, Some(Fault::WrongAudience), "{aud}");
    }
    // One audience, and never a list of one: that is not what is written.
    for aud in [json!([AUDIENCE]), json!([]), json!(["other", AUDIENCE])] {
        assert_eq!(issuer.claim("/aud", Some(aud)), member("aud"));
    }
}

#[test]
fn t11_an_audience_of_hallpass_itself_is_never_that_of_an_access_token() {
    let issuer = issuer();
    let header = issuer.with("typ", "at+jwt".into()).to_string();
    let claims = changed("/aud", Some("hallpass.dev/x".into())).to_string();
    let token = Secret::new(issuer.es256.sign(header, claims));
    let expected = Expected {
        issuer: HALLPASS,
        audience: "hallpass.dev/x",
    };
    let fault = verify(&issuer.keys, &token, &expected, at(START)).err();
    assert_eq!(fault, member("aud"));
}

#[test]
fn the_subject_is_the_service_account() {
    let issuer = issuer();
    for sub in [
        "",
        "shop:orders",
        "system:serviceaccount:shop:orders:x",
        "system:serviceaccount:shop:Orders",
        "system:serviceaccount:other:orders",
        "spiffe:///ns/shop/sa/orders",
        "spiffe://prod.example/ns/shop/sa/order",
        "spiffe://prod.example/ns/other/sa/orders",
        "spiffe://prod.example/x/ns/shop/sa/orders",
        "spiffe://Prod.example/ns/shop/sa/orders",
        "spiffe://prod.example",
        "SPIFFE://prod.example/ns/shop/sa/orders",
    ] {
        let fault = issuer.claim("/sub", Some(sub.into()));
        assert_eq!(fault, malformed(Flaw::Subject), "{sub}");
    }
    let spiffe = "spiffe://prod.example/ns/shop/sa/orders";
    assert_eq!(issuer.claim("/sub", Some(spiffe.into())), None);
    let moved = issuer.claim("/kubernetes.io/namespace", Some("other".into()));
    assert_eq!(moved, malformed(Flaw::Subject));
}

#[test]
fn no_token_was_made_for_more_than_an_hour() {
    let issuer = issuer();
    let life = |seconds: i64| issuer.claim("/exp", Some((START + seconds).into()));
    assert_eq!(life(3600), None);
    assert_eq!(life(3601), malformed(Flaw::Lifetime));
    assert_eq!(life(0), malformed(Flaw::Lifetime));
    assert_eq!(life(1), Some(Fault::Expired));
    assert_eq!(life(-1), malformed(Flaw::Lifetime));
    let begun = |second: i64| issuer.claim("/iat", Some(second.into()));
    assert_eq!(begun(0), malformed(Flaw::Lifetime));
    // RFC 7519 §4.1.6: no start of validity.
    assert_eq!(begun(START + 600), None);
}

#[test]
fn t41_gives_five_seconds_and_not_one_more() {
    let issuer = issuer();
    let token = sign(&issuer.es256.key(), &access()).unwrap();
    let fault = |now| issuer.verify_at(token.expose(), now).err();
    let nanosecond = SignedDuration::from_nanos(1);
    assert_eq!(fault(at(END)), None);
    assert_eq!(fault(at(END + 4)), None);
    assert_eq!(fault(at(END + 5) - nanosecond), None);
    assert_eq!(fault(at(END + 5)), Some(Fault::Expired));
    assert_eq!(fault(at(END + 6)), Some(Fault::Expired));
    assert_eq!(fault(Timestamp::MAX), Some(Fault::Expired));
    assert_eq!(fault(Timestamp::MIN), None);
}

#[test]
fn time_is_asked_last_so_that_it_alone_failed() {
    let issuer = issuer();
    let header = issuer.with("typ", "at+jwt".into()).to_string();
    let late = |path: &str, value: Option<Value>| {
        let token = issuer.es256.sign(&header, changed(path, value).to_string());
        issuer.verify_at(&token, at(END + 3600)).err()
    };
    assert_eq!(late("/iss", Some("x".into())), Some(Fault::WrongIssuer));
    assert_eq!(late("/aud", Some("x".into())), Some(Fault::WrongAudience));
    assert_eq!(late("/sub", Some("x".into())), malformed(Flaw::Subject));
    assert_eq!(late("/scope", None), member("scope"));
    assert_eq!(late("/iat", Some(0.into())), malformed(Flaw::Lifetime));
    assert_eq!(late("/nbf", Some(0.into())), malformed(Flaw::UnknownClaim));
    assert_eq!(late("/added", Some("x".into())), Some(Fault::Expired));
}
