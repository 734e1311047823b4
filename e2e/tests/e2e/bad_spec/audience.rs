//! What is refused of a TokenAudience.

use anyhow::Result;
use hallpass_e2e::{cluster::Cluster, manifest::Manifest};
use serde_json::{Value, json};

use super::{
    Bad, Good, REQUIRED, are_accepted, are_refused, cannot_be_changed, is_an_unknown_field,
};

const AUDIENCE: &str = "spec.audience";
const RESERVED: &str = "hallpass.dev and all audiences below hallpass.dev/ are reserved";
const PRINTABLE: &str = "must consist of printable ASCII characters without spaces";
const SCOPE: &str = "spec.scopes[0].name";
const NO_SCOPE: &str = "must be a scope: printable ASCII characters without spaces";
const LABELS: &str = "spec.allow[0].from.namespaceSelector.matchLabels";
const ACCOUNTS: &str = "spec.allow[0].from.serviceAccounts";
const ALONE: &str = "\"*\" means every service account of the namespace: write it alone";
const ALLOWED: &str = "spec.allow[0].scopes";
const LIFETIME: &str = "spec.maxLifetime";
const BOUNDS: &str = "must be at least 30s and at most 1h";
const CLAIM: &str = "spec.claims[0]";
const CLAIM_NAME: &str = "spec.claims[0].name";
const TAKEN: &str = "is reserved: tokens say it themselves or verifiers give it a meaning";
const SOURCE: &str = "write exactly one of literal, namespaceLabel and serviceAccountAnnotation";
const LINE: &str = "must be one line of visible characters";
const GUARD: &str = "spec.guard.serviceAccounts";

