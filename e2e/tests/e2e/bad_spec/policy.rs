//! What is refused of a TokenPolicy.

use anyhow::Result;
use hallpass_e2e::{
    cluster::Cluster,
    manifest::{Manifest, policy},
};
use serde_json::{Value, json};

use super::{Bad, Good, REQUIRED, are_accepted, are_refused, is_an_unknown_field};

const TOKEN: &str = "spec.tokens[0]";
const LIFETIME: &str = "spec.tokens[0].lifetime";
const BOUNDS: &str = "must be at least 10m and at most 1h";
const DURATION: &str = "must be a duration in h, m and s, such as 10m, 30m or 1h";
const AUDIENCE: &str = "spec.tokens[0].kubernetesAudience";
const RESERVED: &str = "hallpass.dev and all audiences below hallpass.dev/ are reserved";
const PRINTABLE: &str = "must consist of printable ASCII characters without spaces";
const NAME: &str = "spec.tokens[0].name";
const DNS_LABEL: &str = "must be a DNS label, since it is a file name and a path";
const ACCOUNT: &str = "spec.subjects[0].serviceAccount";
const EXACT: &str = "must be the exact name of one service account";
const LABELS: &str = "spec.subjects[0].podSelector.matchLabels";
const CONTAINERS: &str = "spec.tokens[0].containers";
const SCOPES: &str = "spec.tokens[0].scopes";
const SCOPE: &str = "is not a scope: printable ASCII characters without spaces";
const ONE_KIND: &str = "write exactly one of audienceRef, for an API that has a TokenAudience in this cluster, and kubernetesAudience";
const REF: &str = "spec.tokens[0].audienceRef";

