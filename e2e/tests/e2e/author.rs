//! Who may write a policy: whoever may create tokens for the service accounts that it names.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    manifest::{Manifest, policy},
    wait::until,
};
use serde_json::{Value, json};

const SECONDS: Duration = Duration::from_secs(10);

#[tokio::test]
async fn t26_an_author_needs_the_right_to_each_service_account_that_is_named() -> Result<()> {
    let cluster = Cluster::shared("author").await?;
    let all: Vec<String> = (0..16).map(|i| format!("orders-{i}")).collect();
    // the right to write policies, and to all of the service accounts but one: each of them is asked about by itself
    for (place, lacking) in all.iter().enumerate() {
        let user = format!("{}-{place}", cluster.namespace);
        let others: Vec<_> = all
            .iter()
            .filter(|name| *name != lacking)
            .cloned()
            .collect();
        grant(&cluster, &user, Some(&others)).await?;
        let said = refusal(&cluster, &user, &naming(&all)).await?;
        let subject = format!(
            "spec.subjects[{place}] names service account {lacking}, for which {user} may not create tokens"
        );
        assert!(said.contains(&subject), "{place}: {said}");
    }
    let user = format!("{}-all", cluster.namespace);
    for count in [1, 3, 5, 16] {
        let named = &all[..count];
        grant(&cluster, &user, Some(named)).await?;
        accepted(&cluster, &user, &naming(named))
            .await
            .with_context(|| format!("all {count} of them"))?;
    }
    Ok(())
}

#[tokio::test]
async fn an_author_with_every_right_names_whom_he_likes() -> Result<()> {
    let cluster = Cluster::shared("every").await?;
    let accounts: Vec<String> = (0..16).map(|i| format!("any-{i}")).collect();
    let user = format!("{}-all", cluster.namespace);
    grant(&cluster, &user, Some(&[])).await?;
    let said = refusal(&cluster, &user, &naming(&accounts)).await?;
    assert!(
        said.contains("spec.subjects[0] names service account any-0"),
        "{said}"
    );
    grant(&cluster, &user, None).await?;
    accepted(&cluster, &user, &naming(&accounts)).await
}

#[tokio::test]
async fn the_refusal_says_which_command_gives_the_right() -> Result<()> {
    let cluster = Cluster::shared("command").await?;
    let user = format!("{}-jane", cluster.namespace);
    grant(&cluster, &user, Some(&[])).await?;
    let policy = naming(&["orders".to_owned()]);
    let said = refusal(&cluster, &user, &policy).await?;
    let (_, commands) = said.split_once("To grant it: ").context("commands")?;
    for command in commands.split(" && ") {
        let args: Vec<&str> = command.split_whitespace().skip(1).collect();
        cluster
            .kubectl(&args)
            .await?
            .success()
            .with_context(|| command.to_owned())?;
    }
    accepted(&cluster, &user, &policy).await
}

#[tokio::test]
async fn a_change_of_the_spec_is_judged_and_no_other() -> Result<()> {
    let cluster = Cluster::shared("change").await?;
    let (with, without) = (
        format!("{}-with", cluster.namespace),
        format!("{}-without", cluster.namespace),
    );
    grant(&cluster, &with, Some(&["orders".to_owned()])).await?;
    grant(&cluster, &without, Some(&[])).await?;
    let policy = naming(&["orders".to_owned()]);
    accepted(&cluster, &with, &policy).await?;
    refusal(&cluster, &without, &policy).await?;
    cluster.apply(&policy.to_string()).await?;

    let change = |user: &str, patch: Value| {
        let (user, patch) = (format!("--as={user}"), patch.to_string());
        let cluster = &cluster;
        async move {
            let args = [
                "patch",
                "tokenpolicies.hallpass.dev",
                "orders",
                "--type=merge",
                "-p",
                &patch,
                &user,
            ];
            cluster.kubectl(&args).await
        }
    };
    let spec = json!({"spec": {"tokens": [{"name": "mail", "kubernetesAudience": "https://mail.example"}]}});
    let said = change(&without, spec.clone()).await?.failure()?;
    assert!(said.contains("may not create tokens"), "{said}");
    change(&without, json!({"metadata": {"labels": {"team": "a"}}}))
        .await?
        .success()?;
    change(&with, spec).await?.success()?;
    let args = [
        "delete",
        "tokenpolicies.hallpass.dev",
        "orders",
        &format!("--as={without}"),
    ];
    cluster
        .kubectl(&args)
        .await?
        .success()
        .context("who may not give may take away")?;
    Ok(())
}

fn naming(accounts: &[String]) -> Manifest {
    let subjects = accounts
        .iter()
        .map(|name| json!({"serviceAccount": name}))
        .collect();
    policy("orders", "", &[("vault", "https://vault.example")]).with("/spec/subjects", subjects)
}

/// Lets the user write policies, and create tokens: for these service accounts, or for all.
async fn grant(cluster: &Cluster, user: &str, accounts: Option<&[String]>) -> Result<()> {
    let mut rules = vec![json!({
        "apiGroups": ["hallpass.dev"], "resources": ["tokenpolicies"], "verbs": ["get", "create", "patch", "delete"],
    })];
    let mut tokens =
        json!({"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]});
    match accounts {
        // no names would mean all of them
        Some([]) => {}
        Some(names) => {
            tokens["resourceNames"] = json!(names);
            rules.push(tokens);
        }
        None => rules.push(tokens),
    }
    let kind = |kind: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": user}});
    let (mut role, mut binding) = (kind("Role"), kind("RoleBinding"));
    role["rules"] = json!(rules);
    let group = "rbac.authorization.k8s.io";
    binding["roleRef"] = json!({"apiGroup": group, "kind": "Role", "name": user});
    binding["subjects"] = json!([{"apiGroup": group, "kind": "User", "name": user}]);
    cluster.apply(&role.to_string()).await?;
    cluster.apply(&binding.to_string()).await?;
    Ok(())
}

/// What our policy says to that author; until the right to write policies is in force, RBAC speaks.
async fn refusal(cluster: &Cluster, user: &str, policy: &Manifest) -> Result<String> {
    until(SECONDS, "the author is refused by our policy", || async {
        let status = cluster.create(policy).by(user, &[]).refused().await?;
        let ours = status
            .message
            .contains("ValidatingAdmissionPolicy 'hallpass-policy-authors'");
        anyhow::ensure!(ours && status.code == 403, "{status:?}");
        Ok(status.message)
    })
    .await
}

async fn accepted(cluster: &Cluster, user: &str, policy: &Manifest) -> Result<()> {
    until(SECONDS, "the author is accepted", || {
        cluster.create(policy).by(user, &[]).accepted()
    })
    .await?;
    Ok(())
}
