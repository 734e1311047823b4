use super::*;

#[test]
fn t09_refuses_times_that_are_no_whole_seconds() {
    let cluster = cluster();
    let wrong_times = [
        "null",
        "\"1790007200\"",
        "1790007200.0",
        "1790007200.5",
        "1.79e9",
        "-1",
        "true",
        "[1790007200]",
        "{}",
        "9223372036854775807",
        "9223372036854775808",
        "253402300800",
    ];
    for name in ["exp", "nbf", "iat"] {
        assert_eq!(cluster.claim(&format!("/{name}"), None), member(name));
        for time in wrong_times {
            let value = serde_json::from_str(time).unwrap();
            assert_eq!(
                cluster.claim(&format!("/{name}"), Some(value)),
                member(name),
                "{name} {time}"
            );
        }
    }
    let huge = claims().to_string().replace(&END.to_string(), "1e400");
    assert_eq!(cluster.claims(huge), malformed(Flaw::Json));
}

#[test]
fn t09_refuses_claims_of_another_type() {
    let cluster = cluster();
    for name in ["iss", "sub"] {
        let path = format!("/{name}");
        for value in [
            None,
            Some(json!(null)),
            Some(json!(7)),
            Some(json!([ISSUER])),
            Some(json!({})),
        ] {
            assert_eq!(
                cluster.claim(&path, value.clone()),
                member(name),
                "{name} {value:?}"
            );
        }
    }
    for aud in [
        json!(null),
        json!(7),
        json!({}),
        json!([AUDIENCE, 7]),
        json!([[AUDIENCE]]),
    ] {
        assert_eq!(
            cluster.claim("/aud", Some(aud.clone())),
            member("aud"),
            "{aud}"
        );
    }
    for value in [
        None,
        Some(json!(null)),
        Some(json!([])),
        Some(json!("shop")),
    ] {
        assert_eq!(
            cluster.claim("/kubernetes.io", value),
            member("kubernetes.io")
        );
    }
    assert_eq!(cluster.claims("[]"), malformed(Flaw::Json));
}

