//! What a pod was given is on no disk of its node, while it runs and when it is gone.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::{Apps, SHORT, VAULT},
    disk::files_with,
    remark::remark,
    state,
};

use crate::fixture::{LIFE, MINUTE, apps, lasts};

#[tokio::test]
async fn f14_no_token_is_on_the_nodes_disk_while_its_pod_runs_and_when_it_is_gone() -> Result<()> {
    let Some(apps) = apps("disk", 2, LIFE).await? else {
        return Ok(());
    };
    let state = state::folder("the node's disk").context("another's cluster")?;
    let mut held = held(&apps, &state).await?;
    // all short ones are replaced: those of before are no more than a memory
    lasts(MINUTE).await;
    held.extend(self::held(&apps, &state).await?);
    held.sort_unstable();
    held.dedup();
    ensure!(held.len() >= 8, "{} tokens", held.len());

    let planted = state.join("kubelet/planted");
    for token in &held {
        std::fs::write(&planted, token)?;
        let found = files_with(&state, &held).await;
        std::fs::remove_file(&planted)?;
        let found = found?;
        ensure!(found == ["kubelet/planted"], "{found:?}");
    }
    nowhere(&state, &held).await?;

    let pods = [&apps.names[0][..], &apps.names[1]];
    let delete = [&["delete", "pod", "--now"][..], &pods].concat();
    apps.shop.kubectl(&delete).await?.success()?;
    nowhere(&state, &held).await?;
    remark(&format!("{} tokens are on no disk", held.len()));
    Ok(())
}

/// The tokens that these pods hold: what applications are given, and what their sidecars show the operator.
pub(crate) async fn held(apps: &Apps, state: &Path) -> Result<Vec<String>> {
    let mut held = Vec::new();
    for name in &apps.names {
        for token in [SHORT, VAULT] {
            let token = apps.shop.token(name, "app", token).await?;
            let token = token["access_token"].as_str().context("a token")?;
            held.push(token.to_owned());
        }
        let uid = ["get", "pod", name, "-o", "jsonpath={.metadata.uid}"];
        let uid = apps.shop.kubectl(&uid).await?.success()?;
        let volumes = state.join("kubelet/pods").join(uid).join("volumes");
        let identity = volumes.join("kubernetes.io~projected/hallpass-identity/token");
        let identity = std::fs::read_to_string(&identity);
        held.push(identity.context("an identity")?);
    }
    Ok(held)
}

/// None of these is on the disk.
pub(crate) async fn nowhere(state: &Path, held: &[String]) -> Result<()> {
    let found = files_with(state, held).await?;
    ensure!(found.is_empty(), "tokens are in {found:?}");
    Ok(())
}
