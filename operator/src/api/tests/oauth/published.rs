//! Keys and metadata.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use super::fixture::{FIRST, SECOND, Shop, get};
use crate::{
    api::fixture::{Operator, send},
    issuer::fixture::mint,
    keys::Keys,
    telemetry::Metrics,
};

#[tokio::test]
async fn shows_its_keys_to_everybody_for_five_minutes() {
    let shop = Shop::new().await;
    for (path, url) in [("/jwks", FIRST), ("/second/jwks", SECOND)] {
        for router in [&shop.router, &shop.outside] {
            let answer = get(router, path).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.header("content-type"), "application/jwk-set+json");
            assert_eq!(answer.header("cache-control"), "public, max-age=300");
            let ring = shop
                .keys
                .ring(&hallpass_core::name::IssuerId::of(url))
                .unwrap();
            assert_eq!(answer.body, ring.jwks().body);
            assert_eq!(answer.header("etag"), &*ring.jwks().etag);
        }
    }
}

#[tokio::test]
async fn answers_304_to_who_has_it_and_heads_without_a_body() {
    let shop = Shop::new().await;
    for path in ["/jwks", "/second/.well-known/openid-configuration"] {
        let whole = get(&shop.router, path).await;
        let tag = whole.header("etag");
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        let again = Request::get(path).header("if-none-match", tag);
        let again = send(&shop.router, again.body(Body::empty()).unwrap()).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        assert!(again.body.is_empty());
        assert_eq!(again.header("etag"), tag);
        assert_eq!(again.header("cache-control"), "public, max-age=300");
        let head = Request::head(path).body(Body::empty()).unwrap();
        let head = send(&shop.router, head).await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), whole.body.len().to_string());
        assert_eq!(head.header("content-type"), whole.header("content-type"));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_keeps_the_keys_of_a_replica_that_is_behind() {
    let shop = Shop::new().await;
    let kept = async || {
        get(&shop.router, "/jwks")
            .await
            .header("cache-control")
            .to_owned()
    };
    assert_eq!(kept().await, "public, max-age=300");
    tokio::time::advance(Duration::from_secs(21)).await;
    assert_eq!(kept().await, "no-cache");
}

#[tokio::test]
async fn an_issuer_without_a_key_shows_no_empty_set() {
    let shop = Shop::new().await;
    let mut operator =
        Operator::with_keys(shop.index.clone(), Keys::new(Metrics::new()), mint).await;
    let answer = get(&operator.router(), "/jwks").await;
    assert_eq!(answer.code(), (503, "IssuerNotReady".into()));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn the_metadata_is_the_same_at_both_places() {
    let shop = Shop::new().await;
    for (appended, inserted, url) in [
        (
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
            FIRST,
        ),
        (
            "/second/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server/second",
            SECOND,
        ),
    ] {
        let (one, two) = (
            get(&shop.router, appended).await,
            get(&shop.router, inserted).await,
        );
        assert_eq!(one.body, two.body);
        assert_eq!(one.header("cache-control"), "public, max-age=300");
        assert_eq!(one.header("content-type"), "application/json");
        let mut expected = json!({
            "issuer": url,
            "token_endpoint": format!("{url}/oauth2/token"),
            "jwks_uri": format!("{url}/jwks"),
            "introspection_endpoint": format!("{url}/oauth2/introspect"),
            "introspection_endpoint_auth_methods_supported": ["Bearer"],
            "revocation_endpoint": format!("{url}/oauth2/revoke"),
            "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
            "revocation_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256", "ES384"],
            "grant_types_supported": [
                "client_credentials",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ],
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256", "ES384"],
            "response_types_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        assert_eq!(one.json(), expected);
        // Outside there is neither introspection nor revocation to be told of.
        let members = expected.as_object_mut().unwrap();
        let inside = ["introspection", "revocation"];
        members.retain(|name, _| !inside.iter().any(|start| name.starts_with(start)));
        assert_eq!(get(&shop.outside, inserted).await.json(), expected);
    }
}