#[rustfmt::skip]
const BAD: &[Bad] = &[
    ("no spec", || good().without("/spec"), "spec", REQUIRED),
    ("no audience", || good().without("/spec/audience"), AUDIENCE, REQUIRED),
    ("an empty audience", || spec("audience", json!("")), AUDIENCE, "write the audience that the API checks"),
    ("an audience with a space", || spec("audience", json!("a b")), AUDIENCE, PRINTABLE),
    ("an audience of 513 bytes", || spec("audience", json!("a".repeat(513))), AUDIENCE, "may not be more than 512 bytes"),
    ("our identity audience", || spec("audience", json!("hallpass.dev")), AUDIENCE, RESERVED),
    ("an identity audience", || spec("audience", json!("hallpass.dev/x")), AUDIENCE, RESERVED),
    ("no issuer", || good().without("/spec/issuerRef"), "spec.issuerRef", REQUIRED),
    ("an issuer without a name", || spec("issuerRef", json!({})), "spec.issuerRef.name", REQUIRED),
    ("any issuer", || spec("issuerRef", json!({"name": "*"})), "spec.issuerRef.name", "must be the exact name of one TokenIssuer"),
    ("a format that is not known", || spec("format", json!("jwt")), "spec.format", "supported values: \"JWT\", \"Opaque\""),
    ("no list of scopes", || good().without("/spec/scopes"), "spec.scopes", REQUIRED),
    ("no scopes", || spec("scopes", json!([])).without("/spec/allow"), "spec.scopes", "name at least one scope that the API knows"),
    ("65 scopes", || spec("scopes", names(65)).without("/spec/allow"), "spec.scopes", "must have at most 64 items"),
    ("a scope twice", || spec("scopes", json!([{"name": "read"}, {"name": "read"}])).without("/spec/allow"), "spec.scopes[1]", "{\"name\":\"read\"}"),
    ("an empty scope", || scope(""), SCOPE, NO_SCOPE),
    ("a scope with a space", || scope("a b"), SCOPE, NO_SCOPE),
    ("a scope with a quote", || scope("a\"b"), SCOPE, NO_SCOPE),
    ("a scope with a backslash", || scope("a\\b"), SCOPE, NO_SCOPE),
    ("a scope with a star", || scope("payments:*"), SCOPE, NO_SCOPE),
    ("a scope of 129 characters", || scope(&"a".repeat(129)), SCOPE, "may not be more than 128 bytes"),
    ("65 entries", || spec("allow", vec![entry(); 65].into()), "spec.allow", "must have at most 64 items"),
    ("an entry for nobody", || spec("allow", json!([{"scopes": ["payments:read"]}])), "spec.allow[0].from", REQUIRED),
    ("no namespaces", || good().without("/spec/allow/0/from/namespaceSelector"), "spec.allow[0].from.namespaceSelector", REQUIRED),
    ("every namespace", || from("namespaceSelector", json!({})), LABELS, REQUIRED),
    ("no label", || from("namespaceSelector", json!({"matchLabels": {}})), LABELS, "name at least one label: kubernetes.io/metadata.name"),
    ("17 labels", || from("namespaceSelector", json!({"matchLabels": labels(17)})), LABELS, "must have at most 16 items"),
    ("a label key with a space", || from("namespaceSelector", json!({"matchLabels": {"my key": "a"}})), LABELS, "\"my key\" is not a label key"),
    ("a label value with a space", || from("namespaceSelector", json!({"matchLabels": {"team": "a b"}})), LABELS, "the value of label \"team\" is not a label value"),
    ("no list of service accounts", || good().without("/spec/allow/0/from/serviceAccounts"), ACCOUNTS, REQUIRED),
    ("no service account", || from("serviceAccounts", json!([])), ACCOUNTS, "or write [\"*\"] to mean all of the namespace"),
    ("65 service accounts", || from("serviceAccounts", accounts(65)), ACCOUNTS, "must have at most 64 items"),
    ("a service account twice", || from("serviceAccounts", json!(["a", "a"])), "spec.allow[0].from.serviceAccounts[1]", "\"a\""),
    ("all and one more", || from("serviceAccounts", json!(["*", "orders"])), ACCOUNTS, ALONE),
    ("a pattern of service accounts", || from("serviceAccounts", json!(["a", "orders-*"])), ACCOUNTS, "\"orders-*\" is not the exact name of a service account"),
    ("a service account elsewhere", || from("serviceAccounts", json!(["shop/orders"])), ACCOUNTS, "\"shop/orders\" is not the exact name"),
    ("an empty service account", || from("serviceAccounts", json!([""])), ACCOUNTS, "\"\" is not the exact name"),
    ("no list of allowed scopes", || good().without("/spec/allow/0/scopes"), ALLOWED, REQUIRED),
    ("no allowed scope", || allowed(json!([])), ALLOWED, "name at least one scope, one of spec.scopes"),
    ("an allowed scope twice", || allowed(json!(["payments:read", "payments:read"])), "spec.allow[0].scopes[1]", "payments:read"),
    ("an allowed scope that is none", || allowed(json!(["payments:read", "payments:raed"])), "spec.allow", "the scope \"payments:raed\" is allowed but is none of spec.scopes"),
    ("such a scope in the second entry", || good().with("/spec/allow", json!([entry(), {"from": entry()["from"], "scopes": ["b"]}])),
        "spec.allow", "the scope \"b\" is allowed but is none of spec.scopes"),
    ("every scope", || allowed(json!(["*"])), "spec.allow", "the scope \"*\" is allowed but is none of spec.scopes"),
    ("64 entries of 9 scopes", || entries(9, 8, 2), "spec.allow", "must have at most 512 scopes in all"),
    ("64 entries of 9 service accounts", || entries(8, 9, 2), "spec.allow", "must have at most 512 service accounts in all"),
    ("64 entries of 3 labels", || entries(8, 8, 3), "spec.allow", "must have at most 128 labels in all"),
    ("a ceiling of 29 s", || spec("maxLifetime", json!("29s")), LIFETIME, BOUNDS),
    ("a ceiling of 3601 s", || spec("maxLifetime", json!("1h1s")), LIFETIME, BOUNDS),
    ("a ceiling in days", || spec("maxLifetime", json!("1d")), LIFETIME, "must be a duration in h, m and s"),
    ("17 claims", || spec("claims", (0..17).map(|i| json!({"name": format!("c{i}"), "literal": "x"})).collect()), "spec.claims", "must have at most 16 items"),
    ("a claim twice", || spec("claims", json!([claim_of("team"), claim_of("team")])), "spec.claims[1]", "{\"name\":\"team\"}"),
    ("a claim without a name", || spec("claims", json!([{"literal": "x"}])), CLAIM_NAME, REQUIRED),
    ("an empty claim", || claim("name", json!("")), CLAIM_NAME, "must be the name of a claim"),
    ("a claim with a space", || claim("name", json!("my team")), CLAIM_NAME, "must be the name of a claim"),
    ("a registered claim", || claim("name", json!("sub")), CLAIM_NAME, TAKEN),
    ("a registered claim in capitals", || claim("name", json!("Sub")), CLAIM_NAME, TAKEN),
    ("a claim of OAuth", || claim("name", json!("scope")), CLAIM_NAME, TAKEN),
    ("a claim of OpenID Connect", || claim("name", json!("at_hash")), CLAIM_NAME, TAKEN),
    ("a claim of Kubernetes", || claim("name", json!("kubernetes.io")), CLAIM_NAME, TAKEN),
    ("a claim of ours", || claim("name", json!("hpe")), CLAIM_NAME, TAKEN),
    ("a claim with our name", || claim("name", json!("https://hallpass.dev/team")), CLAIM_NAME, TAKEN),
    ("a claim without a source", || claim("name", json!("team")).without("/spec/claims/0/literal"), CLAIM, SOURCE),
    ("a claim with two sources", || claim("namespaceLabel", json!("team")), CLAIM, SOURCE),
    ("a claim with all sources", || claim("namespaceLabel", json!("team")).with("/spec/claims/0/serviceAccountAnnotation", json!("team")), CLAIM, SOURCE),
    ("an empty literal", || claim("literal", json!("")), "spec.claims[0].literal", LINE),
    ("a literal of two lines", || claim("literal", json!("a\nb")), "spec.claims[0].literal", LINE),
    ("a literal of 257 characters", || claim("literal", json!("a".repeat(257))), "spec.claims[0].literal", "may not be more than 256 bytes"),
    ("a label that is none", || sourced("namespaceLabel", "my team"), "spec.claims[0].namespaceLabel", "must be a key"),
    ("an annotation that is none", || sourced("serviceAccountAnnotation", "a/b/c"), "spec.claims[0].serviceAccountAnnotation", "must be a key"),
    ("an empty contact", || spec("contact", json!("")), "spec.contact", LINE),
    ("a contact of two lines", || spec("contact", json!("a\nb")), "spec.contact", LINE),
    ("a contact that colours the terminal", || spec("contact", json!("\u{1b}[31m")), "spec.contact", LINE),
    ("a contact that turns the text around", || spec("contact", json!("a\u{202e}b")), "spec.contact", LINE),
    ("a contact of 257 characters", || spec("contact", json!("a".repeat(257))), "spec.contact", "may not be more than 256 bytes"),
    ("a guard of nobody", || spec("guard", json!({})), GUARD, REQUIRED),
    ("an empty guard", || spec("guard", json!({"serviceAccounts": []})), GUARD, "or leave guard out"),
    ("17 verifiers", || spec("guard", json!({"serviceAccounts": accounts(17)})), GUARD, "must have at most 16 items"),
    ("every verifier", || spec("guard", json!({"serviceAccounts": ["*"]})), GUARD, "\"*\" is not the exact name of a service account"),
];

