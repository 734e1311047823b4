//! What a policy has against a request that another one refuses already: the API server says one reason alone, and all of
//! them as warnings where a binding asks for that.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use hallpass_e2e::{
    attempt::{Attempt, Caller},
    cluster::Cluster,
    command::{kubectl, kubectl_with},
    wait::{not_yet, until},
};
use serde_json::json;

use super::{Besides, Row};

/// Bindings that ask for warnings, in the namespace of the test alone.
pub(super) struct Warns(Vec<String>);

/// Has the policies of those rows warn too.
pub(super) async fn ask(cluster: &Cluster, rows: &[Row]) -> Result<Warns> {
    let policies: BTreeSet<_> = rows
        .iter()
        .filter_map(|(_, _, expected)| match expected {
            Besides(policy, _) => Some(*policy),
            _ => None,
        })
        .collect();
    let mut made = Warns(Vec::new());
    for policy in policies {
        let name = format!("{policy}-warns-{}", cluster.namespace);
        let here = json!({"kubernetes.io/metadata.name": cluster.namespace});
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": policy, "validationActions": ["Warn"],
                "matchResources": {"namespaceSelector": {"matchLabels": here}},
            },
        });
        let created = kubectl_with(&["create", "-f", "-"], &binding.to_string()).await?;
        created.success()?;
        made.0.push(name);
    }
    Ok(made)
}

impl Warns {
    /// Takes the bindings away.
    pub(super) async fn end(self) -> Result<()> {
        let which = ["delete", "validatingadmissionpolicybinding"];
        let names: Vec<_> = self.0.iter().map(String::as_str).collect();
        kubectl(&[&which[..], &names].concat()).await?.success()?;
        Ok(())
    }
}

/// That policy has these words against it, as soon as the API server has read the binding.
pub(super) async fn said(
    cluster: &Cluster,
    who: Caller<'_>,
    attempt: &Attempt,
    policy: &str,
    why: &str,
) -> Result<()> {
    let by = format!("ValidatingAdmissionPolicy '{policy}'");
    until(SECONDS, "the policy warns", || async {
        let warnings = cluster.warnings(who, attempt).await?;
        let mut warnings = warnings.iter();
        let said = warnings.any(|warning| warning.contains(&by) && warning.contains(why));
        ensure!(said, not_yet(warnings));
        Ok(())
    })
    .await
}

const SECONDS: Duration = Duration::from_secs(30);
