//! What is refused of a TokenRevocation and of a ClusterTokenRevocation.

use anyhow::{Result, ensure};
use hallpass_e2e::{cluster::Cluster, manifest::Manifest};
use serde_json::{Value, json};

use super::{
    Bad, Good, REQUIRED, are_accepted, are_refused, cannot_be_changed, is_an_unknown_field,
};

mod operator;

const TARGET: &str = "spec.target";
const ONE: &str = "write exactly one of pod, serviceAccount, policy and tokenID: for more than one thing, write a TokenRevocation for each";
const ONE_OF_ALL: &str = "write exactly one of pod, serviceAccount, policy, tokenID, audience, key and issuer, or namespace alone to mean all of it: for more than one thing, write a ClusterTokenRevocation for each";
const NAMESPACE: &str = "spec.target.namespace";
const WHICH: &str =
    "Required value: name the namespace that the pod, serviceAccount or policy is in";
const EVERYWHERE: &str = "Forbidden: leave namespace out: a tokenID, audience, key or issuer is meant wherever in the cluster its tokens are";
const POD: &str = "must be the exact name of one pod: lower-case letters, digits, '-' and '.'";
const ACCOUNT: &str = "must be the exact name of one service account: lower-case letters, digits, '-' and '.'; there are no wildcards";
const POLICY: &str =
    "must be the exact name of one TokenPolicy: lower-case letters, digits, '-' and '.'";
const ISSUER: &str =
    "must be the exact name of one TokenIssuer: lower-case letters, digits, '-' and '.'";
const ANY_NAMESPACE: &str = "must be the exact name of one namespace: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit";
const JTI: &str = "must be the jti of one token, never the token itself: 1 to 64 printable ASCII characters without spaces";
const KID: &str = "must be the kid of one key, as the status of its TokenIssuer names it: 1 to 128 printable ASCII characters without spaces";
const AUD: &str =
    "Required value: write the aud of the tokens, such as https://payments.payments.svc";
const PRINTABLE: &str = "must consist of printable ASCII characters without spaces";
const EFFECT: &str = "spec.effect";
const LOCK: &str = "Forbidden: leave effect out, or write Revoke: no new token can come of a tokenID, so there is nothing to lock; to keep its holder from getting another one, lock the pod or the serviceAccount";
const LOCK_OF_ALL: &str = "Forbidden: leave effect out, or write Revoke: no new token can come of a tokenID or key that is revoked, so there is nothing to lock; to keep somebody from getting another token, lock the pod, the serviceAccount or the issuer";
const BEFORE: &str = "spec.issuedBefore";
const WHOLE: &str =
    "Forbidden: leave issuedBefore out: the token of a tokenID is refused whenever it was issued";
const WHOLE_OF_ALL: &str = "Forbidden: leave issuedBefore out: the tokens of a tokenID or key are refused whenever they were issued";
const END: &str = "spec.expiresAt";
const NO_LOCK: &str = "Forbidden: leave expiresAt out, or write effect: Lock: only a lock has an end; without one, what was issued is refused until it has expired by itself";
const MESSAGE: &str = "spec.message";
const LINE: &str = "must be one line of visible characters";
const TTL: &str = "spec.ttlSecondsAfterExpired";
const YEAR: &str = "must be a time before the year 9999, such as 2026-11-25T08:00:00Z";
const LAST: &str = "9999-12-31T23:59:59Z";
const TIME: &str = "2026-11-25T01:42:00Z";