#[rustfmt::skip]
const GOOD: &[Good] = &[
    ("the base of all bad ones", good),
    ("for nobody", || good().without("/spec/allow")),
    ("for nobody, in other words", || spec("allow", json!([]))),
    ("a scope of every kind of character", || scope("!#$%&'()+,-./09:;<=>?@AZ[]^_`az{|}~")),
    ("all service accounts", || from("serviceAccounts", json!(["*"]))),
    ("service accounts with a dot", || from("serviceAccounts", json!(["orders", "orders.v2"]))),
    ("a ceiling of 30 s", || spec("maxLifetime", json!("30s"))),
    ("a ceiling of 1 h", || spec("maxLifetime", json!("1h"))),
    ("opaque tokens", || spec("format", json!("Opaque"))),
    ("JSON Web Tokens in words", || spec("format", json!("JWT"))),
    ("a claim that begins like a registered one", || claim("name", json!("subject"))),
    ("a claim that is a URL", || claim("name", json!("https://payments.example/team"))),
    ("a claim from a label", || sourced("namespaceLabel", "team")),
    ("a claim from an annotation", || sourced("serviceAccountAnnotation", "payments.example/tenant")),
    ("a contact in another language", || spec("contact", json!("Zürich, 支払い \u{1f4b6}"))),
    ("a guard", || spec("guard", json!({"serviceAccounts": ["payments"]}))),
    ("all there can be", || {
        entries(8, 8, 2)
            .with("/spec/claims", (0..16).map(|i| json!({"name": format!("c{i}"), "literal": "x"})).collect())
            .with("/spec/guard", json!({"serviceAccounts": accounts(16)}))
    }),
];

