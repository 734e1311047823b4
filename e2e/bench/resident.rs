//! The memory of a sidecar that holds ten tokens, after name resolution, TLS, a renewal of all ten
//! and a thousand reads.

use std::time::Duration;

use anyhow::Result;
use hallpass_e2e::{
    cluster::Cluster,
    local::LocalPod,
    manifest::{Manifest, pod, policy, service_account},
    wait::{not_yet, until},
};
use serde_json::json;

use crate::{pod::resident_kb, report::Report};

const TOKENS: usize = 10;

fn ten(lifetime: &str) -> Manifest {
    let tokens: Vec<_> = (0..TOKENS)
        .map(|i| json!({"name": format!("t{i}"), "kubernetesAudience": format!("https://{i}.example"), "lifetime": lifetime}))
        .collect();
    policy("orders", "orders", &[]).with("/spec/tokens", json!(tokens))
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let cluster = Cluster::shared("resident").await?;
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    cluster.apply(&ten("10m").to_string()).await?;
    let name = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;
    let first = cluster.token(&name, "app", "t9").await?;
    // another lifetime has every token fetched anew at the next poll
    cluster.apply(&ten("20m").to_string()).await?;
    for i in 0..TOKENS {
        until(Duration::from_secs(90), "a renewal of all ten", || async {
            let token = cluster.token(&name, "app", &format!("t{i}")).await?;
            if token["expires_in"].as_u64() > Some(600) {
                Ok(())
            } else {
                Err(not_yet(&first["expires_at"]))
            }
        })
        .await?;
    }
    let seq = "i=0; while [ $i -lt 1000 ]; do echo 'url = http://hallpass/v1/tokens/t0'; i=$((i+1)); done";
    let read = format!("{seq} | curl -sf --unix-socket $HALLPASS_SOCKET -K - | wc -c");
    cluster
        .exec(&name, "app", &["sh", "-c", &read])
        .await?
        .success()?;
    let pod = LocalPod::find(&cluster, &name).await?;
    let conditions = "VmRSS of the shipped program in a pod: ten tokens, after DNS, TLS, one renewal of all ten, 1000 reads";
    report.add(
        "resident",
        "sidecar with ten tokens",
        (resident_kb(pod.sidecar()?.0)? / 1024.0, "MiB"),
        conditions,
    );
    Ok(())
}