#[rustfmt::skip]
const BAD: &[Bad] = &[
    ("no spec", || good().without("/spec"), "spec", REQUIRED),
    ("no target", || good().without("/spec/target"), TARGET, REQUIRED),
    ("nothing", || target(json!({})), TARGET, ONE),
    ("two things", || target(json!({"pod": "a", "policy": "a"})), TARGET, ONE),
    ("a token and who holds it, locked", || locked(json!({"tokenID": "a", "pod": "a"})), TARGET, ONE),
    ("everything", || target(json!({"pod": "a", "serviceAccount": "a", "policy": "a", "tokenID": "a"})), TARGET, ONE),
    ("every pod", || target(json!({"pod": "*"})), "spec.target.pod", POD),
    ("an empty pod", || target(json!({"pod": ""})), "spec.target.pod", POD),
    ("a pod of 254 characters", || target(json!({"pod": "a".repeat(254)})), "spec.target.pod", "may not be more than 253 bytes"),
    ("every service account", || target(json!({"serviceAccount": "*"})), "spec.target.serviceAccount", ACCOUNT),
    ("a service account elsewhere", || target(json!({"serviceAccount": "shop/orders"})), "spec.target.serviceAccount", ACCOUNT),
    ("every policy", || target(json!({"policy": "*"})), "spec.target.policy", POLICY),
    ("an empty token", || target(json!({"tokenID": ""})), "spec.target.tokenID", JTI),
    ("a token with a space", || target(json!({"tokenID": "a b"})), "spec.target.tokenID", JTI),
    ("a token with a line's end", || target(json!({"tokenID": "a\n"})), "spec.target.tokenID", JTI),
    ("a token beyond ASCII", || target(json!({"tokenID": "é"})), "spec.target.tokenID", JTI),
    ("a token of 65 characters", || target(json!({"tokenID": "a".repeat(65)})), "spec.target.tokenID", "may not be more than 64 bytes"),
    ("an effect that is not known", || spec("effect", json!("lock")), EFFECT, "supported values: \"Revoke\", \"Lock\""),
    ("a lock of one token", || locked(json!({"tokenID": "a"})), EFFECT, LOCK),
    ("a lock of one token that ends", || locked(json!({"tokenID": "a"})).with("/spec/expiresAt", json!(TIME)), EFFECT, LOCK),
    ("a time with one token", || target(json!({"tokenID": "a"})).with("/spec/issuedBefore", json!(TIME)), BEFORE, WHOLE),
    ("a day", || spec("issuedBefore", json!("2026-11-25")), BEFORE, "must be of type date-time"),
    ("an hour that no clock shows", || spec("issuedBefore", json!("2026-11-25T01:42:00+25:99")), BEFORE, "Invalid date-time formatted string"),
    ("the last time", || spec("issuedBefore", json!(LAST)), BEFORE, YEAR),
    ("a lock until the last time", || spec("effect", json!("Lock")).with("/spec/expiresAt", json!(LAST)), END, YEAR),
    ("an end of nothing", || spec("expiresAt", json!(TIME)), END, NO_LOCK),
    ("an end of a revocation", || spec("effect", json!("Revoke")).with("/spec/expiresAt", json!(TIME)), END, NO_LOCK),
    ("an end of no time", || spec("effect", json!("Lock")).with("/spec/expiresAt", json!("1h")), END, "must be of type date-time"),
    ("an empty message", || spec("message", json!("")), MESSAGE, LINE),
    ("a message of two lines", || spec("message", json!("a\nb")), MESSAGE, LINE),
    ("a message that colours the terminal", || spec("message", json!("\u{1b}[31m")), MESSAGE, LINE),
    ("a message of 257 characters", || spec("message", json!("a".repeat(257))), MESSAGE, "may not be more than 256 bytes"),
    ("a time to live before its end", || spec("ttlSecondsAfterExpired", json!(-1)), TTL, "should be greater than or equal to 0"),
    ("a time to live of more than a year", || spec("ttlSecondsAfterExpired", json!(31_536_001)), TTL, "should be less than or equal to 31536000"),
    ("a time to live in words", || spec("ttlSecondsAfterExpired", json!("1h")), TTL, "must be of type integer"),
];