#[rustfmt::skip]
const BAD: &[Bad] = &[
    ("a lifetime of 599 s", || token("lifetime", json!("599s")), LIFETIME, BOUNDS),
    ("a lifetime of 3601 s", || token("lifetime", json!("1h1s")), LIFETIME, BOUNDS),
    ("a lifetime beyond all numbers", || token("lifetime", json!("999999h999999h")), LIFETIME, BOUNDS),
    ("a lifetime in days", || token("lifetime", json!("1d")), LIFETIME, DURATION),
    ("a lifetime of nothing", || token("lifetime", json!("")), LIFETIME, DURATION),
    ("a lifetime without a unit", || token("lifetime", json!("3600")), LIFETIME, DURATION),
    ("a negative lifetime", || token("lifetime", json!("-10m")), LIFETIME, DURATION),
    ("a broken lifetime", || token("lifetime", json!("10.5m")), LIFETIME, DURATION),
    ("a lifetime that is a number", || token("lifetime", json!(600)), LIFETIME, "must be of type string"),
    ("an empty audience", || token("kubernetesAudience", json!("")), AUDIENCE, "write the audience that the API checks"),
    ("no audience", || good().without("/spec/tokens/0/kubernetesAudience"), TOKEN, ONE_KIND),
    ("an audience of null", || token("kubernetesAudience", Value::Null), TOKEN, ONE_KIND),
    ("both kinds of audience", || token("audienceRef", json!({"namespace": "payments", "name": "payments"})), TOKEN, ONE_KIND),
    ("both kinds with scopes", || referred("kubernetesAudience", json!("https://x")), TOKEN, ONE_KIND),
    ("scopes alone", || token("scopes", json!(["read"])).without("/spec/tokens/0/kubernetesAudience"), TOKEN, ONE_KIND),
    ("scopes with a kubernetesAudience", || token("scopes", json!(["read"])), SCOPES, "leave scopes out"),
    ("no scopes with an audienceRef", || reference().without("/spec/tokens/0/scopes"), SCOPES, "name the scopes that the application needs"),
    ("an empty list of scopes", || referred("scopes", json!([])), SCOPES, "name at least one scope"),
    ("33 scopes", || referred("scopes", scopes(33)), SCOPES, "must have at most 32 items"),
    ("a scope twice", || referred("scopes", json!(["read", "read"])), "spec.tokens[0].scopes[1]", "read"),
    ("an empty scope", || referred("scopes", json!(["read", ""])), SCOPES, SCOPE),
    ("a scope with a space", || referred("scopes", json!(["read", "a b"])), SCOPES, "\"a b\" is not a scope"),
    ("a scope with a quote", || referred("scopes", json!(["a\"b"])), SCOPES, SCOPE),
    ("a scope with a backslash", || referred("scopes", json!(["a\\b"])), SCOPES, SCOPE),
    ("a scope with a star", || referred("scopes", json!(["payments:*"])), SCOPES, "\"payments:*\" is not a scope"),
    ("a scope beyond ASCII", || referred("scopes", json!(["zürich"])), SCOPES, SCOPE),
    ("a scope of 129 characters", || referred("scopes", json!(["a".repeat(129)])), "spec.tokens[0].scopes[0]", "may not be more than 128 bytes"),
    ("a reference without a name", || reference().without("/spec/tokens/0/audienceRef/name"), "spec.tokens[0].audienceRef.name", REQUIRED),
    ("a reference without a namespace", || reference().without("/spec/tokens/0/audienceRef/namespace"),
        "spec.tokens[0].audienceRef.namespace", REQUIRED),
    ("a reference to a namespace with a dot", || reference().with("/spec/tokens/0/audienceRef/namespace", json!("a.b")),
        "spec.tokens[0].audienceRef.namespace", "must be the exact name of one namespace"),
    ("a reference to any", || reference().with("/spec/tokens/0/audienceRef/name", json!("*")),
        "spec.tokens[0].audienceRef.name", "must be the exact name of one TokenAudience"),
    ("a reference that is a text", || referred("audienceRef", json!("payments/payments")), REF, "must be of type object"),
    ("a lifetime of 29 s", || referred("lifetime", json!("29s")), LIFETIME, "must be at least 30s and at most 1h"),
    ("a lifetime of 3601 s with an audienceRef", || referred("lifetime", json!("3601s")), LIFETIME, "must be at least 30s and at most 1h"),
    ("a lifetime in days with an audienceRef", || referred("lifetime", json!("1d")), LIFETIME, DURATION),
    ("an audience with a space", || token("kubernetesAudience", json!("https://a b")), AUDIENCE, PRINTABLE),
    ("an audience with a line end", || token("kubernetesAudience", json!("https://a\n")), AUDIENCE, PRINTABLE),
    ("an audience of 513 bytes", || token("kubernetesAudience", json!("a".repeat(513))), AUDIENCE, "may not be more than 512 bytes"),
    ("our identity audience", || token("kubernetesAudience", json!("hallpass.dev")), AUDIENCE, RESERVED),
    ("an identity audience", || token("kubernetesAudience", json!("hallpass.dev/x")), AUDIENCE, RESERVED),
    ("this identity audience", || token("kubernetesAudience", json!("hallpass.dev/hallpass-system")), AUDIENCE, RESERVED),
    ("one audience twice", || tokens(json!([asked("a", "https://x"), asked("b", "https://x")])),
        "spec.tokens", "more than one token asks for the audience \"https://x\""),
    ("one name twice", || tokens(json!([asked("a", "https://x"), asked("a", "https://y")])), "spec.tokens[1]", "{\"name\":\"a\"}"),
    ("no token", || tokens(json!([])), "spec.tokens", "ask for at least one token"),
    ("no list of tokens", || good().without("/spec/tokens"), "spec.tokens", REQUIRED),
    ("33 tokens", || tokens(many(33)), "spec.tokens", "must have at most 32 items"),
    ("32 tokens of 9 scopes", || tokens(scoped(9)), "spec.tokens", "must have at most 256 scopes in all"),
    ("32 tokens of 5 containers", || tokens(contained(5)), "spec.tokens", "must have at most 128 containers in all"),
    ("16 subjects of 5 labels", || subjects(labelled(5)), "spec.subjects", "must have at most 64 labels in all"),
    ("no name", || good().without("/spec/tokens/0/name"), NAME, REQUIRED),
    ("an empty name", || token("name", json!("")), NAME, DNS_LABEL),
    ("a name with a capital", || token("name", json!("Vault")), NAME, DNS_LABEL),
    ("a name with a dot", || token("name", json!("a.b")), NAME, DNS_LABEL),
    ("a name that leaves its folder", || token("name", json!("../x")), NAME, DNS_LABEL),
    ("a name that begins with a dash", || token("name", json!("-a")), NAME, DNS_LABEL),
    ("a name of 64 characters", || token("name", json!("a".repeat(64))), NAME, "may not be more than 63 bytes"),
    ("no subject", || subjects(json!([])), "spec.subjects", "name at least one subject"),
    ("no list of subjects", || good().without("/spec/subjects"), "spec.subjects", REQUIRED),
    ("an empty subject", || subjects(json!([{}])), ACCOUNT, REQUIRED),
    ("17 subjects", || subjects(accounts(17)), "spec.subjects", "must have at most 16 items"),
    ("a service account without a name", || subjects(json!([{"serviceAccount": ""}])), ACCOUNT, EXACT),
    ("every service account", || subjects(json!([{"serviceAccount": "*"}])), ACCOUNT, EXACT),
    ("a service account elsewhere", || subjects(json!([{"serviceAccount": "shop/orders"}])), ACCOUNT, EXACT),
    ("a selector of nothing", || selector(json!({})), LABELS, REQUIRED),
    ("no labels", || selector(json!({"matchLabels": {}})), LABELS, "name at least one label"),
    ("a label key with a space", || selector(json!({"matchLabels": {"my key": "a"}})), LABELS, "\"my key\" is not a label key"),
    ("a label key with two slashes", || selector(json!({"matchLabels": {"a/b/c": "a"}})), LABELS, "\"a/b/c\" is not a label key"),
    ("a label value with a space", || selector(json!({"matchLabels": {"app": "a b"}})),
        LABELS, "the value of label \"app\" is not a label value"),
    ("a label value that is a number", || selector(json!({"matchLabels": {"app": 1}})),
        "spec.subjects[0].podSelector.matchLabels.app", "must be of type string"),
    ("no container", || token("containers", json!([])), CONTAINERS, "name at least one container"),
    ("a container twice", || token("containers", json!(["app", "app"])), "spec.tokens[0].containers[1]", "app"),
    ("a container with a capital", || token("containers", json!(["App"])), CONTAINERS, "\"App\" is not the name of a container"),
    ("required by a word", || token("required", json!("yes")), "spec.tokens[0].required", "must be of type boolean"),
    ("no spec", || good().without("/spec"), "spec", REQUIRED),
];

