//! The snippets of `docs/verifying.md`, as they stand there: each accepts a good token and refuses every
//! faulty one.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    command::run,
    faults::{faulty, with},
    mint::Mint,
    readme::{block_of, marks},
    remark::remark,
    verifiers::{Documented, Verdict, Verifier},
    wait::now,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::AUDIENCE;

const DOCUMENT: &str = "docs/verifying.md";
const SCOPE: &str = "payments:read";

/// A language of the document: the marks of its blocks with the files that they become, and the programs
/// without which it is skipped.
struct Language {
    name: &'static str,
    blocks: &'static [(&'static str, &'static str)],
    needs: &'static [&'static str],
}

const LANGUAGES: [Language; 6] = [
    Language {
        name: "python",
        blocks: &[("snippet python", "snippet.py")],
        needs: &["python3"],
    },
    Language {
        name: "node",
        blocks: &[("snippet node", "snippet.mjs")],
        needs: &["node"],
    },
    Language {
        name: "go",
        blocks: &[("snippet go", "snippet.go")],
        needs: &["go"],
    },
    Language {
        name: "java",
        blocks: &[("snippet java", "Verifier.java")],
        needs: &["javac", "mvn"],
    },
    Language {
        name: "rust",
        blocks: &[("snippet rust", "snippet.rs")],
        needs: &["cargo"],
    },
    Language {
        name: "envoy",
        blocks: &[
            ("snippet envoy filters", "filters.yaml"),
            ("snippet envoy cluster", "cluster.yaml"),
        ],
        needs: &["python3"],
    },
];

#[test]
fn every_snippet_is_run() -> Result<()> {
    let run: Vec<&str> = LANGUAGES
        .iter()
        .flat_map(|language| language.blocks.iter().map(|(mark, _)| *mark))
        .collect();
    let marked = marks(DOCUMENT)?;
    let snippets = marked.iter().filter(|mark| mark.starts_with("snippet "));
    ensure!(snippets.eq(&run), "{marked:?}");
    Ok(())
}

#[tokio::test]
async fn the_python_snippet_does_everything_right() -> Result<()> {
    refuses_all_but("python", &[]).await
}

#[tokio::test]
async fn the_node_snippet_does_everything_right() -> Result<()> {
    refuses_all_but("node", &[]).await
}

#[tokio::test]
async fn the_go_snippet_does_everything_right() -> Result<()> {
    refuses_all_but("go", &[]).await
}

#[tokio::test]
async fn the_java_snippet_does_everything_right_but_look_at_iat() -> Result<()> {
    refuses_all_but("java", &["issued in an hour"]).await
}

#[tokio::test]
async fn the_rust_snippet_does_everything_right_but_look_at_iat() -> Result<()> {
    refuses_all_but("rust", &["issued in an hour"]).await
}

#[tokio::test]
async fn the_envoy_snippet_does_everything_right_but_look_at_iat() -> Result<()> {
    refuses_all_but("envoy", &["issued in an hour"]).await
}

/// Shows each faulty token to the snippet, between two good ones.
async fn refuses_all_but(name: &str, accepted: &[&str]) -> Result<()> {
    let mint = Mint::open().await?;
    let claims = with(
        &mint.claims(AUDIENCE, now()),
        "scope",
        json!("payments:write payments:read"),
    );
    let Some((mut verifier, _folder)) = start(name, &mint).await? else {
        return Ok(());
    };
    let sign = |claims: &Value| mint.key.sign(&mint.key.header(), claims);
    let good = sign(&claims)?;
    match verifier.verdict(&good).await? {
        Verdict::Accepted(seen) => ensure!(seen["sub"] == claims["sub"], "{name}: {seen}"),
        Verdict::Refused(why) => anyhow::bail!("{name} refuses a good token: {why}"),
    }
    // within the leeway; made only now, since building the snippet takes longer than that
    let late = sign(&with(&claims, "exp", json!(now().as_second() - 1)))?;
    let verdict = verifier.verdict(&late).await?;
    ensure!(verdict.accepted(), "{name}: expired for 1 s: {verdict:?}");

    let mut tokens = faulty(&mint, &claims)?;
    for (fault, claim, value) in FAULTS {
        let value = value.map_or(Value::Null, |text| json!(text));
        tokens.push((fault, sign(&with(&claims, claim, value))?));
    }
    let mut faults = Vec::new();
    for (fault, token) in tokens {
        let verdict = verifier.verdict(&token).await?;
        if verdict.accepted() != accepted.contains(&fault) {
            faults.push(format!("{fault}: {verdict:?}"));
        }
    }
    ensure!(faults.is_empty(), "{name}: {faults:#?}");
    ensure!(verifier.verdict(&good).await?.accepted(), "{name}");
    verifier.end().await
}

/// What an API refuses beside what every verifier does: a claim, and what it says instead.
const FAULTS: [(&str, &str, Option<&str>); 7] = [
    ("without iat", "iat", None),
    ("without jti", "jti", None),
    ("without client_id", "client_id", None),
    ("without a scope", "scope", None),
    ("another scope", "scope", Some("payments:write")),
    (
        "a scope that begins alike",
        "scope",
        Some("payments:readall"),
    ),
    ("a scope that ends alike", "scope", Some("no-payments:read")),
];

/// The snippet as a verifier, and the folder that it runs in; none, with a remark, where this machine
/// cannot run it.
async fn start(name: &str, mint: &Mint) -> Result<Option<(Verifier, TempDir)>> {
    let language = LANGUAGES.iter().find(|language| language.name == name);
    let Language { blocks, needs, .. } = language.context("a language of the document")?;
    for program in *needs {
        let there = run("sh", &["-c", &format!("command -v {program}")], None).await?;
        if !there.ok {
            remark(&format!("skipped: the {name} snippet needs {program}"));
            return Ok(None);
        }
    }
    let folder = TempDir::new()?;
    for (mark, file) in *blocks {
        fs::write(folder.path().join(file), block_of(DOCUMENT, mark)?)?;
    }
    let snippet = Documented {
        language: name,
        folder: folder.path(),
        issuer: &mint.url,
        audience: AUDIENCE,
        ca: &mint.ca,
        scope: SCOPE,
    };
    Ok(Some((Verifier::documented(&snippet)?, folder)))
}