#[tokio::test]
async fn a_bad_audience_is_refused_with_the_field() -> Result<()> {
    let cluster = Cluster::shared("bad-audience").await?;
    are_accepted(&cluster, GOOD).await?;
    are_refused(&cluster, BAD).await
}

#[tokio::test]
async fn an_unknown_field_of_an_audience_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::shared("unknown-audience").await?;
    for (pointer, field) in [
        ("/spec/proofOfPossession", "spec.proofOfPossession"),
        ("/spec/issuerRef/namespace", "spec.issuerRef.namespace"),
        ("/spec/guard/gateways", "spec.guard.gateways"),
        (
            "/spec/allow/0/from/namespaceSelector/matchExpressions",
            "spec.allow[0].from.namespaceSelector.matchExpressions",
        ),
    ] {
        let audience = spec("guard", json!({"serviceAccounts": ["payments"]}));
        let audience = audience.with(pointer, json!([]));
        is_an_unknown_field(&cluster, &audience, field).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_value_of_an_audience_is_for_life_and_the_rest_is_not() -> Result<()> {
    let cluster = Cluster::shared("fixed-audience").await?;
    cluster.apply(&good().to_string()).await?;
    let resource = "tokenaudience.hallpass.dev/payments";
    let other = r#"{"spec": {"audience": "https://refunds.payments.svc"}}"#;
    cannot_be_changed(&cluster, resource, other, AUDIENCE).await?;
    let same = r#"{"spec": {"audience": "https://payments.payments.svc", "maxLifetime": "5m", "contact": "me"}}"#;
    let args = [
        "patch",
        resource,
        "--type=merge",
        "--dry-run=server",
        "-p",
        same,
    ];
    cluster.kubectl(&args).await?.success()?;
    Ok(())
}

fn good() -> Manifest {
    Manifest::from(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenAudience", "metadata": {"name": "payments"},
        "spec": {
            "audience": "https://payments.payments.svc",
            "issuerRef": {"name": "hallpass"},
            "scopes": [{"name": "payments:read"}, {"name": "payments:write"}],
            "allow": [entry()],
        },
    }))
}

fn entry() -> Value {
    let shop = json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}});
    json!({"from": {"namespaceSelector": shop, "serviceAccounts": ["orders"]}, "scopes": ["payments:read"]})
}

fn spec(member: &str, value: Value) -> Manifest {
    good().with(&format!("/spec/{member}"), value)
}

fn from(member: &str, value: Value) -> Manifest {
    good().with(&format!("/spec/allow/0/from/{member}"), value)
}

fn allowed(scopes: Value) -> Manifest {
    good().with("/spec/allow/0/scopes", scopes)
}

fn scope(name: &str) -> Manifest {
    spec("scopes", json!([{"name": name}])).without("/spec/allow")
}

fn claim_of(name: &str) -> Value {
    json!({"name": name, "literal": "x"})
}

fn claim(member: &str, value: Value) -> Manifest {
    spec("claims", json!([claim_of("team")])).with(&format!("/spec/claims/0/{member}"), value)
}

/// 64 entries of that size, of names of the greatest length.
fn entries(scopes: usize, service_accounts: usize, of_labels: usize) -> Manifest {
    let entry = json!({
        "from": {"namespaceSelector": {"matchLabels": labels(of_labels)}, "serviceAccounts": accounts(service_accounts)},
        "scopes": (0..scopes).map(|i| format!("{i:0>128}")).collect::<Vec<_>>(),
    });
    spec("scopes", names(64)).with("/spec/allow", vec![entry; 64].into())
}

/// A claim with that source alone.
fn sourced(source: &str, key: &str) -> Manifest {
    claim(source, json!(key)).without("/spec/claims/0/literal")
}

/// Of the greatest length.
fn names(count: usize) -> Value {
    (0..count)
        .map(|i| json!({"name": format!("{i:0>128}")}))
        .collect()
}

fn accounts(count: usize) -> Value {
    (0..count).map(|i| format!("{i:a>253}")).collect()
}

fn labels(count: usize) -> Value {
    let label = |i| (format!("example.com/{i:a>63}"), json!("a".repeat(63)));
    Value::Object((0..count).map(label).collect())
}