#[rustfmt::skip]
const GOOD: &[Good] = &[
    ("the base of all bad ones", good),
    ("a lifetime of 10 min", || token("lifetime", json!("10m"))),
    ("a lifetime of 1 h", || token("lifetime", json!("0h59m60s"))),
    ("a lifetime of null", || token("lifetime", Value::Null)),
    ("an audience that begins like ours", || token("kubernetesAudience", json!("hallpass.dev.example"))),
    ("32 tokens of 16 subjects", || tokens(many(32)).with("/spec/subjects", accounts(16))),
    ("a lifetime of 30 s", || referred("lifetime", json!("30s"))),
    ("32 scopes of 128 characters", || referred("scopes", scopes(32))),
    ("a scope of every kind of character", || referred("scopes", json!(["!#$%&'()+,-./09:;<=>?@AZ[]^_`az{|}~"]))),
    ("one audienceRef twice", || tokens(json!([asked_of("a"), asked_of("b"), asked("c", "https://x")]))),
    ("32 tokens of 8 scopes", || tokens(scoped(8))),
    ("32 tokens of 4 containers, 16 subjects of 4 labels", || tokens(contained(4)).with("/spec/subjects", labelled(4))),
    ("a name of 63 characters", || token("name", json!("a".repeat(63)))),
    ("all there is", || {
        let selector = json!({"matchLabels": {"app.example/name": "orders"}});
        token("containers", json!(["app"])).with("/spec/tokens/0/required", json!(false))
            .with("/spec/tokens/0/lifetime", json!("30m")).with("/spec/subjects/0/podSelector", selector)
    }),
];