#[test]
fn t09_refuses_a_claim_that_occurs_twice_known_or_not() {
    let cluster = cluster();
    let text = claims().to_string();
    for (member, twice) in [
        (r#""iss":"#, r#""iss":"https://other.example","iss":"#),
        (r#""exp":"#, r#""exp":9999999999,"exp":"#),
        (r#""jti":"#, r#""j\u0074i":"a","jti":"#),
        (
            r#""namespace":"#,
            r#""namespace":"kube-system","namespace":"#,
        ),
        (r#""node":"#, r#""later":1,"later":2,"node":"#),
        (r#""iss":"#, r#""later":{"a":1,"a":2},"iss":"#),
    ] {
        assert!(text.contains(member), "{member}");
        assert_eq!(
            cluster.claims(text.replacen(member, twice, 1)),
            malformed(Flaw::Json),
            "{twice}"
        );
    }
    let more = text.replacen(r#""iss":"#, r#""later":{"a":1,"b":2},"iss":"#, 1);
    assert_eq!(cluster.claims(more), None);
}

#[test]
fn t11_compares_issuer_and_audience_whole() {
    let cluster = cluster();
    let slash = format!("{ISSUER}/");
    let prefix = &ISSUER[..ISSUER.len() - 1];
    let upper = ISSUER.to_uppercase();
    for iss in ["", prefix, &slash, &upper, "https://other.example"] {
        assert_eq!(
            cluster.claim("/iss", Some(iss.into())),
            Some(Fault::WrongIssuer),
            "{iss}"
        );
    }
    let long = format!("{AUDIENCE}-2");
    let short = &AUDIENCE[..AUDIENCE.len() - 1];
    let other = Some(Fault::WrongAudience);
    assert_eq!(cluster.claim("/aud", None), other);
    assert_eq!(cluster.claim("/aud", Some(json!([]))), other);
    for aud in [
        "",
        short,
        &long,
        "hallpass.dev",
        "HALLPASS.DEV/hallpass-system",
        "*",
    ] {
        assert_eq!(cluster.claim("/aud", Some(aud.into())), other, "{aud}");
        assert_eq!(
            cluster.claim("/aud", Some(json!([aud, "vault"]))),
            other,
            "{aud}"
        );
    }
    assert_eq!(cluster.claim("/aud", Some(AUDIENCE.into())), None);
    assert_eq!(
        cluster.claim("/aud", Some(json!(["vault", AUDIENCE]))),
        None
    );
}

#[test]
fn requires_a_pod_and_a_service_account_that_agree_with_the_subject() {
    let cluster = cluster();
    let pod = "/kubernetes.io/pod";
    assert_eq!(cluster.claim(pod, None), Some(Fault::NotPodBound));
    assert_eq!(cluster.claim(pod, Some(json!(null))), member("pod"));
    assert_eq!(
        cluster.claim(pod, Some(json!({"name": "orders-0"}))),
        member("uid")
    );
    assert_eq!(
        cluster.claim(pod, Some(json!({"uid": "u"}))),
        member("name")
    );
    let account = "/kubernetes.io/serviceaccount";
    assert_eq!(cluster.claim(account, None), member("serviceaccount"));
    assert_eq!(
        cluster.claim(&format!("{account}/uid"), None),
        member("uid")
    );
    for name in ["", "..", "a/b", "a:b", "%2e", "Orders", "a\r\nb"] {
        // T33, T38: a name is a name of its kind, or the token is none.
        assert_eq!(
            cluster.claim(&format!("{pod}/name"), Some(name.into())),
            member("name")
        );
        assert_eq!(
            cluster.claim(&format!("{account}/name"), Some(name.into())),
            member("name")
        );
        let namespace = cluster.claim("/kubernetes.io/namespace", Some(name.into()));
        assert_eq!(namespace, member("namespace"), "{name:?}");
    }
    for sub in [
        "",
        "shop:orders",
        "system:serviceaccount:shop:orders:x",
        "system:serviceaccount:shop:Orders",
    ] {
        assert_eq!(
            cluster.claim("/sub", Some(sub.into())),
            malformed(Flaw::Subject),
            "{sub}"
        );
    }
    let moved = cluster.claim("/kubernetes.io/namespace", Some("other".into()));
    assert_eq!(moved, malformed(Flaw::Subject));
}

#[test]
fn t41_gives_five_seconds_and_not_one_more() {
    let cluster = cluster();
    let token = cluster.es256.token(&claims());
    let half = SignedDuration::from_millis(500);
    let when = |now| match cluster.verify_at(&token, now) {
        Ok(_) => None,
        Err(Fault::Untimely { when, claims }) => {
            assert_eq!(claims.pod.as_str(), "orders-0");
            Some(when)
        }
        Err(other) => panic!("{other}"),
    };
    assert_eq!(when(at(START - 6)), Some(Untimely::Early));
    assert_eq!(when(at(START - 5) - half), Some(Untimely::Early));
    assert_eq!(when(at(START - 5)), None);
    assert_eq!(when(at(END)), None);
    assert_eq!(when(at(END + 5) - half), None);
    assert_eq!(when(at(END + 5)), Some(Untimely::Expired));
    assert_eq!(when(Timestamp::MIN), Some(Untimely::Early));
    assert_eq!(when(Timestamp::MAX), Some(Untimely::Expired));
}

#[test]
fn time_is_asked_last_so_that_it_alone_failed() {
    let cluster = cluster();
    let late = |path: &str, value: Option<Value>| {
        let token = cluster.es256.token(&changed(path, value));
        cluster.verify_at(&token, at(END + 3600)).err()
    };
    assert_eq!(
        late("/aud", Some("vault".into())),
        Some(Fault::WrongAudience)
    );
    assert_eq!(
        late("/iss", Some("https://other.example".into())),
        Some(Fault::WrongIssuer)
    );
    assert_eq!(late("/kubernetes.io/pod", None), Some(Fault::NotPodBound));
    assert_eq!(late("/sub", Some("x".into())), malformed(Flaw::Subject));
    assert_eq!(late("/nbf", None), member("nbf"));
}
