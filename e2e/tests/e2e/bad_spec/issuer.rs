//! What is refused of a TokenIssuer.

use anyhow::Result;
use hallpass_e2e::{cluster::Cluster, manifest::Manifest};
use serde_json::{Value, json};

use super::{
    Bad, Good, REQUIRED, are_accepted, are_refused, cannot_be_changed, is_an_unknown_field,
};

const URL: &str = "spec.hallpass.issuerURL";
const HTTPS: &str = "must be an https URL such as https://id.example";
const MORE: &str = "must have no user name, no query and no fragment";
const SLASH: &str = "must not end with a slash";
const PLAIN: &str = "must be a lower-case host name, a port if need be, and a path";
const ROTATION: &str = "spec.hallpass.rotateEvery";
const ONE_UNIT: &str = "must be one number with one unit, d, h, m or s, such as 30d or 12h";
const BOUNDS: &str = "must be at least 1h and at most 365d";
const DOMAIN: &str = "spec.hallpass.spiffeTrustDomain";
const TRUST_DOMAIN: &str = "must be the name of a SPIFFE trust domain, without spiffe:// in front";
const PATTERN: &str = "spec.audiences[0].pattern";
const STARS: &str = "must have at most 4 stars and no two side by side";
const LABELS: &str = "spec.audiences[0].namespaces.matchLabels";