#[tokio::test]
async fn a_bad_policy_is_refused_with_the_field() -> Result<()> {
    let cluster = Cluster::shared("bad").await?;
    are_accepted(&cluster, GOOD).await?;
    are_refused(&cluster, BAD).await
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::shared("unknown").await?;
    for (pointer, field) in [
        ("/spec/tokens/0/audience", "spec.tokens[0].audience"),
        (
            "/spec/tokens/0/audienceRef/uid",
            "spec.tokens[0].audienceRef.uid",
        ),
        (
            "/spec/subjects/0/podSelector/matchExpressions",
            "spec.subjects[0].podSelector.matchExpressions",
        ),
        ("/spec/issuer", "spec.issuer"),
    ] {
        let selector = json!({"matchLabels": {"app": "orders"}});
        let policy = good()
            .with("/spec/subjects/0/podSelector", selector)
            .with(pointer, json!([]));
        is_an_unknown_field(&cluster, &policy, field).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_audience_of_the_api_server_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::shared("server").await?;
    for audience in [
        "https://kubernetes.default.svc",
        "https://kubernetes.default.svc.cluster.local",
    ] {
        let policy = tokens(json!([
            asked("vault", "https://vault.example"),
            asked("server", audience)
        ]));
        let status = cluster.create(&policy).refused().await?;
        assert_eq!(status.code, 422, "{status:?}");
        let said = format!(
            "ValidatingAdmissionPolicy 'hallpass-api-server-audiences' with binding 'hallpass-api-server-audiences' \
             denied request: token server asks for kubernetesAudience \"{audience}\""
        );
        assert!(status.message.contains(&said), "{}", status.message);
        let twin = tokens(json!([asked("server", &format!("{audience}.example"))]));
        cluster.create(&twin).accepted().await?;
    }
    Ok(())
}

fn good() -> Manifest {
    policy("orders", "orders", &[("vault", "https://vault.example")])
        .without("/spec/tokens/0/lifetime")
}

fn token(member: &str, value: Value) -> Manifest {
    good().with(&format!("/spec/tokens/0/{member}"), value)
}

/// A token for an API that has a TokenAudience.
fn reference() -> Manifest {
    tokens(json!([asked_of("payments")]))
}

fn referred(member: &str, value: Value) -> Manifest {
    reference().with(&format!("/spec/tokens/0/{member}"), value)
}

fn asked_of(name: &str) -> Value {
    json!({"name": name, "audienceRef": {"namespace": "payments", "name": "payments"}, "scopes": ["payments:read"]})
}

/// Of the greatest length.
fn scopes(count: usize) -> Value {
    (0..count).map(|i| format!("{i:0>128}")).collect()
}

fn tokens(tokens: Value) -> Manifest {
    good().with("/spec/tokens", tokens)
}

fn asked(name: &str, audience: &str) -> Value {
    json!({"name": name, "kubernetesAudience": audience})
}

fn many(count: usize) -> Value {
    (0..count)
        .map(|i| asked(&format!("t{i}"), &format!("https://{i}.example")))
        .collect()
}

/// 32 tokens, each with so many scopes.
fn scoped(count: usize) -> Value {
    let mut tokens: Vec<Value> = (0..32).map(|i| asked_of(&format!("t{i}"))).collect();
    for token in &mut tokens {
        token["scopes"] = scopes(count);
    }
    tokens.into()
}

/// 32 tokens, each for so many containers.
fn contained(count: usize) -> Value {
    let mut tokens = many(32);
    for token in tokens.as_array_mut().into_iter().flatten() {
        token["containers"] = (0..count).map(|i| format!("{i:a>63}")).collect();
    }
    tokens
}

/// 16 subjects, each with so many labels.
fn labelled(count: usize) -> Value {
    let labels: Value = Value::Object((0..count).map(|i| (format!("l{i}"), json!("x"))).collect());
    let mut subjects = accounts(16);
    for subject in subjects.as_array_mut().into_iter().flatten() {
        subject["podSelector"] = json!({"matchLabels": labels});
    }
    subjects
}

fn subjects(subjects: Value) -> Manifest {
    good().with("/spec/subjects", subjects)
}

fn accounts(count: usize) -> Value {
    (0..count)
        .map(|i| json!({"serviceAccount": format!("orders-{i}")}))
        .collect()
}

fn selector(selector: Value) -> Manifest {
    good().with("/spec/subjects/0/podSelector", selector)
}
