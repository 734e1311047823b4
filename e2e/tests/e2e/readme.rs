//! What the README tells people to do, done.

use std::{os::unix::fs::symlink, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_core::denial::Code;
use hallpass_e2e::{
    cluster::{Cluster, Engine, checkout, engine},
    command::{kubectl, kubectl_with, run},
    readme::{block, block_of, unmarked_commands},
    remark::remark,
    token::claims,
    wait::{not_yet, until},
};
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn every_command_block_of_the_readme_is_run() -> Result<()> {
    let unmarked = unmarked_commands()?;
    ensure!(unmarked.is_empty(), "{unmarked:?}");
    Ok(())
}

#[test]
fn the_reference_explains_every_code() -> Result<()> {
    let reference = std::fs::read_to_string(checkout().join("docs/reference.md"))?;
    let missing: Vec<_> = Code::ALL
        .iter()
        .filter(|code| !reference.contains(&format!("| `{code}` |")))
        .collect();
    ensure!(
        missing.is_empty(),
        "docs/reference.md has no row for {missing:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_example_gives_an_unmodified_pod_its_token() -> Result<()> {
    // `install` was run by the harness, from the same block
    let cluster = Cluster::shared("readme").await?;
    // in the order of the text; those with scopes at once, so that nobody waits for a second poll
    for mark in [
        "example-namespace",
        "example-policy",
        "scopes-audience",
        "scopes-policy",
        "example-pod",
    ] {
        let said = kubectl_with(&["apply", "-f", "-"], &block(mark)?).await?;
        said.success().context(mark)?;
    }
    let args = [
        "-n",
        "shop",
        "wait",
        "pod/orders",
        "--for=condition=Ready",
        "--timeout=90s",
    ];
    kubectl(&args).await?.success()?;

    let said = run("sh", &["-c", &block("read")?], None).await?.success()?;
    let served: Value = serde_json::from_str(&said)?;
    let claims = claims(served["access_token"].as_str().context("a token")?)?;
    assert_eq!(claims["aud"], json!(["https://vault.example"]));
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], "orders");

    snippets().await?;
    scopes().await?;
    drop(cluster);
    kubectl(&["delete", "namespace", "shop", "payments", "--wait=false"])
        .await?
        .success()?;
    Ok(())
}

/// The pod reads the token that both sides agree on.
async fn scopes() -> Result<()> {
    let read = block("scopes-read")?;
    let minute = Duration::from_secs(60);
    let served = until(minute, "the token with scopes", || async {
        let said = run("sh", &["-c", &read], None).await?.success()?;
        let served: Value = serde_json::from_str(&said)?;
        match served["access_token"].as_str() {
            Some(_) => Ok(served),
            None => Err(not_yet(served)),
        }
    });
    let served = served.await?;
    assert_eq!(served["scope"], "payments:read");
    let token = served["access_token"].as_str().context("a token")?;
    let claims = claims(token)?;
    assert_eq!(claims["aud"], "https://payments.payments.svc");
    assert_eq!(claims["sub"], "system:serviceaccount:shop:orders");
    assert_eq!(claims["scope"], "payments:read");
    introspected(token).await
}