#[rustfmt::skip]
const BAD: &[Bad] = &[
    ("no spec", || good().without("/spec"), "spec", REQUIRED),
    ("no keys of ours", || good().without("/spec/hallpass"), "spec.hallpass", REQUIRED),
    ("no URL", || good().without("/spec/hallpass/issuerURL"), URL, REQUIRED),
    ("an empty URL", || url(""), URL, HTTPS),
    ("a host alone", || url("id.example"), URL, HTTPS),
    ("a URL of another scheme", || url("http://id.example"), URL, HTTPS),
    ("a URL without a host", || url("https:///prod"), URL, HTTPS),
    ("a URL with a port alone", || url("https://:443"), URL, HTTPS),
    ("a URL with a space", || url("https://id .example"), URL, HTTPS),
    ("a URL that breaks the line", || url("https://id.example\n"), URL, HTTPS),
    ("a URL with a user", || url("https://me@id.example"), URL, MORE),
    ("a URL with a query", || url("https://id.example/prod?x=1"), URL, MORE),
    ("a URL with an empty query", || url("https://id.example/prod?"), URL, MORE),
    ("a URL with a fragment", || url("https://id.example/prod#x"), URL, MORE),
    ("a URL with a slash at its end", || url("https://id.example/"), URL, SLASH),
    ("a URL with a slash at its path's end", || url("https://id.example/prod/"), URL, SLASH),
    ("a URL in capitals", || url("https://ID.example"), URL, PLAIN),
    ("a scheme in capitals", || url("HTTPS://id.example"), URL, PLAIN),
    ("a host with an empty label", || url("https://id..example"), URL, PLAIN),
    ("a host with a dash in front", || url("https://-id.example"), URL, PLAIN),
    ("a host in brackets", || url("https://[::1]"), URL, PLAIN),
    ("a port beyond all ports", || url("https://id.example:65536"), URL, PLAIN),
    ("a port of nothing", || url("https://id.example:"), URL, PLAIN),
    ("port 0", || url("https://id.example:0"), URL, PLAIN),
    ("a path with an empty part", || url("https://id.example//prod"), URL, PLAIN),
    ("a path that leads up", || url("https://id.example/a/../b"), URL, PLAIN),
    ("a path with an escape", || url("https://id.example/a%20b"), URL, PLAIN),
    ("a URL of 257 characters", || url(&format!("https://id.example/{}", "a".repeat(238))), URL, "may not be more than 256 bytes"),
    ("an algorithm that is not known", || hallpass("algorithm", json!("HS256")), "spec.hallpass.algorithm", "supported values: \"ES256\", \"EdDSA\", \"RS256\""),
    ("a rotation every 59 min", || hallpass("rotateEvery", json!("59m")), ROTATION, BOUNDS),
    ("a rotation every 3599 s", || hallpass("rotateEvery", json!("3599s")), ROTATION, BOUNDS),
    ("a rotation every 366 days", || hallpass("rotateEvery", json!("366d")), ROTATION, BOUNDS),
    ("a rotation beyond all numbers", || hallpass("rotateEvery", json!("99999999d")), ROTATION, BOUNDS),
    ("a rotation in two units", || hallpass("rotateEvery", json!("1d12h")), ROTATION, ONE_UNIT),
    ("a rotation in weeks", || hallpass("rotateEvery", json!("4w")), ROTATION, ONE_UNIT),
    ("a rotation without a unit", || hallpass("rotateEvery", json!("86400")), ROTATION, ONE_UNIT),
    ("a rotation without a number", || hallpass("rotateEvery", json!("d")), ROTATION, ONE_UNIT),
    ("a rotation of nothing", || hallpass("rotateEvery", json!("")), ROTATION, ONE_UNIT),
    ("an empty trust domain", || hallpass("spiffeTrustDomain", json!("")), DOMAIN, TRUST_DOMAIN),
    ("a trust domain with its scheme", || hallpass("spiffeTrustDomain", json!("spiffe://prod.example")), DOMAIN, TRUST_DOMAIN),
    ("a trust domain in capitals", || hallpass("spiffeTrustDomain", json!("Prod")), DOMAIN, TRUST_DOMAIN),
    ("a trust domain of 256 characters", || hallpass("spiffeTrustDomain", json!("a".repeat(256))), DOMAIN, "may not be more than 255 bytes"),
    ("33 patterns", || audiences(vec![permitted("a"); 33].into()), "spec.audiences", "must have at most 32 items"),
    ("no pattern", || good().without("/spec/audiences/0/pattern"), PATTERN, REQUIRED),
    ("an empty pattern", || pattern(""), PATTERN, "write the audiences that these namespaces may state"),
    ("a pattern with a space", || pattern("https://a b"), PATTERN, "must consist of printable ASCII characters without spaces"),
    ("a pattern of 5 stars", || pattern("*.*.*.*.*.example"), PATTERN, STARS),
    ("a pattern of two stars in one place", || pattern("https://**.acme.example"), PATTERN, STARS),
    ("a pattern of 513 bytes", || pattern(&"a".repeat(513)), PATTERN, "may not be more than 512 bytes"),
    ("no namespaces", || good().without("/spec/audiences/0/namespaces"), "spec.audiences[0].namespaces", REQUIRED),
    ("every namespace", || good().with("/spec/audiences/0/namespaces", json!({})), LABELS, REQUIRED),
    ("no label", || labelled(json!({})), LABELS, "name at least one label: kubernetes.io/metadata.name"),
    ("a label key with a space", || labelled(json!({"my key": "a"})), LABELS, "\"my key\" is not a label key"),
    ("a label value with a space", || labelled(json!({"team": "a b"})), LABELS, "the value of label \"team\" is not a label value"),
];

