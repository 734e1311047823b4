//! What is stored, past the API server: for what that lets nobody write. Only a cluster of our own shows
//! its etcd.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::command::{kubectl, run};

/// Has a Secret been created so much earlier than it was. Who watches sees it change.
///
/// # Errors
/// It is not stored as a protobuf in the open, or somebody else writes it at that moment.
pub async fn created_earlier(namespace: &str, secret: &str, by: Duration) -> Result<()> {
    let path = "jsonpath={.metadata.creationTimestamp}";
    let created = kubectl(&["get", "secret", secret, "-n", namespace, "-o", path]).await?;
    let created: Timestamp = created.success()?.parse()?;
    let key = BASE64_STANDARD.encode(format!("/registry/secrets/{namespace}/{secret}"));
    let found = ask("kv/range", &json!({ "key": key })).await?;
    let stored = &found["kvs"][0];
    let value = stored["value"].as_str().context("it is stored")?;
    let value = BASE64_STANDARD.decode(value)?;
    let value = replaced(
        &value,
        &creation(created),
        &creation(created.checked_sub(by)?),
    )?;
    let put = json!({"key": key, "value": BASE64_STANDARD.encode(value)});
    let unchanged = json!({
        "key": key, "target": "MOD", "mod_revision": stored["mod_revision"],
    });
    let done = ask(
        "kv/txn",
        &json!({"compare": [unchanged], "success": [{"requestPut": put}]}),
    )
    .await?;
    ensure!(done["succeeded"] == true, "overtaken: {done}");
    Ok(())
}

/// `metadata.creationTimestamp` on the wire: field 8, a message of whole seconds and no nanoseconds.
fn creation(at: Timestamp) -> Vec<u8> {
    let mut time = vec![0x08];
    let mut seconds = at.as_second().unsigned_abs();
    while seconds > 0x7f {
        time.push(seconds as u8 | 0x80);
        seconds >>= 7;
    }
    time.extend([seconds as u8, 0x10, 0]);
    [&[0x42, time.len() as u8][..], &time].concat()
}

/// With the one place that says `old` saying `new`, which is as long.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Result<Vec<u8>> {
    let places = bytes.windows(old.len()).enumerate();
    let places: Vec<usize> = places
        .filter(|(_, w)| *w == old)
        .map(|(at, _)| at)
        .collect();
    let [at] = places[..] else {
        anyhow::bail!("the time is found {} times", places.len());
    };
    ensure!(old.len() == new.len(), "times of different lengths");
    Ok([&bytes[..at], new, &bytes[at + old.len()..]].concat())
}

async fn ask(method: &str, request: &Value) -> Result<Value> {
    let url = format!("http://127.0.0.1:2379/v3/{method}");
    let args = ["-sSf", "-m", "10", "-d", &request.to_string(), &url];
    let said = run("curl", &args, None).await?.success()?;
    serde_json::from_str(&said).with_context(|| format!("no JSON: {said}"))
}
