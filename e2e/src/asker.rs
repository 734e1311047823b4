//! A pod for whose service-account tokens the test asks the replicas itself, past the sidecar.

use anyhow::{Result, ensure};

use crate::{
    api::OperatorApi,
    cluster::Cluster,
    manifest::{pod, policy, service_account},
};

/// The pod.
#[derive(Debug)]
pub struct Asker {
    identity: String,
}

/// So many tokens it has, of an audience each.
pub const ROWS: usize = 30;

impl Asker {
    /// Starts it.
    ///
    /// # Errors
    /// Something was refused, or does not start.
    pub async fn start(shop: &Cluster) -> Result<Self> {
        let rows: Vec<_> = (0..ROWS)
            .map(|row| (name(row), format!("https://{row}.example")))
            .collect();
        let rows: Vec<_> = rows.iter().map(|(name, aud)| (&**name, &**aud)).collect();
        let account = service_account(ASKER);
        shop.apply(&account.to_string()).await?;
        let rows = policy(ASKER, ASKER, &rows);
        shop.apply(&rows.to_string()).await?;
        let asker = pod(ASKER).injected().under(ASKER);
        let asker = shop.start(&asker).await?;
        let identity = shop.identity(&asker, ASKER).await?;
        Ok(Self { identity })
    }

    /// Has that replica issue the token of a row. Of each row a replica issues two at once; then it says to wait.
    ///
    /// # Errors
    /// It does not.
    pub async fn ask(&self, api: &OperatorApi, row: usize) -> Result<()> {
        let answer = api.tokens(&self.identity, &[&name(row)]).await?;
        let issued = answer.status == 200 && answer.json()?["tokens"][0]["token"].is_string();
        ensure!(
            issued,
            "{} {}",
            answer.status,
            answer.code().unwrap_or_default()
        );
        Ok(())
    }
}

fn name(row: usize) -> String {
    format!("row-{row}")
}

const ASKER: &str = "asker";