/// The API's own pod asks what the token is worth, as `docs/verifying.md` has it.
async fn introspected(token: &str) -> Result<()> {
    let document = "docs/verifying.md";
    let api = async |args: &[&str]| {
        let said = kubectl(&[&["-n", "payments"], args].concat()).await?;
        said.success()
    };
    api(&["create", "serviceaccount", "payments"]).await?;
    let guard = r#"{"spec":{"guard":{"serviceAccounts":["payments"]}}}"#;
    let audience = "tokenaudiences.hallpass.dev/payments";
    api(&["patch", audience, "--type=merge", "-p", guard]).await?;
    let mut pod = block_of(document, "verifier-pod")?;
    if engine()? == Engine::Webhook {
        // the same document says what is mounted in place of a bundle
        let authority = block_of(document, "ca-in-a-configmap")?;
        let folder = TempDir::new()?;
        let script = format!("cd {} && {authority}", folder.path().display());
        run("sh", &["-ec", &script], None).await?.success()?;
        let bundle = pod.lines().find(|line| line.contains("clusterTrustBundle"));
        let bundle = bundle.context("a source")?.trim().to_owned();
        pod = pod.replace(&bundle, "- configMap: {name: hallpass-ca}");
    }
    let said = kubectl_with(&["apply", "-f", "-"], &pod).await?;
    said.success()?;
    let ready = ["wait", "pod/payments", "--for=condition=Ready"];
    api(&[&ready[..], &["--timeout=90s"]].concat()).await?;

    let ask = format!("TOKEN={token}\n{}", block_of(document, "introspect")?);
    let exec = ["exec", "payments", "-c", "api", "--", "sh", "-c", &ask];
    let within = Duration::from_secs(30);
    let told = until(within, "the verifier is told of the token", || async {
        let told: Value = serde_json::from_str(&api(&exec).await?)?;
        if told["active"] == true {
            Ok(told)
        } else {
            Err(not_yet(told))
        }
    });
    let told = told.await?;
    assert_eq!(told["scope"], "payments:read");
    assert_eq!(told["sub"], "system:serviceaccount:shop:orders");

    kubectl_with(&["apply", "-f", "-"], &block("revocation")?)
        .await?
        .success()?;
    until(
        Duration::from_secs(5),
        "the token is taken back",
        || async {
            let told: Value = serde_json::from_str(&api(&exec).await?)?;
            if told == json!({"active": false}) {
                Ok(())
            } else {
                Err(not_yet(told))
            }
        },
    )
    .await?;
    let wait = block("revocation-wait")?;
    run("sh", &["-c", &wait], None).await?.success()?;
    Ok(())
}

/// Each snippet of the README: its mark, its file, the program it needs, how it is run.
const SNIPPETS: [(&str, &str, &str, &str); 6] = [
    ("sh", "snippet.sh", "sh", "sh snippet.sh"),
    ("python", "snippet.py", "python3", "python3 snippet.py"),
    ("go", "main.go", "go", "go run main.go"),
    ("node", "snippet.js", "node", "node snippet.js"),
    ("java", "Token.java", "java", "java Token.java"),
    (
        "rust",
        "snippet.rs",
        "rustc",
        "rustc --edition 2024 snippet.rs && ./snippet",
    ),
];

/// Runs each snippet on this machine, with the socket of the pod, as its node sees it.
async fn snippets() -> Result<()> {
    let Some(socket) = socket_on_the_node().await? else {
        remark("skipped: the README's snippets need a node on this machine");
        return Ok(());
    };
    let socket = socket.path().join("s/hallpass.sock");
    let read = ["cat", "/var/run/hallpass/tokens/vault"];
    let args = [
        &["-n", "shop", "exec", "orders", "-c", "app", "--"],
        &read[..],
    ]
    .concat();
    let token = kubectl(&args).await?.success()?;
    let mut skipped = 0;
    for (language, file, needs, command) in SNIPPETS {
        if !run("sh", &["-c", &format!("command -v {needs}")], None)
            .await?
            .ok
        {
            remark(&format!("skipped: the {language} snippet needs {needs}"));
            skipped += 1;
            continue;
        }
        let folder = TempDir::new()?;
        std::fs::write(
            folder.path().join(file),
            block(&format!("snippet {language}"))?,
        )?;
        let (folder, socket) = (folder.path().display(), socket.display());
        let script = format!("cd {folder} && export HALLPASS_SOCKET={socket} && {command}");
        let said = run("sh", &["-c", &script], None).await?.success();
        let said = said.with_context(|| format!("the {language} snippet"))?;
        assert_eq!(
            said, token,
            "the {language} snippet prints what the file holds"
        );
    }
    remark(&format!("{skipped} snippets skipped"));
    Ok(())
}

/// A folder with a link `s` to the socket's folder, since a path longer than 107 bytes is no address
/// of a socket. None where the node is another machine.
async fn socket_on_the_node() -> Result<Option<TempDir>> {
    let uid = kubectl(&[
        "-n",
        "shop",
        "get",
        "pod",
        "orders",
        "-o",
        "jsonpath={.metadata.uid}",
    ])
    .await?
    .success()?;
    let Some(state) = std::env::var_os("HALLPASS_CLUSTER_STATE").map(PathBuf::from) else {
        return Ok(None);
    };
    let pod = state.join("kubelet/pods").join(uid);
    let folder = pod.join("volumes/kubernetes.io~empty-dir/hallpass-c0");
    let link = TempDir::new()?;
    symlink(folder, link.path().join("s"))?;
    Ok(Some(link))
}