#[rustfmt::skip]
const BAD_OF_THE_CLUSTER: &[Bad] = &[
    ("no spec", || broad().without("/spec"), "spec", REQUIRED),
    ("no target", || broad().without("/spec/target"), TARGET, REQUIRED),
    ("nothing", || of_all(json!({})), TARGET, ONE_OF_ALL),
    ("two things", || of_all(json!({"audience": "a", "issuer": "a"})), TARGET, ONE_OF_ALL),
    ("two things of a namespace", || of_all(json!({"namespace": "a", "pod": "a", "policy": "a"})), TARGET, ONE_OF_ALL),
    ("a key and its issuer, locked", || locked_of_all(json!({"key": "a", "issuer": "a"})), TARGET, ONE_OF_ALL),
    ("everything", || of_all(json!({"namespace": "a", "pod": "a", "serviceAccount": "a", "policy": "a", "tokenID": "a", "audience": "a", "key": "a", "issuer": "a"})), TARGET, ONE_OF_ALL),
    ("a pod of nowhere", || of_all(json!({"pod": "a"})), NAMESPACE, WHICH),
    ("a service account of nowhere", || of_all(json!({"serviceAccount": "a"})), NAMESPACE, WHICH),
    ("a policy of nowhere", || of_all(json!({"policy": "a"})), NAMESPACE, WHICH),
    ("a token of a namespace", || of_all(json!({"namespace": "a", "tokenID": "a"})), NAMESPACE, EVERYWHERE),
    ("an audience of a namespace", || of_all(json!({"namespace": "a", "audience": "a"})), NAMESPACE, EVERYWHERE),
    ("a key of a namespace", || of_all(json!({"namespace": "a", "key": "a"})), NAMESPACE, EVERYWHERE),
    ("an issuer of a namespace", || of_all(json!({"namespace": "a", "issuer": "a"})), NAMESPACE, EVERYWHERE),
    ("every namespace", || of_all(json!({"namespace": "*"})), NAMESPACE, ANY_NAMESPACE),
    ("a namespace of 64 characters", || of_all(json!({"namespace": "a".repeat(64)})), NAMESPACE, "may not be more than 63 bytes"),
    ("every pod", || of_all(json!({"namespace": "a", "pod": "*"})), "spec.target.pod", POD),
    ("every service account", || of_all(json!({"namespace": "a", "serviceAccount": "*"})), "spec.target.serviceAccount", ACCOUNT),
    ("every policy", || of_all(json!({"namespace": "a", "policy": "*"})), "spec.target.policy", POLICY),
    ("an empty token", || of_all(json!({"tokenID": ""})), "spec.target.tokenID", JTI),
    ("a token of 65 characters", || of_all(json!({"tokenID": "a".repeat(65)})), "spec.target.tokenID", "may not be more than 64 bytes"),
    ("an empty audience", || of_all(json!({"audience": ""})), "spec.target.audience", AUD),
    ("an audience with a space", || of_all(json!({"audience": "a b"})), "spec.target.audience", PRINTABLE),
    ("an audience of 513 characters", || of_all(json!({"audience": "a".repeat(513)})), "spec.target.audience", "may not be more than 512 bytes"),
    ("an empty key", || of_all(json!({"key": ""})), "spec.target.key", KID),
    ("a key with a space", || of_all(json!({"key": "a b"})), "spec.target.key", KID),
    ("a key of 129 characters", || of_all(json!({"key": "a".repeat(129)})), "spec.target.key", "may not be more than 128 bytes"),
    ("every issuer", || of_all(json!({"issuer": "*"})), "spec.target.issuer", ISSUER),
    ("a lock of one token", || locked_of_all(json!({"tokenID": "a"})), EFFECT, LOCK_OF_ALL),
    ("a lock of a key", || locked_of_all(json!({"key": "a"})), EFFECT, LOCK_OF_ALL),
    ("a time with one token", || of_all(json!({"tokenID": "a"})).with("/spec/issuedBefore", json!(TIME)), BEFORE, WHOLE_OF_ALL),
    ("a time with a key", || of_all(json!({"key": "a"})).with("/spec/issuedBefore", json!(TIME)), BEFORE, WHOLE_OF_ALL),
    ("the last time", || broad().with("/spec/issuedBefore", json!(LAST)), BEFORE, YEAR),
    ("a lock until the last time", || broad().with("/spec/effect", json!("Lock")).with("/spec/expiresAt", json!(LAST)), END, YEAR),
    ("an end of nothing", || broad().with("/spec/expiresAt", json!(TIME)), END, NO_LOCK),
    ("a message of two lines", || broad().with("/spec/message", json!("a\nb")), MESSAGE, LINE),
    ("a time to live before its end", || broad().with("/spec/ttlSecondsAfterExpired", json!(-1)), TTL, "should be greater than or equal to 0"),
];

#[rustfmt::skip]
const GOOD: &[Good] = &[
    ("the base of all bad ones", good),
    ("a pod with a dot", || target(json!({"pod": "orders-0.v2"}))),
    ("a service account", || target(json!({"serviceAccount": "orders"}))),
    ("a policy", || target(json!({"policy": "orders"}))),
    ("a token", || target(json!({"tokenID": "!~".repeat(32)}))),
    ("a token in words", || target(json!({"tokenID": "a"})).with("/spec/effect", json!("Revoke"))),
    ("a lock for ever", || locked(json!({"policy": "orders"}))),
    ("all there can be", || {
        locked(json!({"serviceAccount": "a".repeat(253)})).with("/spec/issuedBefore", json!(TIME))
            .with("/spec/expiresAt", json!("9998-12-31T23:59:59.123456789+01:00"))
            .with("/spec/message", json!("ü".repeat(256))).with("/spec/ttlSecondsAfterExpired", json!(31_536_000))
    }),
    ("deleted at once", || spec("ttlSecondsAfterExpired", json!(0))),
    ("the base of all bad ones of the cluster", broad),
    ("a pod of a namespace", || of_all(json!({"namespace": "shop", "pod": "orders-0"}))),
    ("a service account of a namespace", || of_all(json!({"namespace": "shop", "serviceAccount": "orders"}))),
    ("a policy of a namespace", || of_all(json!({"namespace": "shop", "policy": "orders"}))),
    ("a token of the cluster", || of_all(json!({"tokenID": "a"}))),
    ("an audience", || locked_of_all(json!({"audience": "a".repeat(512)}))),
    ("a key", || of_all(json!({"key": "a".repeat(128)})).with("/spec/effect", json!("Revoke"))),
    ("an issuer", || locked_of_all(json!({"issuer": "hallpass"})).with("/spec/expiresAt", json!(TIME))),
];

