use serde_json::{Value, json};

use super::*;

const AUDIENCE: &str = "hallpass.dev/hallpass-system";

fn vouched() -> Value {
    json!({
        "authenticated": true,
        "audiences": ["other", AUDIENCE],
        "user": {
            "username": "system:serviceaccount:shop:orders",
            "uid": "account-uid",
            "extra": {POD_NAME: ["orders-0"], POD_UID: ["pod-uid"], "other": ["a", "b"]},
        },
    })
}

/// What is made of the status with that one member changed.
fn judged(pointer: &str, value: Value) -> Result<Claims, ReviewFault> {
    let mut status = vouched();
    *status.pointer_mut(pointer).unwrap() = value;
    judge(&serde_json::from_value(status).unwrap(), AUDIENCE)
}

#[test]
fn takes_the_pod_and_the_service_account_from_the_answer() {
    let claims = judged("/user/extra/other", json!([])).unwrap();
    let names = [
        claims.namespace.as_str(),
        claims.service_account.as_str(),
        claims.pod.as_str(),
    ];
    assert_eq!(names, ["shop", "orders", "orders-0"]);
    assert_eq!(claims.service_account_uid.as_str(), "account-uid");
    assert_eq!(claims.pod_uid.as_str(), "pod-uid");
}

#[test]
fn takes_no_answer_that_is_not_a_plain_yes() {
    use ReviewFault::{NotPodBound, Refused, WrongAudience};
    let pod = "/user/extra/authentication.kubernetes.io~1pod-name";
    let uid = "/user/extra/authentication.kubernetes.io~1pod-uid";
    for (pointer, value, fault) in [
        ("/authenticated", json!(false), Refused),
        ("/authenticated", Value::Null, Refused),
        ("/audiences", json!([]), WrongAudience),
        ("/audiences", Value::Null, WrongAudience),
        (
            "/audiences",
            json!(["hallpass.dev", "hallpass.dev/hallpass-system-2"]),
            WrongAudience,
        ),
        ("/user", Value::Null, Refused),
        ("/user/uid", Value::Null, Refused),
        ("/user/uid", json!(""), Refused),
        ("/user/username", Value::Null, Refused),
        ("/user/username", json!("system:node:node-a"), Refused),
        (
            "/user/username",
            json!("system:serviceaccount:shop"),
            Refused,
        ),
        (
            "/user/username",
            json!("system:serviceaccount:shop:orders:x"),
            Refused,
        ),
        (
            "/user/username",
            json!("system:serviceaccount::orders"),
            Refused,
        ),
        (
            "/user/username",
            json!("x:system:serviceaccount:shop:orders"),
            Refused,
        ),
        ("/user/extra", Value::Null, NotPodBound),
        (pod, json!([]), NotPodBound),
        (pod, json!(["orders-0", "orders-1"]), NotPodBound),
        (pod, json!(["../orders-0"]), Refused),
        (uid, json!([]), NotPodBound),
        (uid, json!([""]), Refused),
    ] {
        assert_eq!(
            judged(pointer, value.clone()),
            Err(fault),
            "{pointer} {value}"
        );
    }
    let mut failed = vouched();
    failed["error"] = json!("the webhook timed out");
    let failed = serde_json::from_value(failed).unwrap();
    assert_eq!(judge(&failed, AUDIENCE), Err(Refused));
}
