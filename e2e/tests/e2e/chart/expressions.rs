//! The chart's expressions compile on the oldest Kubernetes that it lets in, of which there is no cluster here: they use
//! nothing that is younger.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, Engine, engine},
    command::kubectl,
};
use serde_json::{Deserializer, Value};
use tempfile::NamedTempFile;

use super::rendered;

/// What may be called, and the first minor version of Kubernetes that takes it in a new object: one after the version that
/// the API server's sources have for it, since whatever is new has to compile on the version before too.
const CALLED: &[(u8, &[&str])] = &[
    // the language, and lists, texts, patterns and URLs
    (
        23,
        &[
            "all",
            "bool",
            "contains",
            "duration",
            "dyn",
            "endsWith",
            "exists",
            "exists_one",
            "filter",
            "getHostname",
            "getPort",
            "getScheme",
            "has",
            "indexOf",
            "int",
            "isURL",
            "join",
            "lowerAscii",
            "map",
            "matches",
            "max",
            "min",
            "replace",
            "size",
            "split",
            "startsWith",
            "string",
            "substring",
            "sum",
            "timestamp",
            "url",
        ],
    ),
    // whether somebody may do something
    (
        28,
        &[
            "allowed",
            "check",
            "group",
            "name",
            "namespace",
            "resource",
            "subresource",
        ],
    ),
    // what may be absent (with `.?`, `[?` and `{?`), and quantities
    (
        29,
        &[
            "compareTo",
            "hasValue",
            "isGreaterThan",
            "isQuantity",
            "of",
            "or",
            "orValue",
            "quantity",
            "value",
        ],
    ),
    (31, &["isIP", "ip", "isCIDR", "cidr"]),
    (
        32,
        &[
            "dns1123Label",
            "dns1123Subdomain",
            "labelValue",
            "qualifiedName",
            "validate",
        ],
    ),
    (33, &["transformList", "transformMap", "transformMapEntry"]),
    // patches by the API server
    (37, &["escapeKey"]),
];

/// Words of the language: a field of that name is written between two pairs of underscores where its type is known, which
/// 1.31 insists on.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

#[tokio::test]
async fn the_expressions_of_the_chart_use_nothing_that_the_oldest_kubernetes_lacks() -> Result<()> {
    let _cluster = Cluster::shared("expressions").await?;
    let mut engines = vec![("Webhook", 31)];
    // only such a cluster knows its kinds
    if engine()? == Engine::AdmissionPolicy {
        engines.push(("AdmissionPolicy", 37));
    }
    for (engine, oldest) in engines {
        let values = format!("injection.engine={engine},injection.byPolicy=true");
        let version = format!("1.{oldest}.0");
        let objects = objects(&["--kube-version", &version, "--set", &values]).await?;
        let mut seen = BTreeSet::new();
        for object in &objects {
            let definition = object["kind"] == "CustomResourceDefinition";
            for expression in expressions(object) {
                let code = without_texts(expression);
                for called in calls(&code) {
                    let since = CALLED.iter().find(|(_, names)| names.contains(&called));
                    let (since, _) =
                        since.with_context(|| format!("{called}: since when? {expression}"))?;
                    ensure!(*since <= oldest, "{called} is of 1.{since}: {expression}");
                    seen.insert(called.to_owned());
                }
                let reserved = fields(&code).find(|field| definition && RESERVED.contains(field));
                ensure!(
                    reserved.is_none(),
                    "{reserved:?} is a word of the language: {expression}"
                );
            }
        }
        for called in ["has", "orValue", "matches", "allowed", "isQuantity"] {
            ensure!(seen.contains(called), "{engine}: no {called} in {seen:?}");
        }
    }
    Ok(())
}

async fn objects(args: &[&str]) -> Result<Vec<Value>> {
    let chart = rendered(&[args, &["--skip-tests"]].concat()).await?;
    // kubectl says the first object before it has read the last one, so not by its stdin
    let file = NamedTempFile::new()?;
    fs::write(file.path(), chart)?;
    let path = file.path().to_str().context("a path in UTF-8")?;
    let read = ["create", "--dry-run=client", "--validate=false"];
    let args = [&read[..], &["-o", "json", "-f", path]].concat();
    let said = kubectl(&args).await?.success()?;
    let mut objects = Vec::new();
    for object in Deserializer::from_str(&said).into_iter() {
        let mut object: Value = object?;
        match object["items"].as_array_mut() {
            Some(items) => objects.append(items),
            None => objects.push(object),
        }
    }
    Ok(objects)
}

/// Whatever in the object is an expression.
fn expressions(of: &Value) -> Vec<&str> {
    match of {
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("expression" | "messageExpression" | "rule", Value::String(text)) => {
                    vec![text.as_str()]
                }
                _ => expressions(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The expression with nothing in its quotes. In a raw text a backslash is nothing special.
fn without_texts(expression: &str) -> String {
    let (mut code, mut rest) = (String::new(), expression);
    while let Some(start) = rest.find(['\'', '"']) {
        let (before, text) = rest.split_at(start);
        let (raw, quote) = (before.ends_with('r'), &text[..1]);
        let mut escaped = false;
        let end = text[1..].find(|c: char| {
            let ends = !escaped && quote.starts_with(c);
            escaped = !raw && !escaped && c == '\\';
            ends
        });
        code.push_str(before);
        code.push_str("''");
        rest = end.map_or("", |end| &text[end + 2..]);
    }
    code + rest
}

/// The names that an opening parenthesis follows.
fn calls(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices('(').filter_map(|(at, _)| {
        let name = code[..at].rsplit(|c| !is_name(c)).next()?;
        (!name.is_empty() && name != "in").then_some(name)
    })
}

/// The names behind a point that are no calls.
fn fields(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices('.').filter_map(|(at, _)| {
        let rest = code[at + 1..].trim_start_matches('?');
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        (!rest[end..].starts_with('(')).then_some(&rest[..end])
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
