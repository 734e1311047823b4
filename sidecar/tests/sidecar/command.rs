//! The program's commands, as processes.

use std::process::{Command, Output};

use crate::support::Pod;

async fn hallpass(arguments: &'static [&'static str], socket: std::path::PathBuf) -> Output {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass-sidecar"));
        command
            .args(arguments)
            .env("HALLPASS_SOCKET", socket)
            .env_remove("HALLPASS_OPERATOR");
        command.output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn get_prints_the_bare_token_and_nothing_else() {
    let pod = Pod::with_tokens(&["vault"]).await;
    let output = hallpass(&["get", "vault"], pod.socket("app")).await;
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "planted.vault.1");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn get_says_on_stderr_why_there_is_no_token() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    let output = hallpass(&["get", "valut"], pod.socket("app")).await;
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "hallpass-sidecar: this container has no token 'valut'; it has: vault (NoSuchToken)\n"
    );
}

#[tokio::test(start_paused = true)]
async fn serve_without_an_operator_says_what_is_missing() {
    let output = hallpass(&["serve"], "unused".into()).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("HALLPASS_OPERATOR is not set"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn help_teaches_every_command() {
    let output = hallpass(&["--help"], "unused".into()).await;
    let said = String::from_utf8(output.stdout).unwrap();
    for command in ["serve", "get NAME", "wait"] {
        assert!(
            said.contains(&format!("\n  hallpass-sidecar {command}")),
            "{said}"
        );
    }
}
