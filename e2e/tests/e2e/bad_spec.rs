//! Every bad resource is refused by the API server, which names the field or the value.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{cluster::Cluster, manifest::Manifest};

mod audience;
mod issuer;
mod policy;
mod revocation;

/// What is wrong, the resource, the field that the API server names, and a part of what it says.
type Bad = (&'static str, fn() -> Manifest, &'static str, &'static str);

/// What is special about it, and the resource.
type Good = (&'static str, fn() -> Manifest);

const REQUIRED: &str = "Required value";

async fn are_accepted(cluster: &Cluster, good: &[Good]) -> Result<()> {
    for (what, resource) in good {
        cluster
            .create(&resource())
            .accepted()
            .await
            .with_context(|| (*what).to_owned())?;
    }
    Ok(())
}

/// One fault has one cause, so that whoever made it reads one sentence.
async fn are_refused(cluster: &Cluster, bad: &[Bad]) -> Result<()> {
    for (what, resource, field, said) in bad {
        let status = cluster
            .create(&resource())
            .refused()
            .await
            .with_context(|| (*what).to_owned())?;
        ensure!(
            (status.code, status.reason.as_str()) == (422, "Invalid"),
            "{what}: {status:?}"
        );
        let causes = status.details.map(|details| details.causes);
        let causes = causes.unwrap_or_default();
        // where the schema is broken, the API server adds that it did not look at every rule
        let causes: Vec<_> = causes.iter().filter(|c| c.field != "<nil>").collect();
        ensure!(
            matches!(causes[..], [cause] if cause.field == *field && cause.message.contains(said)),
            "{what}: {causes:?}"
        );
    }
    Ok(())
}

async fn is_an_unknown_field(cluster: &Cluster, resource: &Manifest, field: &str) -> Result<()> {
    let status = cluster.create(resource).refused().await?;
    let said = format!("unknown field \"{field}\"");
    ensure!(
        status.code == 400 && status.message.contains(&said),
        "{field}: {status:?}"
    );
    Ok(())
}

/// Changes that resource, with a merge patch that is not stored, and has to be refused for the field.
async fn cannot_be_changed(
    cluster: &Cluster,
    resource: &str,
    patch: &str,
    field: &str,
) -> Result<()> {
    let args = ["patch", resource, "--type=merge", "--dry-run=server", "-p"];
    let said = cluster.kubectl(&[&args[..], &[patch]].concat()).await?;
    ensure!(
        !said.ok
            && said
                .stderr
                .contains(&format!("{field}: Forbidden: cannot be changed")),
        "{said:?}"
    );
    Ok(())
}
