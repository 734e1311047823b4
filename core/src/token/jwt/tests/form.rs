use super::*;

#[test]
fn t03_t08_refuses_every_member_of_a_header_that_is_never_written() {
    let issuer = issuer();
    let own = Signer::es256(&issuer.es256.kid);
    let members = [
        ("jwk", own.jwk()),
        ("x5c", json!(["MIIB"])),
        ("jku", json!("http://127.0.0.1/keys")),
        ("x5u", json!("http://127.0.0.1/keys")),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["alg"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["absent"])),
        ("crit", json!([""])),
        ("crit", json!(null)),
        ("crit", json!("exp")),
        ("crit", json!({})),
        ("b64", json!(true)),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A128GCM")),
        ("exp", json!(END)),
        ("", json!(1)),
        ("Alg", json!("ES256")),
        ("alg ", json!("ES256")),
    ];
    for (name, value) in members {
        let header = issuer.with(name, value).to_string();
        for signer in [&issuer.es256, &own] {
            let token = signer.sign(&header, access_json().to_string());
            assert_eq!(
                issuer.fault(&token),
                malformed(Flaw::UnknownHeader),
                "{header}"
            );
        }
    }
    let mut header = issuer.with("crit", json!(["b64"]));
    header["b64"] = false.into();
    let fault = issuer.header(&header.to_string());
    assert_eq!(fault, malformed(Flaw::UnknownHeader));
    let usual = issuer.with("typ", "at+jwt".into()).to_string();
    assert_eq!(issuer.header(&usual), None);
}

#[test]
fn t10_refuses_every_other_kind_of_token() {
    let issuer = issuer();
    for typ in [
        json!("application/at+jwt"),
        json!("JWT"),
        json!("jwt"),
        json!("AT+JWT"),
        json!("at+JWT"),
        json!("at+jwt "),
        json!("at+jw"),
        json!("dpop+jwt"),
        json!("txntoken+jwt"),
        json!("wit+jwt"),
        json!("logout+jwt"),
        json!("statuslist+jwt"),
        json!("token-introspection+jwt"),
        json!(""),
        json!(null),
        json!(7),
        json!(["at+jwt"]),
        json!({"at+jwt": 1}),
    ] {
        let header = issuer.with("typ", typ).to_string();
        assert_eq!(issuer.header(&header), malformed(Flaw::Type), "{header}");
    }
    let kid = &issuer.es256.kid;
    let untyped = json!({"alg": "ES256", "kid": kid}).to_string();
    assert_eq!(issuer.header(&untyped), malformed(Flaw::Type));
}

#[test]
fn refuses_a_header_that_is_not_exactly_three_texts() {
    let issuer = issuer();
    let kid = issuer.es256.kid.as_str();
    for (header, flaw) in [
        (r#"["ES256","KID","at+jwt"]"#, Flaw::Json),
        (
            r#"{"alg":"ES256","alg":"ES256","kid":"KID","typ":"at+jwt"}"#,
            Flaw::Json,
        ),
        (
            r#"{"alg":"ES256","kid":"other","k\u0069d":"KID","typ":"at+jwt"}"#,
            Flaw::Json,
        ),
        (
            r#"{"alg":"ES256","kid":"KID","typ":"JWT","typ":"at+jwt"}"#,
            Flaw::Json,
        ),
        (r#"{"kid":"KID","typ":"at+jwt"}"#, Flaw::Member("alg")),
        (
            r#"{"alg":null,"kid":"KID","typ":"at+jwt"}"#,
            Flaw::Member("alg"),
        ),
        (
            r#"{"alg":["ES256"],"kid":"KID","typ":"at+jwt"}"#,
            Flaw::Member("alg"),
        ),
        (r#"{"alg":"ES256","typ":"at+jwt"}"#, Flaw::Member("kid")),
        (
            r#"{"alg":"ES256","kid":null,"typ":"at+jwt"}"#,
            Flaw::Member("kid"),
        ),
        (
            r#"{"alg":"ES256","kid":7,"typ":"at+jwt"}"#,
            Flaw::Member("kid"),
        ),
    ] {
        let fault = issuer.header(&header.replace("KID", kid));
        assert_eq!(fault, malformed(flaw), "{header}");
    }
}

#[test]
fn t12_refuses_every_second_spelling_of_a_token() {
    let issuer = issuer();
    let token = sign(&issuer.es256.key(), &access()).unwrap();
    let token = token.expose();
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
            assert_eq!(issuer.fault(&padded.join(".")), expected, "{i} {lax:?}");
        }
    }
    for (text, flaw) in [
        (String::new(), Flaw::Parts),
        ("..".into(), Flaw::Json),
        (parts[..2].join("."), Flaw::Parts),
        (format!("{token}."), Flaw::Parts),
        (format!(".{token}"), Flaw::Parts),
        (format!("Bearer {token}"), Flaw::Base64),
    ] {
        assert_eq!(issuer.fault(&text), malformed(flaw), "{text:?}");
    }
}

#[test]
fn t13_refuses_what_is_larger_than_any_token() {
    let issuer = issuer();
    let long = "a".repeat(1 << 20);
    assert_eq!(issuer.fault(&long), malformed(Flaw::TooLong));
    let padded = |length| issuer.claim("/added", Some("x".repeat(length).into()));
    assert_eq!(padded(5000), None);
    assert_eq!(padded(6000), malformed(Flaw::TooLong));
    let deep = format!("{}{}", "[".repeat(2500), "]".repeat(2500));
    let text = access_json().to_string();
    let text = text.replacen('{', &format!("{{\"deep\":{deep},"), 1);
    assert_eq!(issuer.claims(text), malformed(Flaw::Json));
}
