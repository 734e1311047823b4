use std::time::Duration;

use serde_json::{Value, json};

use hallpass_core::denial::Code;

use super::*;
use crate::issuer::fixture::{
    ApiServer, PLANTED, REVIEW_PATH, Reply, START, TOKEN_PATH, answer, claims, grant, mint, now,
    soon, status,
};

fn minter(server: &ApiServer) -> Minter {
    let operator = OperatorId {
        namespace: "hallpass-system".into(),
        name: "hallpass".into(),
    };
    Minter::new(server.client(), operator, Metrics::new())
}

async fn minted(
    answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
) -> Result<IssuedToken, MintError> {
    let server = ApiServer::default().on(TOKEN_PATH, answer);
    minter(&server).mint(&grant(), now(), soon()).await
}

fn review(allowed: bool) -> impl Fn(&Value) -> Reply {
    move |_| Reply::Json(201, json!({"spec": {}, "status": {"allowed": allowed}}))
}

#[tokio::test]
async fn asks_for_one_audience_bound_to_the_pod_by_uid() {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let issued = minter(&server).mint(&grant(), now(), soon()).await.unwrap();
    assert_eq!(issued.expires_at().as_second(), START + 3600);
    let calls = server.calls();
    let [(_, body)] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!(body["metadata"], json!({"uid": "uid-shop-orders"}));
    assert_eq!(
        body["spec"],
        json!({
            "audiences": ["https://vault.example"],
            "expirationSeconds": 3600,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "orders-0", "uid": "uid-shop-orders-0"},
        })
    );
}

#[tokio::test]
async fn drops_a_token_that_is_not_the_one_asked_for() {
    let wrong = |request: &Value| {
        let mut claims = claims(request);
        claims["aud"] = json!(["https://kubernetes.default.svc"]);
        answer(claims, START + 3600)
    };
    let error = minted(wrong).await.unwrap_err();
    assert!(
        matches!(error, MintError::Mismatch(minted::Mismatch::Audience)),
        "{error:?}"
    );
    assert_eq!(error.code(), Code::MintRefused);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_tells_nothing_of_itself() {
    let error = minted(|_| Reply::Bytes(r#"{"status":{"token":1,"x":"planted-signature"}}"#))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::MintRefused);
    assert!(!format!("{error:?} {error}").contains(PLANTED), "{error:?}");
}

#[tokio::test]
async fn tells_a_pod_that_is_gone_from_a_service_account_that_is_gone() {
    for (code, kind, expected) in [
        (404, "pods", Code::PodGone),
        (409, "Pod", Code::PodGone),
        (404, "serviceaccounts", Code::ServiceAccountGone),
        (409, "TokenRequest", Code::ServiceAccountGone),
        (404, "namespaces", Code::ServiceAccountGone),
        (409, "Node", Code::Unavailable),
    ] {
        let error = minted(move |_| status(code, kind, "no")).await.unwrap_err();
        assert_eq!(error.code(), expected, "{code} {kind}");
    }
}

#[tokio::test]
async fn without_the_right_it_names_the_command_that_gives_it() {
    let server = ApiServer::default()
        .on(TOKEN_PATH, |_| status(403, "serviceaccounts", "forbidden"))
        .on(REVIEW_PATH, review(false));
    let error = minter(&server)
        .mint(&grant(), now(), soon())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::MintForbidden);
    assert!(
        error.to_string().ends_with(
            "kubectl create rolebinding hallpass -n shop --clusterrole=hallpass-token-request --serviceaccount=hallpass-system:hallpass"
        ),
        "{error}"
    );
    let asked = &server.calls()[1].1["spec"]["resourceAttributes"];
    assert_eq!(
        *asked,
        json!({"namespace": "shop", "name": "orders", "verb": "create", "resource": "serviceaccounts", "subresource": "token"})
    );
}

#[tokio::test]
async fn with_the_right_a_403_is_a_refusal_in_the_api_servers_words() {
    let server = ApiServer::default()
        .on(TOKEN_PATH, |_| {
            status(
                403,
                "serviceaccounts",
                &format!("a policy says no{}", "!".repeat(900)),
            )
        })
        .on(REVIEW_PATH, review(true));
    let error = minter(&server)
        .mint(&grant(), now(), soon())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::MintRefused);
    assert!(error.to_string().contains("a policy says no"), "{error}");
    assert!(error.to_string().len() < 600, "{error}");
}

#[tokio::test]
async fn a_403_that_cannot_be_explained_is_no_verdict() {
    let server = ApiServer::default()
        .on(TOKEN_PATH, |_| status(403, "serviceaccounts", "forbidden"))
        .on(REVIEW_PATH, |_| status(500, "", "etcd"));
    let error = minter(&server)
        .mint(&grant(), now(), soon())
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn passes_on_the_wait_that_the_api_server_asks_for() {
    for (sent, expected) in [("7", 7), ("0", 1), ("100000", 60), ("soon", 1)] {
        let error = minted(move |_| Reply::Busy { retry_after: sent })
            .await
            .unwrap_err();
        assert_eq!(
            error.retry_after(),
            Some(Duration::from_secs(expected)),
            "{sent}"
        );
        assert_eq!(error.code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn a_fault_of_the_api_server_is_no_verdict_and_a_bad_request_is_one() {
    for (code, expected) in [
        (500, Code::Unavailable),
        (503, Code::Unavailable),
        (401, Code::Unavailable),
        (400, Code::MintRefused),
        (422, Code::MintRefused),
    ] {
        let error = minted(move |_| status(code, "", "words"))
            .await
            .unwrap_err();
        assert_eq!(error.code(), expected, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn gives_up_on_an_api_server_that_does_not_answer() {
    let started = Instant::now();
    let error = minted(|_| Reply::Silence).await.unwrap_err();
    assert!(matches!(error, MintError::TimedOut), "{error:?}");
    assert_eq!(started.elapsed(), Duration::from_secs(8));
}

#[tokio::test(start_paused = true)]
async fn the_lifetime_counts_from_the_answer_not_from_the_question() {
    let client = tower::service_fn(|request: Request<Body>| async move {
        tokio::time::sleep(Duration::from_secs(7)).await;
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let request: Value = serde_json::from_slice(&body).unwrap();
        let mut claims = claims(&request);
        claims["iat"] = (START + 7).into();
        claims["exp"] = (START + 3607).into();
        let Reply::Json(_, answer) = answer(claims, START + 3607) else {
            panic!()
        };
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(
            answer.to_string().into_bytes(),
        )))
    });
    let operator = OperatorId {
        namespace: "hallpass-system".into(),
        name: "hallpass".into(),
    };
    let minter = Minter::new(Client::new(client, "default"), operator, Metrics::new());
    let issued = minter.mint(&grant(), now(), soon()).await.unwrap();
    assert_eq!(issued.expires_at().as_second(), START + 3607);
}
