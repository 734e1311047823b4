//! A real refresh ahead of a real expiry.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    manifest::{pod, policy, service_account},
    wait::{not_yet, until},
};

/// A token of ten minutes, the shortest that Kubernetes makes, is replaced 2 to 8 minutes after its
/// start, spread evenly. Of sixteen, one is nearly always due within the first four.
const TOKENS: usize = 16;

#[tokio::test]
async fn a_token_is_replaced_ahead_of_its_expiry() -> Result<()> {
    let cluster = Cluster::shared("refresh").await?;
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    let names: Vec<String> = (0..TOKENS).map(|i| format!("token-{i}")).collect();
    let audiences: Vec<String> = (0..TOKENS)
        .map(|i| format!("https://{i}.example"))
        .collect();
    let tokens: Vec<(&str, &str)> = names
        .iter()
        .map(String::as_str)
        .zip(audiences.iter().map(String::as_str))
        .collect();
    cluster
        .apply(&policy("orders", "orders", &tokens).to_string())
        .await?;
    let pod = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;

    let mut first = Vec::new();
    for name in &names {
        first.push(cluster.token(&pod, "app", name).await?);
    }
    let (name, old, new) = until(Duration::from_secs(480), "a token is replaced", || async {
        for (name, old) in names.iter().zip(&first) {
            let new = cluster.token(&pod, "app", name).await?;
            if new["access_token"] != old["access_token"] {
                return Ok((name, old, new));
            }
        }
        Err(not_yet("all of them are the first"))
    })
    .await?;

    let time = |token: &serde_json::Value, member: &str| -> Result<jiff::Timestamp> {
        Ok(token[member]
            .as_str()
            .with_context(|| format!("no {member}"))?
            .parse()?)
    };
    let left = time(old, "expires_at")?
        .duration_since(time(&new, "issued_at")?)
        .as_secs();
    assert!(
        (115..=485).contains(&left),
        "{name} was replaced {left} s before its expiry"
    );
    let file = cluster
        .exec(
            &pod,
            "app",
            &["cat", &format!("/var/run/hallpass/tokens/{name}")],
        )
        .await?
        .success()?;
    assert_eq!(new["access_token"], file, "the file is the new one");
    Ok(())
}
