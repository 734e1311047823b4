use super::*;

#[test]
fn t03_t04_t08_refuses_every_member_of_a_header_that_kubernetes_does_not_write() {
    let cluster = cluster();
    let own = Signer::es256("es256-key");
    let members = [
        json!({"jwk": own.jwk()}),
        json!({"x5c": ["MIIB"]}),
        json!({"jku": "http://127.0.0.1/keys"}),
        json!({"x5u": "http://127.0.0.1/keys"}),
        json!({"x5t": "AAAA"}),
        json!({"x5t#S256": "AAAA"}),
        json!({"crit": []}),
        json!({"crit": ["exp"]}),
        json!({"crit": ["alg"]}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"crit": ["b64"], "b64": true}),
        json!({"crit": ["unheard-of"], "unheard-of": 1}),
        json!({"crit": ["absent"]}),
        json!({"crit": [""]}),
        json!({"crit": null}),
        json!({"crit": "exp"}),
        json!({"crit": {}}),
        json!({"b64": true}),
        json!({"zip": "DEF"}),
        json!({"cty": "JWT"}),
        json!({"enc": "A128GCM"}),
        json!({"exp": END}),
        json!({"": 1}),
        json!({"Alg": "ES256"}),
        json!({"alg ": "ES256"}),
    ];
    for extra in members {
        for signer in [&cluster.es256, &own] {
            let mut header = signer.header();
            header
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            let token = signer.sign(header.to_string(), claims().to_string());
            assert_eq!(
                cluster.fault(&token),
                malformed(Flaw::UnknownHeader),
                "{extra}"
            );
        }
    }
    assert_eq!(cluster.header(&cluster.es256.header().to_string()), None);
}

#[test]
fn refuses_a_header_that_is_not_exactly_two_texts_and_a_type() {
    let cluster = cluster();
    for (header, flaw) in [
        (r#"["ES256","es256-key"]"#, Flaw::Json),
        (
            r#"{"alg":"ES256","alg":"ES256","kid":"es256-key"}"#,
            Flaw::Json,
        ),
        (
            r#"{"alg":"none","alg":"ES256","kid":"es256-key"}"#,
            Flaw::Json,
        ),
        (
            r#"{"alg":"ES256","kid":"other","kid":"es256-key"}"#,
            Flaw::Json,
        ),
        (
            r#"{"alg":"ES256","kid":"other","k\u0069d":"es256-key"}"#,
            Flaw::Json,
        ),
        (r#"{"alg":"ES256","kid":"es256-key"} "#, Flaw::Parts),
        (r#"{"kid":"es256-key"}"#, Flaw::Member("alg")),
        (r#"{"alg":null,"kid":"es256-key"}"#, Flaw::Member("alg")),
        (
            r#"{"alg":["ES256"],"kid":"es256-key"}"#,
            Flaw::Member("alg"),
        ),
        (r#"{"alg":"ES256"}"#, Flaw::Member("kid")),
        (r#"{"alg":"ES256","kid":null}"#, Flaw::Member("kid")),
        (r#"{"alg":"ES256","kid":7}"#, Flaw::Member("kid")),
        // T10: a token of another kind.
        (
            r#"{"alg":"ES256","kid":"es256-key","typ":"at+jwt"}"#,
            Flaw::Type,
        ),
        (
            r#"{"alg":"ES256","kid":"es256-key","typ":"dpop+jwt"}"#,
            Flaw::Type,
        ),
        (
            r#"{"alg":"ES256","kid":"es256-key","typ":"jwt"}"#,
            Flaw::Type,
        ),
        (
            r#"{"alg":"ES256","kid":"es256-key","typ":null}"#,
            Flaw::Type,
        ),
        (
            r#"{"alg":"ES256","kid":"es256-key","typ":["JWT"]}"#,
            Flaw::Type,
        ),
    ] {
        // White space around an object is JSON; the one case that is fine shows that the rest is not.
        let expected = (flaw != Flaw::Parts).then_some(Fault::Malformed(flaw));
        assert_eq!(cluster.header(header), expected, "{header}");
    }
}

#[test]
fn t05_a_kid_is_a_key_of_a_table_and_nothing_else() {
    let cluster = cluster();
    let long = "k".repeat(4000);
    for kid in [
        "",
        "../../../../dev/null",
        "/dev/null",
        "es256-key' OR '1'='1",
        "es256-key\0",
        "$(reboot)",
        "es256-key\r\nX: y",
        "ES256-KEY",
        "es256-key ",
        long.as_str(),
    ] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        assert_eq!(cluster.header(&header), Some(Fault::UnknownKey), "{kid:?}");
    }
}

#[test]
fn t12_refuses_every_second_spelling_of_a_token() {
    let cluster = cluster();
    let token = cluster.es256.token(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    for i in 0..3 {
        for lax in ["=", "==", " ", "\n", "+", "/", "\u{e9}"] {
            let mut padded = parts.clone();
            let part = format!("{}{lax}", parts[i]);
            padded[i] = &part;
            // The signature is over the second part as it is spelled, and is asked first.
            let expected = if i == 1 {
                Some(Fault::BadSignature)
            } else {
                malformed(Flaw::Base64)
            };
            assert_eq!(cluster.fault(&padded.join(".")), expected, "{i} {lax:?}");
        }
    }
    // The last symbol of 64 bytes carries four bits that belong to no byte.
    let (body, last) = token.split_at(token.len() - 1);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = alphabet
        .iter()
        .position(|&b| b == last.as_bytes()[0])
        .unwrap();
    for trailing in 1..16 {
        let twin = format!("{body}{}", char::from(alphabet[value | trailing]));
        assert_eq!(cluster.fault(&twin), malformed(Flaw::Base64), "{trailing}");
    }
    for (text, flaw) in [
        (String::new(), Flaw::Parts),
        (".".into(), Flaw::Parts),
        ("..".into(), Flaw::Json),
        (parts[..2].join("."), Flaw::Parts),
        (format!("{token}."), Flaw::Parts),
        (format!(".{token}"), Flaw::Parts),
        (format!(" {token}"), Flaw::Base64),
        (format!("Bearer {token}"), Flaw::Base64),
    ] {
        assert_eq!(cluster.fault(&text), malformed(flaw), "{text:?}");
    }
}

#[test]
fn t13_refuses_what_is_larger_than_any_token() {
    let cluster = cluster();
    assert_eq!(
        cluster.fault(&"a".repeat(1 << 20)),
        malformed(Flaw::TooLong)
    );
    let many = json!(vec!["audience"; 10_000]);
    assert_eq!(cluster.claim("/aud", Some(many)), malformed(Flaw::TooLong));
    let deep = format!("{}{}", "[".repeat(2500), "]".repeat(2500));
    let text = claims()
        .to_string()
        .replacen('{', &format!("{{\"deep\":{deep},"), 1);
    assert_eq!(cluster.claims(text), malformed(Flaw::Json));
    let padded = |length| cluster.claim("/pad", Some("x".repeat(length).into()));
    assert_eq!(padded(4000), None);
    assert_eq!(padded(6200), malformed(Flaw::TooLong));
}