#[rustfmt::skip]
const GOOD: &[Good] = &[
    ("the base of all bad ones", good),
    ("the least there can be", || good().without("/spec/audiences")),
    ("a URL with a port and a path", || url("https://id.prod-eu1.example:8443/a/B.c_d~e-f/.x")),
    ("the last of all ports", || url("https://id.example:65535")),
    ("a host without a dot", || url("https://hallpass")),
    ("an address", || url("https://192.0.2.1")),
    ("a URL of 256 characters", || url(&format!("https://id.example/{}", "a".repeat(237)))),
    ("Ed25519", || hallpass("algorithm", json!("EdDSA"))),
    ("ECDSA", || hallpass("algorithm", json!("ES256"))),
    ("RSA", || hallpass("algorithm", json!("RS256"))),
    ("a rotation every hour", || hallpass("rotateEvery", json!("1h"))),
    ("a rotation every 60 min", || hallpass("rotateEvery", json!("60m"))),
    ("a rotation every 3600 s", || hallpass("rotateEvery", json!("3600s"))),
    ("a rotation every year", || hallpass("rotateEvery", json!("365d"))),
    ("a rotation every year in seconds", || hallpass("rotateEvery", json!("31536000s"))),
    ("a trust domain", || hallpass("spiffeTrustDomain", json!("prod-eu1.acme_shop.example"))),
    ("a pattern without a star", || pattern("vault")),
    ("a pattern of 4 stars", || pattern("https://*.*-*.*.example/v1")),
    ("32 patterns", || audiences((0..32).map(|i| permitted(&format!("{i:a>512}"))).collect())),
];

#[tokio::test]
async fn a_bad_issuer_is_refused_with_the_field() -> Result<()> {
    let cluster = Cluster::shared("bad-issuer").await?;
    are_accepted(&cluster, GOOD).await?;
    are_refused(&cluster, BAD).await
}

#[tokio::test]
async fn an_unknown_field_of_an_issuer_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::shared("unknown-issuer").await?;
    for (pointer, field) in [
        ("/spec/exchange", "spec.exchange"),
        ("/spec/hallpass/keys", "spec.hallpass.keys"),
        (
            "/spec/audiences/0/namespaces/matchExpressions",
            "spec.audiences[0].namespaces.matchExpressions",
        ),
    ] {
        let issuer = good().with(pointer, json!([]));
        is_an_unknown_field(&cluster, &issuer, field).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_url_of_an_issuer_is_for_life_and_the_rest_is_not() -> Result<()> {
    let cluster = Cluster::shared("fixed-issuer").await?;
    // it is seen by the whole cluster: under a name and a URL of its own
    let name = &cluster.namespace;
    let old = format!("https://{name}.example");
    let issuer = url(&old).with("/metadata/name", json!(name));
    cluster.apply(&issuer.to_string()).await?;
    let resource = format!("tokenissuer.hallpass.dev/{name}");
    let outcome = cannot_become_another(&cluster, &resource, &old).await;
    cluster.kubectl(&["delete", &resource]).await?.success()?;
    outcome
}

async fn cannot_become_another(cluster: &Cluster, resource: &str, old: &str) -> Result<()> {
    let patch = |url: &str| json!({"spec": {"hallpass": {"issuerURL": url, "rotateEvery": "7d"}}});
    let other = patch(&format!("{old}/other")).to_string();
    cannot_be_changed(cluster, resource, &other, URL).await?;
    let same = patch(old).to_string();
    let args = [
        "patch",
        resource,
        "--type=merge",
        "--dry-run=server",
        "-p",
        &same,
    ];
    cluster.kubectl(&args).await?.success()?;
    Ok(())
}

fn good() -> Manifest {
    Manifest::from(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": "acme"},
        "spec": {
            "hallpass": {"issuerURL": "https://id.prod-eu1.example"},
            "audiences": [permitted("https://*.acme.example")],
        },
    }))
}

fn permitted(pattern: &str) -> Value {
    json!({"pattern": pattern, "namespaces": {"matchLabels": {"team": "api"}}})
}

fn hallpass(member: &str, value: Value) -> Manifest {
    good().with(&format!("/spec/hallpass/{member}"), value)
}

fn url(url: &str) -> Manifest {
    hallpass("issuerURL", json!(url))
}

fn audiences(audiences: Value) -> Manifest {
    good().with("/spec/audiences", audiences)
}

fn pattern(pattern: &str) -> Manifest {
    audiences(json!([permitted(pattern)]))
}

fn labelled(labels: Value) -> Manifest {
    good().with("/spec/audiences/0/namespaces/matchLabels", labels)
}
