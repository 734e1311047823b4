//! What everybody is told of the CAs.

use axum::body::Body;
use http::{Request, StatusCode};
use sha2::{Digest, Sha256};

use crate::{
    api::fixture::{Operator, request, send},
    issuer::hex,
};

fn question(tag: &str) -> Request<Body> {
    let request = Request::get("/v1/trust").header("if-none-match", tag);
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn shows_everybody_within_the_cluster_whom_to_trust() {
    let mut operator = Operator::new().await;
    operator.anchors().set("two CAs".into());
    let (inside, outside) = operator.routers();
    let answer = send(&inside, question("")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, b"two CAs");
    assert_eq!(
        answer.header("content-type"),
        "application/pem-certificate-chain"
    );
    assert_eq!(answer.header("cache-control"), "no-cache");
    let again = send(&inside, question(answer.header("etag"))).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.body.is_empty());
    let post = Request::post("/v1/trust").body(Body::empty()).unwrap();
    assert_eq!(
        send(&inside, post).await.code(),
        (405, "WrongMethod".into())
    );
    assert_eq!(send(&outside, question("")).await.status, 404);
    let metrics = operator.metrics.encode().unwrap();
    let counted = r#"hallpass_requests_total{route="trust",code="OK"} 2"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[tokio::test]
async fn f12_each_look_at_the_assignments_tells_whether_other_cas_are_to_be_trusted() {
    let mut operator = Operator::new().await;
    let anchors = operator.anchors();
    let router = operator.router();
    let bearer = operator.bearer("orders-0", "orders");
    let look = |tag: &str| {
        let mut look = request("GET", "/v1/assignments", &bearer, "");
        look.headers_mut()
            .insert("if-none-match", tag.parse().unwrap());
        send(&router, look)
    };
    assert_eq!(look("").await.header("hallpass-trust"), "");
    for bundle in ["one CA", "two CAs"] {
        anchors.set(bundle.into());
        let told = hex(&Sha256::digest(bundle));
        let whole = look("").await;
        assert_eq!(
            (whole.status.as_u16(), whole.header("hallpass-trust")),
            (200, &*told)
        );
        let unchanged = look(whole.header("etag")).await;
        assert_eq!(
            (
                unchanged.status.as_u16(),
                unchanged.header("hallpass-trust")
            ),
            (304, &*told)
        );
        let shown = send(&router, question("")).await;
        assert_eq!(hex(&Sha256::digest(&shown.body)), told);
    }
}

#[tokio::test]
async fn tells_nothing_of_a_ca_that_it_has_not_read() {
    let mut operator = Operator::new().await;
    let answer = send(&operator.router(), question("")).await;
    assert_eq!(answer.code(), (503, "Unavailable".into()));
}
