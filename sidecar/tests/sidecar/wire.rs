//! Operators of former versions, as `wire/` has recorded them: what each answered is understood today.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    Plan, Pod, eventually,
    operator::{
        FakeOperator,
        recorded::{Answers, TOKEN},
    },
    pass, read,
};

/// A pod whose operator gives the recorded answers: to each of these questions that of this name.
async fn pod(folder: &Path, answers: &[(&'static str, &str)], given: bool) -> Pod {
    let plan = Plan {
        trusted: !given,
        given,
        cached: given,
        ..Plan::default()
    };
    // The machine's clock is right: it shows the time of the recordings.
    plan.clock.set_off(RECORDED - TRUE);
    let answers: Answers = answers
        .iter()
        .map(|(to, name)| (*to, response(folder, name)))
        .collect();
    Pod::beside(FakeOperator::recorded(answers).await, plan).await
}

fn response(folder: &Path, name: &str) -> String {
    let file = folder.join("responses").join(format!("{name}.http"));
    let text = fs::read_to_string(&file);
    text.map_err(|error| (file, error)).unwrap()
}

fn body(folder: &Path, name: &str) -> Value {
    let text = response(folder, name);
    serde_json::from_str(text.split_once("\n\n").unwrap().1).unwrap()
}

const WELL: [(&str, &str); 3] = [
    ("assignments", "assignments"),
    ("assignments-again", "assignments-again"),
    ("tokens", "tokens"),
];

#[tokio::test(start_paused = true)]
async fn the_tokens_of_a_former_operator_are_served() {
    for folder in versions() {
        let pod = pod(&folder, &WELL, false).await;
        for name in ["queue", "vault"] {
            assert_eq!(pod.token(name).await, TOKEN);
            assert_eq!(read(&pod.file("app", name)), TOKEN);
            let served = pod.get(&format!("/v1/tokens/{name}")).await.json();
            let left = served["expires_in"].as_u64().unwrap();
            assert!((3590..=3600).contains(&left), "{served}");
            assert_eq!(served["audience"], format!("https://{name}.example"));
        }
        // It is asked again when it said. Nothing has changed: that is understood too, and the tag goes back.
        pass(Duration::from_secs(27)).await;
        assert!(pod.operator.requests("assignments-again").is_empty());
        pass(Duration::from_secs(6)).await;
        eventually("asked again", async || {
            pod.operator.requests("assignments-again").len() == 1
        })
        .await;
        assert_eq!(pod.state("vault").await, "fresh");
        assert_eq!(pod.get("/readyz").await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_operator_that_has_nothing_for_a_pod_is_understood() {
    for folder in versions() {
        let answers = [("assignments", "assignments-none")];
        let pod = pod(&folder, &answers, false).await;
        let answer = pod.get("/v1/tokens/vault").await;
        assert_eq!(answer.code(), "NoSuchToken");
        let notice = body(&folder, "assignments-none")["notice"]["detail"].clone();
        let told = answer.detail();
        assert!(told.contains(notice.as_str().unwrap()), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_refusal_of_a_former_operator_is_told_as_it_was() {
    for folder in versions() {
        for name in [
            "tokens-refused",
            "tokens-often",
            "tokens-unavailable",
            "tokens-internal",
            "tokens-not-synced",
        ] {
            refused(&folder, name).await;
        }
    }
}

/// Why the pod has no token is what the recorded answer says.
async fn refused(folder: &Path, name: &str) {
    let pod = pod(folder, &[WELL[0], WELL[1], ("tokens", name)], false).await;
    let said = body(folder, name);
    let said = match &said["tokens"] {
        Value::Array(entries) => entries[1]["problem"].clone(),
        _ => said,
    };
    let told = async || pod.get("/v1/tokens").await.json()["tokens"][1].clone();
    eventually("a reason", async || told().await["last_error"].is_object()).await;
    let told = told().await;
    assert_eq!(told["state"], "pending", "{name}");
    for member in ["code", "detail"] {
        assert_eq!(told["last_error"][member], said[member], "{name}");
    }
    if let Some(wait) = said["retry_after_seconds"].as_u64() {
        // However many wait for the token.
        let asked = pod.operator.requests("tokens").len();
        tokio::select! {
            answer = pod.get("/v1/tokens/vault") => panic!("{answer:?}"),
            () = pass(Duration::from_secs(wait) / 2) => {}
        }
        assert_eq!(pod.operator.requests("tokens").len(), asked, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_token_of_a_former_operator_is_served_beside_one_that_it_refuses() {
    for folder in versions() {
        let pod = pod(
            &folder,
            &[WELL[0], WELL[1], ("tokens", "tokens-some")],
            false,
        )
        .await;
        assert_eq!(pod.token("vault").await, TOKEN);
        let said = body(&folder, "tokens-some")["tokens"][0]["problem"].clone();
        let told = pod.get("/v1/tokens").await.json()["tokens"][0].clone();
        assert_eq!(told["last_error"]["code"], said["code"]);
        assert_eq!(told["last_error"]["detail"], said["detail"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_operator_that_turns_a_pod_away_is_told_by_its_own_words() {
    for folder in versions() {
        for name in ["assignments-not-synced", "assignments-stranger"] {
            let pod = pod(&folder, &[("assignments", name)], false).await;
            let said = body(&folder, name);
            let (code, detail) = (said["code"].as_str(), said["detail"].as_str());
            let said = format!("; {}: {}", code.unwrap(), detail.unwrap());
            eventually("a reason", async || {
                pod.get("/readyz").await.detail().contains(&said)
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_trust_bundle_of_a_former_operator_is_taken_over() {
    for folder in versions() {
        let answers = [WELL[0], WELL[1], WELL[2], ("trust", "trust")];
        let pod = pod(&folder, &answers, true).await;
        assert_eq!(pod.token("vault").await, TOKEN);
        let bundle = response(&folder, "trust")
            .split_once("\n\n")
            .unwrap()
            .1
            .to_owned();
        eventually("kept", async || {
            let text = read(&pod.cache());
            let document: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
            document["trust"] == bundle
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_a_future_operator_says_is_passed_over() {
    let folder = root().join("future");
    for (to, name) in [WELL[0], WELL[2]] {
        let text = response(&folder, name);
        assert!(text.contains("of-the-future"), "{to}: {text}");
    }
    let well = pod(&folder, &WELL, false).await;
    assert_eq!(well.token("vault").await, TOKEN);
    refused(&folder, "tokens-refused").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_sidecar_of_this_version_asks_is_recorded() {
    let folder = root().join(current());
    let told = pod(&folder, &WELL, false).await;
    told.token("vault").await;
    pass(Duration::from_secs(33)).await;
    for name in ["assignments", "assignments-again", "tokens"] {
        is_recorded(&folder, &told, name).await;
    }
    let answers = [WELL[0], WELL[2], ("trust", "trust")];
    let given = pod(&folder, &answers, true).await;
    is_recorded(&folder, &given, "trust").await;
}

async fn is_recorded(folder: &Path, pod: &Pod, name: &str) {
    eventually(name, async || !pod.operator.requests(name).is_empty()).await;
    let asked = pod.operator.requests(name)[0].clone();
    let file = folder.join("requests").join(format!("{name}.http"));
    if recording() {
        fs::write(&file, &asked).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    assert_eq!(asked, kept, "wire/README.md says how it is recorded anew");
}

/// The folders of versions.
fn versions() -> Vec<PathBuf> {
    let folders = fs::read_dir(root()).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    let is_version = |path: &PathBuf| path.is_dir() && !path.ends_with("future");
    let folders: Vec<_> = folders.filter(is_version).collect();
    assert!(folders.contains(&root().join(current())), "{folders:?}");
    folders
}

fn current() -> String {
    let (major, minor) = (
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
    );
    format!("{major}.{minor}")
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../wire"))
}

/// Whether the requests of this version are written anew.
#[expect(clippy::disallowed_methods, reason = "whoever runs the test says it")]
fn recording() -> bool {
    std::env::var("HALLPASS_RECORD_WIRE").is_ok_and(|value| value == "1")
}

/// The time of the recordings, and that at which a test begins.
const RECORDED: i64 = 1_790_000_000;
const TRUE: i64 = 1_800_000_000;