#[tokio::test]
async fn a_bad_revocation_is_refused_with_the_field() -> Result<()> {
    let cluster = Cluster::shared("bad-revocation").await?;
    are_accepted(&cluster, GOOD).await?;
    are_refused(&cluster, BAD).await?;
    are_refused(&cluster, BAD_OF_THE_CLUSTER).await
}

#[tokio::test]
async fn an_unknown_field_of_a_revocation_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::shared("unknown-revocation").await?;
    for field in ["spec.reason", "spec.target.namespace", "spec.target.key"] {
        let pointer = format!("/{}", field.replace('.', "/"));
        let revocation = good().with(&pointer, json!("a"));
        is_an_unknown_field(&cluster, &revocation, field).await?;
    }
    let revocation = broad().with("/spec/target/scope", json!("a"));
    is_an_unknown_field(&cluster, &revocation, "spec.target.scope").await
}

#[tokio::test]
async fn a_revocation_is_for_life_and_its_row_says_what_it_is() -> Result<()> {
    let cluster = Cluster::shared("fixed-revocation").await?;
    cluster.apply(&good().to_string()).await?;
    let resource = "tokenrevocation.hallpass.dev/orders";
    for other in [
        r#"{"spec": {"target": {"pod": "orders-1"}}}"#,
        r#"{"spec": {"effect": "Lock"}}"#,
        r#"{"spec": {"message": "a"}}"#,
        r#"{"spec": {"ttlSecondsAfterExpired": 0}}"#,
    ] {
        cannot_be_changed(&cluster, resource, other, "spec").await?;
    }
    let label = ["label", resource, "a=b"];
    cluster.kubectl(&label).await?.success()?;
    let row = ["get", "htr", "orders", "--no-headers"];
    let row = cluster.kubectl(&row).await?.success()?;
    ensure!(row.contains(r#"orders   {"pod":"orders-0"} "#), "{row:?}");

    // it is seen by the whole cluster: under a name and with a target of its own
    let name = &cluster.namespace;
    let revocation = broad().with("/metadata/name", json!(name));
    let revocation = revocation.with("/spec/target/namespace", json!(name));
    cluster.apply(&revocation.to_string()).await?;
    let resource = format!("clustertokenrevocation.hallpass.dev/{name}");
    let lock = r#"{"spec": {"effect": "Lock"}}"#;
    let outcome = cannot_be_changed(&cluster, &resource, lock, "spec").await;
    cluster.kubectl(&["delete", &resource]).await?.success()?;
    outcome
}

#[tokio::test]
async fn the_epoch_of_a_revocation_is_a_number() -> Result<()> {
    let cluster = Cluster::shared("epoch").await?;
    cluster.apply(&good().to_string()).await?;
    let patch = async |epoch: &str| {
        let patch = json!({"status": {"epoch": epoch}}).to_string();
        let which = ["patch", "tokenrevocation.hallpass.dev", "orders"];
        let how = ["--subresource=status", "--type=merge", "--dry-run=server"];
        let what = ["-p", &patch];
        cluster.kubectl(&[&which[..], &how, &what].concat()).await
    };
    patch("18446744073709551615").await?.success()?;
    for bad in ["", "-1", "1a", "0x1", "184467440737095516150"] {
        let said = patch(bad).await?.failure()?;
        ensure!(said.contains("status.epoch"), "{bad:?}: {said}");
    }
    Ok(())
}

fn good() -> Manifest {
    Manifest::from(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenRevocation", "metadata": {"name": "orders"},
        "spec": {"target": {"pod": "orders-0"}},
    }))
}

fn broad() -> Manifest {
    Manifest::from(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "ClusterTokenRevocation", "metadata": {"name": "shop"},
        "spec": {"target": {"namespace": "shop"}},
    }))
}

fn spec(member: &str, value: Value) -> Manifest {
    good().with(&format!("/spec/{member}"), value)
}

fn target(target: Value) -> Manifest {
    spec("target", target)
}

fn locked(what: Value) -> Manifest {
    target(what).with("/spec/effect", json!("Lock"))
}

fn of_all(target: Value) -> Manifest {
    broad().with("/spec/target", target)
}

fn locked_of_all(target: Value) -> Manifest {
    of_all(target).with("/spec/effect", json!("Lock"))
}
